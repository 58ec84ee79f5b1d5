//! Stand-ins for the developer's machine: what other modules call from `arch`, without a core to act on.

/// Memory in bulk.
pub mod bulk {
    /// Fills memory with zeros.
    ///
    /// # Safety
    /// `start` is valid for `len` bytes, and unused.
    pub unsafe fn zero(start: *mut u8, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { start.write_bytes(0, len) };
    }

    /// Copies memory.
    ///
    /// # Safety
    /// `from` and `to` are valid for `len` bytes, and do not overlap.
    pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { from.copy_to_nonoverlapping(to, len) };
    }
}

/// Cache maintenance.
pub mod cache {
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
