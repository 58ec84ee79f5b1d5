//! The architected timer: the clock, and EL2's own alarm (Arm ARM, D12 "The Generic Timer").

use super::registers::{isb, read_register};
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTHP_CTL_EL2, CNTPCT_EL0, Readable, Writeable};

/// Ticks since the machine was switched on.
#[must_use]
pub fn now() -> u64 {
    // The counter may be read ahead of earlier instructions otherwise.
    isb();
    CNTPCT_EL0.get()
}

/// Ticks a second.
#[must_use]
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Whether the loaded vCPU's virtual timer asks for its interrupt.
#[must_use]
pub fn guest_is_due() -> bool {
    const ENABLE_MASK_STATUS: u64 = 0b111;
    const ENABLED_AND_DUE: u64 = 0b101;
    read_register!("cntv_ctl_el0") & ENABLE_MASK_STATUS == ENABLED_AND_DUE
}

/// Stops the virtual timer: the vCPU that it belonged to has lost the core.
pub(super) fn stop_guest() {
    // SAFETY: the vCPU's own value is saved.
    unsafe { super::registers::write_register!("cntv_ctl_el0", 0) };
    isb();
}

/// Raises EL2's timer interrupt when the clock reaches `deadline`, or never.
pub fn set_alarm(deadline: Option<u64>) {
    let Some(deadline) = deadline else {
        CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::CLEAR);
        return isb();
    };
    // SAFETY: EL2's own timer.
    unsafe { super::registers::write_register!("cnthp_cval_el2", deadline) };
    CNTHP_CTL_EL2.write(CNTHP_CTL_EL2::ENABLE::SET + CNTHP_CTL_EL2::IMASK::CLEAR);
    isb();
}

/// When the loaded vCPU's virtual timer is due on its own clock: `CNTV_CVAL_EL0` if the timer is enabled and not
/// masked.
#[must_use]
pub(super) fn guest_deadline() -> Option<u64> {
    const ENABLE: u64 = 1 << 0;
    const MASKED: u64 = 1 << 1;
    let control = read_register!("cntv_ctl_el0");
    (control & (ENABLE | MASKED) == ENABLE).then(|| read_register!("cntv_cval_el0"))
}
