//! Which pages hold a file: a page, or a tree of pages with the numbers of further ones. A page that was never
//! written is not there, and stands for zeros, or for what is below.

use super::store::{Full, Index, NONE, PageNumber, Store};

/// Pages that a page of numbers leads to, as a power of two.
const FANOUT_BITS: u32 = 10;
const FANOUT: u64 = 1 << FANOUT_BITS;

/// The pages of a file, or of something alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Tree {
    root: PageNumber,
    /// Levels of pages with numbers above those with data.
    height: u32,
}

/// Pages with data below a page at this height.
fn capacity(height: u32) -> u64 {
    1 << (FANOUT_BITS * height)
}

/// Where at this height the way to page `index` goes on. The remainder is below [`FANOUT`].
fn slot(index: u64, height: u32) -> usize {
    usize::try_from(index >> (FANOUT_BITS * (height - 1)) & (FANOUT - 1)).unwrap_or(0)
}

impl Tree {
    /// No pages.
    pub const EMPTY: Self = Self { root: NONE, height: 0 };

    /// The page number `index` of the file, or [`NONE`].
    #[must_use]
    pub fn find(self, store: &Store, index: u64) -> PageNumber {
        if index >= capacity(self.height) {
            return NONE;
        }
        (1..=self.height).rev().fold(self.root, |number, height| child(store, number, slot(index, height)))
    }

    /// The same page, which is made if it is not there.
    pub fn find_or_make(&mut self, store: &mut Store, index: u64) -> Result<PageNumber, Full> {
        while index >= capacity(self.height) {
            self.grow(store)?;
        }
        if self.root == NONE {
            self.root = store.take()?;
        }
        (1..=self.height).rev().try_fold(self.root, |number, height| {
            let slot = slot(index, height);
            match child(store, number, slot) {
                NONE => make_child(store, number, slot),
                child => Ok(child),
            }
        })
    }

    fn grow(&mut self, store: &mut Store) -> Result<(), Full> {
        if self.root != NONE {
            let old = self.root;
            self.root = store.take()?;
            set_child(store, self.root, 0, old);
        }
        self.height += 1;
        Ok(())
    }

    /// Gives all pages back but the first `kept`.
    pub fn cut(&mut self, store: &mut Store, kept: u64) {
        self.root = cut(store, self.root, self.height, kept);
        if self.root == NONE {
            self.height = 0;
        }
    }
}

fn child(store: &Store, number: PageNumber, slot: usize) -> PageNumber {
    store.get::<Index>(number).map_or(NONE, |index| index[slot])
}

fn set_child(store: &mut Store, number: PageNumber, slot: usize, child: PageNumber) {
    if let Some(index) = store.get_mut::<Index>(number) {
        index[slot] = child;
    }
}

fn make_child(store: &mut Store, number: PageNumber, slot: usize) -> Result<PageNumber, Full> {
    let child = store.take()?;
    set_child(store, number, slot, child);
    Ok(child)
}

/// Gives back what is below `number` after the first `kept` pages; what is left is the result. As deep as the
/// tree is high, at most twice.
fn cut(store: &mut Store, number: PageNumber, height: u32, kept: u64) -> PageNumber {
    if number != NONE && height > 0 {
        let below = capacity(height - 1);
        for place in kept >> (FANOUT_BITS * (height - 1))..FANOUT {
            let slot = slot(place * below, height);
            let left = cut(store, child(store, number, slot), height - 1, kept.saturating_sub(place * below));
            set_child(store, number, slot, left);
        }
    }
    if kept == 0 {
        store.give(number);
        return NONE;
    }
    number
}
