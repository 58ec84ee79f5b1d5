//! What a Raspberry Pi 4 has besides cores, memory and a console: an LED, a thermometer, a source of random numbers.
//!
//! On other boards none of it is there, and nobody fails for that.

mod firmware;
mod led;
mod noise;
mod thermometer;

pub use led::light;
pub use thermometer::temperature;

use crate::{arch::timer, platform::Platform, random};
use core::{
    fmt,
    ops::{Deref, Range},
};

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

/// The registers of a device.
struct Registers<T: 'static>(&'static T);

// SAFETY: any core may use them; whoever has them does.
unsafe impl<T> Send for Registers<T> {}

impl<T> Registers<T> {
    /// # Safety
    /// They are there, mapped as device memory, have the layout of `T`, and nobody else uses them.
    unsafe fn at(range: &Range<u64>) -> Self {
        let address = usize::try_from(range.start).unwrap_or(0);
        // SAFETY: the caller's promise.
        Self(unsafe { &*core::ptr::with_exposed_provenance(address) })
    }
}

impl<T> Deref for Registers<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

/// Waits until something is so, at most for these microseconds. Returns whether it is.
fn wait_for(microseconds: u64, mut is_so: impl FnMut() -> bool) -> bool {
    let end = timer::now() + timer::frequency() * microseconds / 1_000_000;
    loop {
        if is_so() {
            return true;
        }
        if timer::now() >= end {
            return false;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use core::{cell::UnsafeCell, ops::Range};

    /// Memory in place of a device's registers.
    pub(super) struct Memory<const WORDS: usize>(&'static [UnsafeCell<u32>; WORDS]);

    impl<const WORDS: usize> Memory<WORDS> {
        /// Zeros, but for these words.
        pub(super) fn new(words: impl IntoIterator<Item = (usize, u32)>) -> Self {
            let mut memory = [0; WORDS];
            words.into_iter().for_each(|(index, value)| memory[index] = value);
            Self(Box::leak(Box::new(memory.map(UnsafeCell::new))))
        }

        pub(super) fn word(&self, index: usize) -> u32 {
            // SAFETY: one thread uses it.
            unsafe { *self.0[index].get() }
        }

        pub(super) fn range(&self) -> Range<u64> {
            let start = self.0.as_ptr().expose_provenance() as u64;
            start..start + size_of_val(self.0) as u64
        }
    }
}
