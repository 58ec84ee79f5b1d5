//! Waits for its timer again and again, and tells how late it came to run at most: from the time that the timer was
//! due to the first instruction of the interrupt's handler.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, VBAR_EL1, Writeable};
use guest_rt::{entry, println, time};
use test_guests::gic::{self, TIMER};

entry!(main);

/// Waits that are measured.
const ROUNDS: u64 = 200;

// The handler reads the counter first. It leaves the interrupt to the program, with interrupts masked.
global_asm!(
    ".section .text.vectors, \"ax\"",
    ".balign 2048",
    "vectors:",
    ".fill 0x280 / 4, 4, 0", // IRQ from the current level with its own stack pointer.
    "    mrs x9, cntvct_el0",
    "    mrs x10, spsr_el1",
    "    orr x10, x10, #0x80",
    "    msr spsr_el1, x10",
    "    eret",
    ".previous",
);

unsafe extern "C" {
    #[link_name = "vectors"]
    static VECTORS: u8;
}

fn main() -> u8 {
    gic::init();
    gic::enable(TIMER, 0x80);
    VBAR_EL1.set((&raw const VECTORS).expose_provenance() as u64);
    let step = time::frequency() / 1000;
    // The waits do not stay in step with others' turns.
    let latest = (0..ROUNDS).map(|round| latency(time::counter() + step + 997 * round)).max();
    println!("counter at {} Hz", time::frequency());
    println!("at most {} ticks", latest.unwrap_or(0));
    0
}

/// How long after `deadline` the handler of its interrupt begins, in ticks.
fn latency(deadline: u64) -> u64 {
    CNTV_CVAL_EL0.set(deadline);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    let begun: u64;
    // SAFETY: the handler changes X9 and X10, and masks interrupts again.
    unsafe {
        asm!("mov x9, #0", "msr daifclr, #2", "2: wfi", "cbz x9, 2b", out("x9") begun, out("x10") _, options(nostack))
    };
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    while let Some(acknowledged) = gic::acknowledge() {
        gic::end(acknowledged);
    }
    begun - deadline
}
