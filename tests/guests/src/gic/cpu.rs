//! The CPU interface: system registers of a GICv3, or a page of a GICv2.

use core::arch::asm;

use guest_rt::abi::virt::GICC_BASE;

use super::{read, version, write};

/// From here on a number says that there is no interrupt.
const SPECIAL: u32 = 1020;

/// Registers of a GICv2.
mod gicc {
    pub(super) const CTLR: u64 = 0;
    pub(super) const PMR: u64 = 4;
    pub(super) const BPR: u64 = 8;
    pub(super) const IAR: u64 = 0xc;
    pub(super) const EOIR: u64 = 0x10;
    pub(super) const DIR: u64 = 0x1000;
}

/// `GICC_CTLR`: the group is enabled; ends only drop the priority.
const ENABLE: u32 = 1 << 0;
const EOI_MODE: u32 = 1 << 9;

/// Writes a system register of a GICv3's CPU interface.
macro_rules! set {
    ($register:literal, $value:expr) => {{
        let value: u64 = u64::from($value);
        // SAFETY: changes which interrupts this vCPU gets.
        unsafe { asm!(concat!("msr ", $register, ", {}"), "isb", in(reg) value) }
    }};
}

/// Lets all priorities through.
pub(super) fn init() {
    set_mask(0xff);
    set_group_bits(5);
    set_split_end(false);
    if version() == 3 {
        set!("icc_igrpen1_el1", 1_u32);
    }
}

/// Lets only priorities through that are more urgent than this one.
pub fn set_mask(priority: u8) {
    if version() == 3 {
        set!("icc_pmr_el1", priority);
    } else {
        write(GICC_BASE + gicc::PMR, u32::from(priority));
    }
}

/// Only the upper `bits` of a priority decide whether one interrupt preempts another.
pub fn set_group_bits(bits: u8) {
    if version() == 3 {
        set!("icc_bpr1_el1", 8 - bits);
    } else {
        write(GICC_BASE + gicc::BPR, u32::from(7 - bits));
    }
}

/// Whether the end of an interrupt only drops the priority, and [`deactivate`] has to follow (EOImode 1).
pub fn set_split_end(split: bool) {
    if version() == 3 {
        set!("icc_ctlr_el1", u32::from(split) << 1);
    } else {
        write(GICC_BASE + gicc::CTLR, ENABLE | if split { EOI_MODE } else { 0 });
    }
}

/// Takes the most urgent interrupt that is pending.
pub fn acknowledge() -> Option<u32> {
    let value = if version() == 3 {
        let value: u64;
        // SAFETY: acknowledges an interrupt.
        unsafe { asm!("mrs {}, icc_iar1_el1", "dsb sy", out(reg) value) };
        u32::try_from(value & 0xff_ffff).unwrap_or(SPECIAL)
    } else {
        read(GICC_BASE + gicc::IAR)
    };
    (value & 0x3ff < SPECIAL).then_some(value)
}

/// Ends an interrupt, given as it was acknowledged. A GICv2 wants to know again who sent it.
pub fn end(acknowledged: u32) {
    if version() == 3 {
        set!("icc_eoir1_el1", acknowledged);
    } else {
        write(GICC_BASE + gicc::EOIR, acknowledged);
    }
}

/// Deactivates an interrupt after its end, as [`set_split_end`] asks for.
pub fn deactivate(acknowledged: u32) {
    if version() == 3 {
        set!("icc_dir_el1", acknowledged);
    } else {
        write(GICC_BASE + gicc::DIR, acknowledged);
    }
}
