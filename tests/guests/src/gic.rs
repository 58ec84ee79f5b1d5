//! A driver for whichever GIC the machine has: interrupts are polled for, with the core's own mask on.

use core::sync::atomic::{AtomicBool, Ordering};

use aarch64_cpu::asm;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use guest_rt::abi::virt::{GICC_BASE, GICD_BASE, GICR_BASE, GICR_SIZE};

/// The virtual timer's interrupt.
pub const TIMER: u32 = guest_rt::abi::virt::TIMER_INTID;

static IS_V3: AtomicBool = AtomicBool::new(false);

/// Registers of the distributor.
mod gicd {
    pub(super) const CTLR: u64 = 0;
    pub(super) const ISENABLER: u64 = 0x100;
    pub(super) const ICENABLER: u64 = 0x180;
    pub(super) const IPRIORITYR: u64 = 0x400;
    pub(super) const SGIR: u64 = 0xf00;
}

/// Registers of a GICv2's CPU interface.
mod gicc {
    pub(super) const CTLR: u64 = 0;
    pub(super) const PMR: u64 = 4;
    pub(super) const IAR: u64 = 0xc;
    pub(super) const EOIR: u64 = 0x10;
}

/// Distance from a redistributor's first frame to its second, where the private interrupts are.
const SGI_FRAME: u64 = 0x1_0000;
/// `GICR_IGROUPR0`, as an offset in the second frame.
const IGROUPR: u64 = 0x80;
/// `GICR_WAKER`.
const WAKER: u64 = 0x14;
/// From here on a number says that there is no interrupt.
const SPECIAL: u32 = 1020;

/// The version of the GIC.
pub fn version() -> u32 {
    if IS_V3.load(Ordering::Relaxed) { 3 } else { 2 }
}

/// Turns the GIC on, and what vCPU 0 has of it.
pub fn init() {
    find_version();
    write(GICD_BASE + gicd::CTLR, 0b11);
    init_vcpu();
}

fn find_version() {
    IS_V3.store(ID_AA64PFR0_EL1.get() >> 24 & 0xf != 0, Ordering::Relaxed);
}

/// Turns on what this vCPU has of the GIC.
pub fn init_vcpu() {
    find_version();
    if IS_V3.load(Ordering::Relaxed) {
        write(redistributor() + WAKER, 0);
        write(redistributor() + SGI_FRAME + IGROUPR, u32::MAX);
        // SAFETY: lets all priorities of group 1 through.
        unsafe {
            core::arch::asm!("msr icc_pmr_el1, {}", "msr icc_igrpen1_el1, {}", "isb", in(reg) 0xff_u64, in(reg) 1_u64)
        };
    } else {
        write(GICC_BASE + gicc::PMR, 0xff);
        write(GICC_BASE + gicc::CTLR, 1);
    }
}

/// Enables a private interrupt of this vCPU. Lower priorities are more urgent.
pub fn enable(intid: u32, priority: u8) {
    write_byte(private() + gicd::IPRIORITYR + u64::from(intid), priority);
    write(private() + gicd::ISENABLER, 1 << intid);
}

/// Disables a private interrupt of this vCPU.
pub fn disable(intid: u32) {
    write(private() + gicd::ICENABLER, 1 << intid);
}

/// Sends an SGI to a vCPU.
pub fn send_to(vcpu: u32, intid: u32) {
    if IS_V3.load(Ordering::Relaxed) {
        let value = u64::from(intid) << 24 | 1 << vcpu;
        // SAFETY: sends an interrupt to a vCPU that is ready for it.
        unsafe { core::arch::asm!("dsb ishst", "msr icc_sgi1r_el1, {}", "isb", in(reg) value) };
    } else {
        write(GICD_BASE + gicd::SGIR, 1 << (16 + vcpu) | intid);
    }
}

/// Takes the most urgent interrupt that is pending.
pub fn acknowledge() -> Option<u32> {
    let value = if IS_V3.load(Ordering::Relaxed) {
        let value: u64;
        // SAFETY: acknowledges an interrupt.
        unsafe { core::arch::asm!("mrs {}, icc_iar1_el1", "dsb sy", out(reg) value) };
        u32::try_from(value & 0xff_ffff).unwrap_or(SPECIAL)
    } else {
        read(GICC_BASE + gicc::IAR)
    };
    (value & 0x3ff < SPECIAL).then_some(value)
}

/// Ends an interrupt, given as it was acknowledged. A GICv2 wants to know again who sent it.
pub fn end(acknowledged: u32) {
    if IS_V3.load(Ordering::Relaxed) {
        // SAFETY: ends an interrupt.
        unsafe { core::arch::asm!("msr icc_eoir1_el1, {}", "isb", in(reg) u64::from(acknowledged)) };
    } else {
        write(GICC_BASE + gicc::EOIR, acknowledged);
    }
}

/// Waits until an interrupt is pending, masked or not.
pub fn wait() {
    asm::wfi();
}

fn redistributor() -> u64 {
    GICR_BASE + GICR_SIZE * u64::from(vcpu())
}

/// The number of this vCPU.
pub fn vcpu() -> u32 {
    u32::try_from(aarch64_cpu::registers::MPIDR_EL1.get() & 0xff).unwrap_or(0)
}

/// Where the private interrupts' registers are.
fn private() -> u64 {
    if IS_V3.load(Ordering::Relaxed) { redistributor() + SGI_FRAME } else { GICD_BASE }
}

/// Writes a register, with an instruction that describes itself to the hypervisor.
fn write(address: u64, value: u32) {
    // SAFETY: a register of the virtual GIC.
    unsafe { core::arch::asm!("str {:w}, [{}]", in(reg) value, in(reg) address) };
}

fn write_byte(address: u64, value: u8) {
    // SAFETY: a register of the virtual GIC.
    unsafe { core::arch::asm!("strb {:w}, [{}]", in(reg) u32::from(value), in(reg) address) };
}

fn read(address: u64) -> u32 {
    let value: u32;
    // SAFETY: a register of the virtual GIC.
    unsafe { core::arch::asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address) };
    value
}
