//! A driver for whichever GIC the machine has.

mod cpu;

pub use cpu::{acknowledge, deactivate, end, set_group_bits, set_mask, set_split_end};

use core::sync::atomic::{AtomicBool, Ordering};

use aarch64_cpu::asm;
use aarch64_cpu::registers::{ID_AA64PFR0_EL1, Readable};
use guest_rt::abi::virt::{GICD_BASE, GICR_BASE, GICR_SIZE};

/// The virtual timer's interrupt.
pub const TIMER: u32 = guest_rt::abi::virt::TIMER_INTID;

static IS_V3: AtomicBool = AtomicBool::new(false);

/// Registers of the distributor.
mod gicd {
    pub(super) const CTLR: u64 = 0;
    pub(super) const IGROUPR: u64 = 0x80;
    pub(super) const ISENABLER: u64 = 0x100;
    pub(super) const ICENABLER: u64 = 0x180;
    pub(super) const ISPENDR: u64 = 0x200;
    pub(super) const ICPENDR: u64 = 0x280;
    pub(super) const ISACTIVER: u64 = 0x300;
    pub(super) const ICACTIVER: u64 = 0x380;
    pub(super) const IPRIORITYR: u64 = 0x400;
    pub(super) const ITARGETSR: u64 = 0x800;
    pub(super) const SGIR: u64 = 0xf00;
    pub(super) const IROUTER: u64 = 0x6000;
}

/// Distance from a redistributor's first frame to its second, where the private interrupts are.
const SGI_FRAME: u64 = 0x1_0000;
/// `GICR_WAKER`.
const WAKER: u64 = 0x14;
/// The first interrupt that is shared by all vCPUs.
const FIRST_SPI: u32 = 32;
/// The number after that of the last one.
pub const END: u32 = 64;

/// The version of the GIC.
pub fn version() -> u32 {
    if IS_V3.load(Ordering::Relaxed) { 3 } else { 2 }
}

/// Turns the GIC on, and what vCPU 0 has of it.
pub fn init() {
    find_version();
    if version() == 3 {
        (FIRST_SPI..END).step_by(32).for_each(|intid| write_bits(gicd::IGROUPR, intid, u32::MAX));
    }
    write(GICD_BASE + gicd::CTLR, 0b11);
    init_vcpu();
}

fn find_version() {
    IS_V3.store(ID_AA64PFR0_EL1.get() >> 24 & 0xf != 0, Ordering::Relaxed);
}

/// Turns on what this vCPU has of the GIC.
pub fn init_vcpu() {
    find_version();
    if version() == 3 {
        write(redistributor(vcpu()) + WAKER, 0);
        write_bits(gicd::IGROUPR, 0, u32::MAX);
    }
    cpu::init();
}

/// Enables an interrupt of this vCPU. Lower priorities are more urgent.
pub fn enable(intid: u32, priority: u8) {
    set_priority(intid, priority);
    if intid >= FIRST_SPI {
        route_here(intid);
    }
    write_bits(gicd::ISENABLER, intid, bit(intid));
}

/// Disables an interrupt.
pub fn disable(intid: u32) {
    write_bits(gicd::ICENABLER, intid, bit(intid));
}

/// Sets an interrupt's priority.
pub fn set_priority(intid: u32, priority: u8) {
    write_byte(bank(intid) + gicd::IPRIORITYR + u64::from(intid), priority);
}

/// Makes an interrupt pending by the register for that, or not. A GICv2 has another one for SGIs.
pub fn set_pending(intid: u32, pending: bool) {
    write_bits(if pending { gicd::ISPENDR } else { gicd::ICPENDR }, intid, bit(intid));
}

/// Makes an interrupt active, or not.
pub fn set_active(intid: u32, active: bool) {
    write_bits(if active { gicd::ISACTIVER } else { gicd::ICACTIVER }, intid, bit(intid));
}

/// Whether an interrupt is pending.
pub fn is_pending(intid: u32) -> bool {
    read_bits(gicd::ISPENDR, intid) & bit(intid) != 0
}

