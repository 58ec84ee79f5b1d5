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
    /// The only one.
    #[must_use]
    pub fn core_index() -> usize {
        0
    }

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
        super::clock::look()
    }

    /// Ticks a second.
    #[must_use]
    pub fn frequency() -> u64 {
        1_000_000_000
    }
}

/// A clock that stands still.
#[cfg(not(test))]
mod clock {
    pub(super) fn look() -> u64 {
        1
    }
}

/// A clock that stands still, unless a test has it run.
#[cfg(test)]
pub(crate) mod clock {
    use alloc::boxed::Box;
    use core::cell::{Cell, RefCell};

    type World = Box<dyn FnMut(u64)>;

    std::thread_local! {
        static TIME: Cell<u64> = const { Cell::new(1) };
        static WORLD: RefCell<Option<(u64, World)>> = const { RefCell::new(None) };
    }

    /// From now on each look at the clock comes `step` ticks after the one before, and `world` goes on until then.
    pub(crate) fn run(step: u64, world: impl FnMut(u64) + 'static) {
        WORLD.set(Some((step, Box::new(world))));
    }

    pub(super) fn look() -> u64 {
        WORLD.with_borrow_mut(|world| {
            if let Some((step, go_on)) = world {
                TIME.set(TIME.get() + *step);
                go_on(TIME.get());
            }
        });
        TIME.get()
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
