//! Devices' registers.

use core::ops::{Deref, Range};

/// The registers of a device, laid out as `T`.
pub struct Registers<T: 'static>(&'static T);

// SAFETY: any core may use them; whoever has them does.
unsafe impl<T> Send for Registers<T> {}

impl<T> Registers<T> {
    /// The registers at this address.
    ///
    /// # Safety
    /// They are there, mapped as device memory, have the layout of `T`, and nobody else uses them.
    #[must_use]
    pub unsafe fn at(range: &Range<u64>) -> Self {
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

#[cfg(test)]
pub(crate) mod tests {
    use alloc::boxed::Box;
    use core::{cell::UnsafeCell, ops::Range};

    /// Memory in place of a device's registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Memory<const WORDS: usize>(&'static [UnsafeCell<u32>; WORDS]);

    impl<const WORDS: usize> Memory<WORDS> {
        /// Zeros, but for these words.
        pub(crate) fn new(words: impl IntoIterator<Item = (usize, u32)>) -> Self {
            let mut memory = [0; WORDS];
            words.into_iter().for_each(|(index, value)| memory[index] = value);
            Self(Box::leak(Box::new(memory.map(UnsafeCell::new))))
        }

        pub(crate) fn word(&self, index: usize) -> u32 {
            // SAFETY: one thread uses it.
            unsafe { *self.0[index].get() }
        }

        pub(crate) fn set(&self, index: usize, value: u32) {
            // SAFETY: as above.
            unsafe { *self.0[index].get() = value }
        }

        pub(crate) fn range(&self) -> Range<u64> {
            let start = self.0.as_ptr().expose_provenance() as u64;
            start..start + size_of_val(self.0) as u64
        }
    }
}
