//! What the test guests share.
#![no_std]

pub mod board;
pub mod card;
pub mod gic;
pub mod irq;
pub mod psci;
pub mod random;
pub mod virtio;

use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

use guest_rt::{info, println, time};

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

static FAILURES: AtomicU8 = AtomicU8::new(0);

/// Prints a line if something is not as it should be, and counts it for [`failures`].
pub fn check(what: &str, good: bool) {
    if !good {
        println!("FAIL: {what}");
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many checks have failed: the exit code of a guest that checks.
pub fn failures() -> u8 {
    FAILURES.load(Ordering::Relaxed)
}
