//! What the test guests share.
#![no_std]

pub mod gic;

use core::time::Duration;

use guest_rt::{info, time};

/// Argument number `index`; 0 is the program's name.
///
/// # Panics
/// There is none, or it is not text: the test is wrong.
pub fn arg(index: usize) -> &'static str {
    let arg = info::args().nth(index).expect("an argument");
    arg.to_str().expect("an argument in UTF-8")
}

/// Keeps the vCPU busy, for longer than the hypervisor lets a VM run at a stretch if `duration` is some
/// tens of milliseconds.
pub fn stay_busy(duration: Duration) {
    let end = time::uptime() + duration;
    while time::uptime() < end {
        core::hint::spin_loop();
    }
}
