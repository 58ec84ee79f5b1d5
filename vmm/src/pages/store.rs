//! The pages that something has which grows.
//!
//! They come from the frame allocator in chunks, as they are needed, and stay with the store until its VM
//! ends: giving single pages back would make the allocator search long lists, at a moment that a guest chooses.

use crate::{
    arch::bulk,
    memory::frames::{FrameAllocator, FrameBlock},
};
use alloc::vec::Vec;

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 4096;
/// Pages that are taken from the frame allocator at a time.
const CHUNK_PAGES: usize = 4;

/// Number of a page.
pub type PageNumber = u32;
/// No page.
pub const NONE: PageNumber = 0;

/// There is no room left, or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What a page can hold.
///
/// # Safety
/// Any bytes are a value of the type, which fits a page and its alignment.
pub unsafe trait Plain {}

/// The bytes of a page.
pub type Bytes = [u8; PAGE_SIZE];
/// Numbers of further pages.
pub(super) type Index = [PageNumber; PAGE_SIZE / size_of::<PageNumber>()];

// SAFETY: just the bytes.
unsafe impl Plain for Bytes {}
// SAFETY: a page of integers.
unsafe impl Plain for Index {}

/// All pages of a file system, or of something alike.
pub struct Store {
    frames: &'static FrameAllocator,
    chunks: Vec<FrameBlock>,
    /// Pages that there may be.
    limit: usize,
    /// Pages that have been in use; those after them never were, and are zero.
    touched: usize,
    /// Pages in use.
    used: usize,
    /// The first page that is free again; each such page starts with the number of the next one.
    free: PageNumber,
}

impl Store {
    /// A store without a limit, for the building of a VM.
    #[must_use]
    pub fn new(frames: &'static FrameAllocator) -> Self {
        Self { frames, chunks: Vec::new(), limit: usize::MAX, touched: 0, used: 0, free: NONE }
    }

    /// Allows so many pages more than there are. From now on nothing is allocated but chunks.
    pub fn set_room(&mut self, pages: usize) {
        self.limit = self.used + pages;
        self.chunks.reserve_exact(self.limit.div_ceil(CHUNK_PAGES) - self.chunks.len());
    }

    /// Pages that there may be, and that are in use.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        (self.limit, self.used)
    }

    /// Takes a page of zeros.
    pub fn take(&mut self) -> Result<PageNumber, Full> {
        if self.used == self.limit {
            return Err(Full);
        }
        let number = match self.free {
            NONE => self.take_untouched()?,
            number => {
                self.free = self.get::<Index>(number).map_or(NONE, |links| links[0]);
                if let Some(page) = self.get_mut::<Bytes>(number) {
                    // SAFETY: a whole page, which is borrowed.
                    unsafe { bulk::zero(page.as_mut_ptr(), PAGE_SIZE) };
                }
                number
            }
        };
        self.used += 1;
        Ok(number)
    }

    fn take_untouched(&mut self) -> Result<PageNumber, Full> {
        if self.touched == self.chunks.len() * CHUNK_PAGES {
            let chunk = FrameBlock::zeroed(self.frames, (CHUNK_PAGES * PAGE_SIZE) as u64);
            self.chunks.push(chunk.map_err(|_| Full)?);
        }
        self.touched += 1;
        PageNumber::try_from(self.touched).map_err(|_| Full)
    }

    /// Gives a page back.
    pub fn give(&mut self, number: PageNumber) {
        let next = self.free;
        if let Some(links) = self.get_mut::<Index>(number) {
            links[0] = next;
            self.free = number;
            self.used -= 1;
        }
    }

    /// The content of a page. There is none for [`NONE`].
    #[must_use]
    pub fn get<T: Plain>(&self, number: PageNumber) -> Option<&T> {
        // SAFETY: the page is this store's alone, which is borrowed, and holds a `T` whatever its bytes are.
        self.address(number).map(|address| unsafe { &*address.cast() })
    }

    /// The content of a page, to be changed.
    pub fn get_mut<T: Plain>(&mut self, number: PageNumber) -> Option<&mut T> {
        // SAFETY: as in `get`, and the store is borrowed for this one.
        self.address(number).map(|address| unsafe { &mut *address.cast() })
    }

    fn address(&self, number: PageNumber) -> Option<*mut u8> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let chunk = self.chunks.get(index / CHUNK_PAGES)?;
        Some(chunk.as_ptr().wrapping_add(index % CHUNK_PAGES * PAGE_SIZE))
    }
}
