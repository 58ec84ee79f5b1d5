//! Waits that end: a core polls until something is so, or until it has been long enough.

use crate::arch::{cpu, timer};

/// A time that a wait must not go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// So many milliseconds from now on.
    #[must_use]
    pub fn after_ms(milliseconds: u64) -> Self {
        Self(timer::now().saturating_add(timer::frequency() / 1000 * milliseconds))
    }

    /// Polls until something is so. Returns whether it is.
    ///
    /// It is looked at once more when the time is over: an emulator may have stopped the core meanwhile.
    #[must_use]
    pub fn wait(self, mut is_so: impl FnMut() -> bool) -> bool {
        loop {
            let is_over = timer::now() > self.0;
            if is_so() {
                return true;
            }
            if is_over {
                return false;
            }
            cpu::relax();
        }
    }
}
