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
    /// Nothing: there is no reader without caches.
    pub fn clean_to_memory(_start: *const u8, _len: usize) {}

    /// Nothing: no code is run from what the tests load.
    pub fn synchronise_instructions(_start: *const u8, _len: usize) {}
}

/// The core.
pub mod cpu {
    /// Lets others go ahead for a moment.
    pub fn relax() {
        core::hint::spin_loop();
    }

    /// None: the tests do without chance.
    #[must_use]
    pub fn random() -> Option<u64> {
        None
    }
}

/// The clock.
pub mod timer {
    /// Ticks since the machine was switched on.
    #[must_use]
    pub fn now() -> u64 {
        1
    }

    /// Ticks a second.
    #[must_use]
    pub fn frequency() -> u64 {
        1_000_000_000
    }
}

/// The interrupt controller.
pub mod gic {
    use crate::devices::vgic::Version;

    /// Nothing: there are no other cores.
    pub fn kick(_core: usize) {}

    /// None: a GICv3 has system registers.
    #[must_use]
    pub fn guest_cpu_interface() -> Option<u64> {
        None
    }

    /// A GICv3.
    #[must_use]
    pub fn version() -> Version {
        Version::V3
    }
}
