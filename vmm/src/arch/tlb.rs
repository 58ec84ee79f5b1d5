//! TLB maintenance for stage 2 (Arm ARM, D8.14 "TLB maintenance requirements").

use super::registers::{dsb_ish, isb};
use core::arch::asm;

/// Drops all translations of all guests on all cores.
pub fn flush_all_guests() {
    // SAFETY: a barrier, so that changes of the tables come first; then dropping cached translations.
    unsafe { asm!("dsb ishst", "tlbi alle1is", options(nostack, preserves_flags)) };
    dsb_ish();
    isb();
}

/// Drops this core's translations by the own tables of the guest whose VMID is loaded.
pub fn flush_stage1_here() {
    // SAFETY: dropping cached translations. EL1 executes nothing before the barriers.
    unsafe { asm!("tlbi vmalle1", "dsb nsh", options(nostack, preserves_flags)) };
    isb();
}

/// Orders changes of translation tables before the walks that follow.
pub fn tables_changed() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    isb();
}
