//! Computes until its clock has reached a time, and tells how far it has come: its share of the core. The argument is
//! the time in milliseconds. All other vCPUs compute as well.
#![no_std]
#![no_main]

use guest_rt::{entry, println, time};
use test_guests::arg;

entry!(main, compute_as_well);

fn main() -> u8 {
    let milliseconds: u64 = arg(1).parse().expect("a number");
    let end = time::frequency() * milliseconds / 1000;
    let mut loops = 0_u64;
    while time::counter() < end {
        loops += 1;
    }
    println!("{loops} loops");
    0
}

fn compute_as_well(_vcpu: u64) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