/// Whether an interrupt is active, by both registers that tell.
pub fn is_active(intid: u32) -> bool {
    let [set, clear] = [gicd::ISACTIVER, gicd::ICACTIVER].map(|register| read_bits(register, intid));
    assert_eq!(set, clear, "two registers with the same state");
    set & bit(intid) != 0
}

/// Enables a private interrupt of another vCPU and makes it pending there, which only a GICv3 can.
pub fn raise_at(vcpu: u32, intid: u32, priority: u8) {
    let frame = redistributor(vcpu) + SGI_FRAME;
    write_byte(frame + gicd::IPRIORITYR + u64::from(intid), priority);
    write(frame + gicd::ISENABLER, bit(intid));
    write(frame + gicd::ISPENDR, bit(intid));
}

fn route_here(intid: u32) {
    if version() == 3 {
        let address = GICD_BASE + gicd::IROUTER + 8 * u64::from(intid);
        // SAFETY: a register of the virtual GIC.
        unsafe { core::arch::asm!("str {}, [{}]", in(reg) u64::from(vcpu()), in(reg) address) };
    } else {
        write_byte(GICD_BASE + gicd::ITARGETSR + u64::from(intid), 1 << vcpu());
    }
}

/// Sends an SGI to a vCPU.
pub fn send_to(vcpu: u32, intid: u32) {
    if version() == 3 {
        let value = u64::from(intid) << 24 | 1 << vcpu;
        // SAFETY: sends an interrupt to a vCPU that is ready for it.
        unsafe { core::arch::asm!("dsb ishst", "msr icc_sgi1r_el1, {}", "isb", in(reg) value) };
    } else {
        write(GICD_BASE + gicd::SGIR, 1 << (16 + vcpu) | intid);
    }
}

/// Waits for the next interrupt, and ends it after `handle` has seen to its source. Returns its number.
pub fn take(handle: impl Fn(u32)) -> u32 {
    loop {
        if let Some(acknowledged) = acknowledge() {
            handle(acknowledged);
            end(acknowledged);
            return intid(acknowledged);
        }
        wait();
    }
}

/// The number of an interrupt that was acknowledged.
pub fn intid(acknowledged: u32) -> u32 {
    acknowledged & 0x3ff
}

/// Waits until an interrupt is pending, masked or not.
pub fn wait() {
    asm::wfi();
}

fn redistributor(vcpu: u32) -> u64 {
    GICR_BASE + GICR_SIZE * u64::from(vcpu)
}

/// The number of this vCPU.
pub fn vcpu() -> u32 {
    u32::try_from(aarch64_cpu::registers::MPIDR_EL1.get() & 0xff).unwrap_or(0)
}

/// Where an interrupt's registers are.
fn bank(intid: u32) -> u64 {
    let private = version() == 3 && intid < FIRST_SPI;
    if private { redistributor(vcpu()) + SGI_FRAME } else { GICD_BASE }
}

/// An interrupt's bit in a register with a bit for each.
const fn bit(intid: u32) -> u32 {
    1 << (intid % 32)
}

fn write_bits(register: u64, intid: u32, bits: u32) {
    write(bank(intid) + register + u64::from(intid / 32 * 4), bits);
}

fn read_bits(register: u64, intid: u32) -> u32 {
    read(bank(intid) + register + u64::from(intid / 32 * 4))
}

/// Writes a register, with an instruction that describes itself to the hypervisor.
pub(crate) fn write(address: u64, value: u32) {
    // SAFETY: a register of a device.
    unsafe { core::arch::asm!("str {:w}, [{}]", in(reg) value, in(reg) address) };
}

fn write_byte(address: u64, value: u8) {
    // SAFETY: a register of the virtual GIC.
    unsafe { core::arch::asm!("strb {:w}, [{}]", in(reg) u32::from(value), in(reg) address) };
}

pub(crate) fn read(address: u64) -> u32 {
    let value: u32;
    // SAFETY: a register of a device.
    unsafe { core::arch::asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address) };
    value
}
