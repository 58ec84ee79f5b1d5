//! Memory in bulk: zeroed and copied in as few instructions as the core has for it, without FP/SIMD.

use super::registers::read_register;
use core::arch::asm;

/// Fills memory with zeros, by whole cache lines where the core has `DC ZVA` enabled.
///
/// # Safety
/// `start` is valid for `len` bytes, both multiples of 4096, mapped as Normal memory, and unused.
pub unsafe fn zero(start: *mut u8, len: usize) {
    /// `DCZID_EL0.DZP`: `DC ZVA` is prohibited.
    const PROHIBITED: u64 = 1 << 4;
    /// Blocks of this size, at most, are such that four fit a page.
    const LARGEST: usize = 1024;
    let dczid = read_register!("dczid_el0");
    // DCZID_EL0.BS: log2 of the block size in words.
    let block = 4_usize << (dczid & 0xf);
    if dczid & PROHIBITED != 0 || block > LARGEST {
        // SAFETY: the caller's promise.
        return unsafe { start.write_bytes(0, len) };
    }
    // SAFETY: four blocks at a time, aligned to their size and inside the range.
    unsafe {
        asm!(
            "2: dc zva, {at}",
            "add {at}, {at}, {block}",
            "dc zva, {at}",
            "add {at}, {at}, {block}",
            "dc zva, {at}",
            "add {at}, {at}, {block}",
            "dc zva, {at}",
            "add {at}, {at}, {block}",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) start => _,
            end = in(reg) start.wrapping_add(len),
            block = in(reg) block,
            options(nostack)
        );
    }
}

/// Copies memory that is mapped as Normal, so that alignment does not matter.
///
/// # Safety
/// `from` is valid for reading `len` bytes and `to` for writing them, and they do not overlap. Others may
/// change what is read at the same time.
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    const STEP: usize = 64;
    let bulk = len - len % STEP;
    if bulk > 0 {
        // SAFETY: the caller's promise, for the whole steps.
        unsafe {
            asm!(
                "2: ldp {a}, {b}, [{from}], #16",
                "ldp {c}, {d}, [{from}], #16",
                "stp {a}, {b}, [{to}], #16",
                "stp {c}, {d}, [{to}], #16",
                "ldp {a}, {b}, [{from}], #16",
                "ldp {c}, {d}, [{from}], #16",
                "stp {a}, {b}, [{to}], #16",
                "stp {c}, {d}, [{to}], #16",
                "subs {left}, {left}, #64",
                "b.ne 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                left = inout(reg) bulk => _,
                a = out(reg) _,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                options(nostack)
            );
        }
    }
    // SAFETY: the caller's promise, for the rest.
    unsafe { copy_rest(from.add(bulk), to.add(bulk), len - bulk) };
}

/// Copies less than 64 bytes: a part for each bit of their number.
///
/// # Safety
/// As for [`copy`].
unsafe fn copy_rest(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tbz {len}, #5, 2f",
            "ldp {a}, {b}, [{from}], #16",
            "ldp {c}, {d}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "stp {c}, {d}, [{to}], #16",
            "2: tbz {len}, #4, 2f",
            "ldp {a}, {b}, [{from}], #16",
            "stp {a}, {b}, [{to}], #16",
            "2: tbz {len}, #3, 2f",
            "ldr {a}, [{from}], #8",
            "str {a}, [{to}], #8",
            "2: tbz {len}, #2, 2f",
            "ldr {a:w}, [{from}], #4",
            "str {a:w}, [{to}], #4",
            "2: tbz {len}, #1, 2f",
            "ldrh {a:w}, [{from}], #2",
            "strh {a:w}, [{to}], #2",
            "2: tbz {len}, #0, 2f",
            "ldrb {a:w}, [{from}]",
            "strb {a:w}, [{to}]",
            "2:",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            len = in(reg) len,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            options(nostack)
        );
    }
}
