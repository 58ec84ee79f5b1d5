//! Stand-ins for the developer's machine: what other modules call from `arch`, without a core to act on.

/// Cache maintenance.
pub mod cache {
    /// Fills memory with zeros.
    ///
    /// # Safety
    /// `start` is valid for `len` bytes, and unused.
    pub unsafe fn zero(start: *mut u8, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { start.write_bytes(0, len) };
    }

    /// Nothing: no code is run from what the tests load.
    pub fn synchronise_instructions(_start: *const u8, _len: usize) {}
}

/// The clock.
pub mod timer {
    /// Ticks since the machine was switched on.
    #[must_use]
    pub fn now() -> u64 {
        1
    }
}
