//! Cache maintenance (Arm ARM, D7.5 "Cache support").

use super::registers::{dsb_ish, dsb_sy, isb, read_register};
use core::arch::asm;

/// Cleans and invalidates the data cache to the point of coherency: whoever reads the memory without caches sees
/// what was written, and no stale line hides what it writes (Arm ARM, D7.5.9).
pub fn clean_to_memory(start: *const u8, len: usize) {
    for_each_line(start, len, |line| {
        // SAFETY: cleaning and invalidating a line changes no value that anyone can see.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
    });
    dsb_sy();
}

/// Calls `each` with the address of every data cache line in a range.
fn for_each_line(start: *const u8, len: usize, each: impl Fn(usize)) {
    // CTR_EL0.DminLine: log2 of the smallest data cache line in words.
    let line = 4_usize << (read_register!("ctr_el0") >> 16 & 0xf);
    let end = start.addr() + len;
    let mut at = start.addr() & !(line - 1);
    // Four at a time: all RAM of a VM comes this way, and the loop costs as much as a line.
    while at + 4 * line <= end {
        each(at);
        each(at + line);
        each(at + 2 * line);
        each(at + 3 * line);
        at += 4 * line;
    }
    while at < end {
        each(at);
        at += line;
    }
}

/// Makes code that was written to memory visible to every core's instruction fetches (Arm ARM, B2.4.4
/// "Concurrent modification and execution of instructions").
pub fn synchronise_instructions(start: *const u8, len: usize) {
    for_each_line(start, len, |line| {
        // SAFETY: cleaning a line changes no value that anyone can see.
        unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
    });
    dsb_ish();
    // SAFETY: drops cached instructions only.
    unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
    dsb_ish();
    isb();
}
