//! A disk that begins as a file of the bundle and is written in memory: each page is copied when it is first written.
//! What was written is gone with the VM.

use super::Error;
use crate::{
    memory::frames::FrameAllocator,
    pages::{Bytes, PAGE_SIZE, Store, Tree},
};
use core::ops::Range;
use tinyvmm_abi::disks::SECTOR_SIZE;

/// What was written over a file.
pub struct Overlay {
    base: &'static [u8],
    store: Store,
    pages: Tree,
}

impl Overlay {
    /// A disk with the content of `base`, whose size is a multiple of [`SECTOR_SIZE`]. What is written takes at most
    /// `room` bytes of memory.
    #[must_use]
    pub fn new(base: &'static [u8], frames: &'static FrameAllocator, room: u64) -> Self {
        let mut store = Store::new(frames);
        store.set_room(usize::try_from(room).unwrap_or(usize::MAX) / PAGE_SIZE);
        Self { base, store, pages: Tree::EMPTY }
    }

    pub(super) fn sectors(&self) -> u64 {
        self.base.len() as u64 / SECTOR_SIZE
    }

    /// Passes the bytes of a range to `take`.
    pub(super) fn read(&self, range: Range<usize>, mut take: impl FnMut(&[u8])) {
        for Piece { page, start, length } in pieces(range) {
            let written = self.store.get::<Bytes>(self.pages.find(&self.store, page as u64));
            let bytes = written.map_or_else(|| self.below(page), Bytes::as_slice);
            take(bytes.get(start..start + length).unwrap_or_default());
        }
    }

    /// Has `fill` write the bytes of a range.
    pub(super) fn write(
        &mut self,
        range: Range<usize>,
        mut fill: impl FnMut(&mut [u8]),
    ) -> Result<(), Error> {
        for Piece { page, start, length } in pieces(range) {
            let bytes = self.page(page)?;
            fill(&mut bytes[start..start + length]);
        }
        Ok(())
    }

    /// A page, to be written.
    fn page(&mut self, page: usize) -> Result<&mut Bytes, Error> {
        let is_new = self.store.get::<Bytes>(self.pages.find(&self.store, page as u64)).is_none();
        let number = self.pages.find_or_make(&mut self.store, page as u64).map_err(|_| Error::Full)?;
        let below = self.below(page);
        let bytes = self.store.get_mut::<Bytes>(number).ok_or(Error::Full)?;
        if is_new {
            bytes[..below.len()].copy_from_slice(below);
        }
        Ok(bytes)
    }

    /// What the file has at a page; the last one may be shorter than others.
    fn below(&self, page: usize) -> &'static [u8] {
        let rest = self.base.get(page * PAGE_SIZE..).unwrap_or_default();
        &rest[..rest.len().min(PAGE_SIZE)]
    }
}

/// A part of a page.
struct Piece {
    page: usize,
    start: usize,
    length: usize,
}

/// The parts of pages that a range consists of.
fn pieces(range: Range<usize>) -> impl Iterator<Item = Piece> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let start = at % PAGE_SIZE;
        let length = (range.end - at).min(PAGE_SIZE - start);
        let piece = Piece { page: at / PAGE_SIZE, start, length };
        at += length;
        (length > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::frames::tests::frames;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    const SIZE: usize = 10 * PAGE_SIZE + 512;

    fn overlay(room: u64) -> Overlay {
        Overlay::new(vec![0xb5; SIZE].leak(), frames(64), room)
    }

    fn content(overlay: &Overlay) -> Vec<u8> {
        let mut all = Vec::new();
        overlay.read(0..SIZE, |bytes| all.extend_from_slice(bytes));
        all
    }

    #[test]
    fn what_finds_no_room_changes_nothing() {
        let mut overlay = overlay(2 * 4096);
        assert_eq!(overlay.write(0..4096, |bytes| bytes.fill(1)), Ok(()));
        assert_eq!(
            overlay.write(8192..8193, |bytes| bytes.fill(2)),
            Err(Error::Full),
            "a page is the tree's"
        );
        assert_eq!(overlay.write(5..6, |bytes| bytes.fill(3)), Ok(()), "it is there already");
        let all = content(&overlay);
        assert_eq!((all[4], all[5], all[6], all[8192], all.len()), (1, 3, 1, 0xb5, SIZE));
    }

    proptest! {
        #[test]
        fn it_is_as_a_plain_disk(writes in prop::collection::vec((0..SIZE, 0..9000_usize, any::<u8>()), 0..20)) {
            let mut overlay = overlay(1 << 20);
            let mut model = vec![0xb5; SIZE];
            for (start, length, value) in writes {
                let range = start..(start + length).min(SIZE);
                prop_assert_eq!(overlay.write(range.clone(), |bytes| bytes.fill(value)), Ok(()));
                model[range.clone()].fill(value);
                let mut back = Vec::new();
                overlay.read(range.clone(), |bytes| back.extend_from_slice(bytes));
                prop_assert_eq!(&back[..], &model[range]);
            }
            prop_assert_eq!(content(&overlay), model);
        }
    }
}
