//! Cache maintenance (Arm ARM, D7.5 "Cache support").

use super::registers::{dsb_ish, isb, read_register};
use core::arch::asm;

/// Makes code that was written to memory visible to every core's instruction fetches (Arm ARM, B2.4.4
/// "Concurrent modification and execution of instructions").
pub fn synchronise_instructions(start: *const u8, len: usize) {
    // CTR_EL0.DminLine: log2 of the smallest data cache line in words.
    let line = 4_usize << (read_register!("ctr_el0") >> 16 & 0xf);
    let end = start.addr() + len;
    let mut at = start.addr() & !(line - 1);
    while at < end {
        // SAFETY: cleaning a line changes no value that anyone can see.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    dsb_ish();
    // SAFETY: drops cached instructions only.
    unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
    dsb_ish();
    isb();
}
