//! What a Raspberry Pi 4 has besides cores, memory and a console: an LED, a thermometer, a source of random numbers.
//!
//! On other boards none of it is there, and nobody fails for that.

mod firmware;
mod led;
mod noise;
mod thermometer;

pub use led::light;
pub use thermometer::temperature;

use crate::{platform::Platform, random};
use core::fmt;

/// Starts to use what the device tree names.
///
/// # Safety
/// The registers that it names are mapped as device memory.
pub unsafe fn init(platform: &Platform<'_>) {
    if let Some(registers) = &platform.mailbox {
        // SAFETY: the caller's promise, here and below.
        unsafe { firmware::init(registers) };
    }
    if let Some(led) = &platform.led {
        // SAFETY: as above.
        unsafe { led::init(led) };
    }
    if let Some(registers) = &platform.noise {
        // SAFETY: as above.
        match unsafe { noise::collect(registers) } {
            Some(seed) => random::seed(&seed),
            None => log::warn!("the board's random number generator gives nothing"),
        }
    }
}

/// The board has no such device, or it does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDevice;

impl fmt::Display for NoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the board has no such device")
    }
}
