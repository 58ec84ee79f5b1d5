//! Computes for a fixed number of instructions, and prints how many microseconds that took in all: those in which
//! others had the core are among them.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_rt::{entry, println, time};

entry!(main);

/// 75 ms of a core that executes one instruction in each nanosecond, and the end is in the middle of a turn.
const LOOPS: u64 = 37_500_000;

fn main() -> u8 {
    let start = time::counter();
    // SAFETY: counts down.
    unsafe { asm!("2: subs {n}, {n}, #1", "b.ne 2b", n = inout(reg) LOOPS => _, options(nomem, nostack)) };
    println!("took {} us", (time::counter() - start) * 1_000_000 / time::frequency());
    0
}
