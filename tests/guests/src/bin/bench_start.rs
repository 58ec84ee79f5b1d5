//! Tells when it began, then sleeps for a while: a VM's clock starts with its creation, so the counter at the beginning is
//! how long that took. Prints `figure vm_start TICKS 1`.
#![no_std]
#![no_main]

use guest_rt::{entry, println, time};

entry!(main);

fn main() -> u8 {
    let start = time::counter();
    time::wait_until(start + time::frequency() / 1000);
    println!("figure vm_start {start} 1");
    0
}
