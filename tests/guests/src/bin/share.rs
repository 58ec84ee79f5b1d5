//! Computes until its clock has reached a time, and tells how far it has come: a VM's share of the core.
//! The argument is the time in milliseconds; all vCPUs compute.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::{entry, info, println, time};
use test_guests::arg;

entry!(main, compute_as_well);

/// Loops of the other vCPUs, which stop when the first one has ended.
static OTHERS: AtomicU64 = AtomicU64::new(0);

fn main() -> u8 {
    let milliseconds: u64 = arg(1).parse().expect("a number");
    let end = time::frequency() * milliseconds / 1000;
    let mut loops = 0_u64;
    while time::counter() < end {
        loops += 1;
    }
    println!("loops {}", loops + OTHERS.load(Ordering::Relaxed));
    println!("vcpus {}", info::vcpu_count());
    0
}

fn compute_as_well(_vcpu: u64) -> ! {
    loop {
        // As much work as the first one's loop.
        core::hint::black_box(time::counter());
        OTHERS.fetch_add(1, Ordering::Relaxed);
    }
}
