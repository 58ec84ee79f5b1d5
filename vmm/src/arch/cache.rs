//! Cache maintenance (Arm ARM, D7.5 "Cache support").

use super::registers::{dsb_ish, isb, read_register};
use core::arch::asm;

/// Fills memory with zeros, by whole cache lines where the core has `DC ZVA` enabled.
///
/// # Safety
/// `start` is valid for `len` bytes, both multiples of 4096, mapped as Normal memory, and unused.
pub unsafe fn zero(start: *mut u8, len: usize) {
    /// `DCZID_EL0.DZP`: `DC ZVA` is prohibited.
    const PROHIBITED: u64 = 1 << 4;
    let dczid = read_register!("dczid_el0");
    if dczid & PROHIBITED != 0 {
        // SAFETY: the caller's promise.
        return unsafe { start.write_bytes(0, len) };
    }
    // DCZID_EL0.BS: log2 of the block size in words, which is at most 2 KiB.
    let block = 4_usize << (dczid & 0xf);
    let mut at = start;
    let end = start.wrapping_add(len);
    while at < end {
        // SAFETY: `at` is block-aligned and inside the range.
        unsafe { asm!("dc zva, {}", in(reg) at, options(nostack, preserves_flags)) };
        at = at.wrapping_add(block);
    }
}

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
