//! The neighbour of guests that misbehave: counts for a while, which shows that it goes on.
#![no_std]
#![no_main]

use core::time::Duration;

use guest_rt::{entry, println};
use test_guests::stay_busy;

entry!(main);

fn main() -> u8 {
    for number in 1..=5 {
        stay_busy(Duration::from_millis(30));
        println!("witness {number}");
    }
    0
}
