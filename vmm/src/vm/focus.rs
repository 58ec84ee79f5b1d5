//! Which VM gets what is typed.

/// The VM that gets what is typed, as an index into the manifest's VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Focus(usize);

impl Focus {
    /// The VM.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }

    /// Moves to a VM.
    pub const fn set(&mut self, index: usize) {
        self.0 = index;
    }

    /// Moves to the next of `count` VMs that `lives`, from the end on to the first. Returns whether there is another.
    pub fn advance(&mut self, count: usize, lives: impl Fn(usize) -> bool) -> bool {
        let next = (1..count).map(|step| (self.0 + step) % count).find(|index| lives(*index));
        self.0 = next.unwrap_or(self.0);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_that_lives_follows() {
        let mut focus = Focus::default();
        assert!(focus.advance(4, |index| index == 2 || index == 3));
        assert_eq!(focus.index(), 2);
        focus.set(3);
        assert!(focus.advance(4, |index| index == 1));
        assert_eq!(focus.index(), 1);
        assert!(!focus.advance(4, |_| false));
        assert_eq!(focus.index(), 1);
        assert!(!focus.advance(0, |_| true));
    }
}
