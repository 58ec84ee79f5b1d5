//! Computes all the time, beside another VM that does the same, and watches the clock: where it jumps, the other one had
//! the core. Prints `figure away TICKS COUNT`, the time of that many jumps, and `figure at_work TICKS COUNT`, the time of
//! as many stretches between jumps.
//!
//! A jump is the other VM's stretch and two switches. What was there before the first jump has no beginning, so it is
//! left out: the first jump too.
#![no_std]
#![no_main]

use guest_rt::{entry, println, time};

entry!(main);

const TURNS: u64 = 16;

fn main() -> u8 {
    // Many times as long as an iteration, and shorter than two switches.
    let jump = time::frequency() / 2_000_000;
    let (mut away, mut at_work) = (0, 0);
    let (_, mut back) = wait_for_jump(jump);
    for _ in 0..TURNS {
        let (left, returned) = wait_for_jump(jump);
        at_work += left - back;
        away += returned - left;
        back = returned;
    }
    println!("figure away {away} {TURNS}");
    println!("figure at_work {at_work} {TURNS}");
    0
}

/// Computes until the clock jumps. Returns the last time before, and the first after.
fn wait_for_jump(jump: u64) -> (u64, u64) {
    let mut last = time::counter();
    loop {
        let now = time::counter();
        if now - last > jump {
            return (last, now);
        }
        last = now;
    }
}
