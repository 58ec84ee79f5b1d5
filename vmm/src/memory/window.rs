//! Windows: parts of a guest's RAM that both sides use for long, such as the rings of a device's queue.
//!
//! Where they are in physical memory is looked up once. The guest may change the bytes at any time, so they are read and
//! written whole, as integers, and what orders them says so.

use super::frames::SharedBlock;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use heapless::Vec;

/// Pieces of physical memory that a window can consist of. Blocks are pages at least, so two hold a page that is
/// aligned to anything.
const MAX_PIECES: usize = 2;
/// Largest window in bytes.
pub const SIZE_MAX: u64 = 4096;

/// A part of a VM's RAM, at most [`SIZE_MAX`] bytes, that stays where it is as long as the window is there.
pub struct Window {
    pieces: Vec<Piece, MAX_PIECES>,
}

/// A part of a window that is contiguous in physical memory.
pub(super) struct Piece {
    /// The memory that it is in.
    pub(super) block: SharedBlock,
    /// Where in the block it begins.
    pub(super) start: u64,
    /// Length in bytes.
    pub(super) len: u64,
}

impl Window {
    /// A window of these pieces, if it is not too large.
    pub(super) fn new(pieces: impl Iterator<Item = Piece>) -> Option<Self> {
        let mut window = Self { pieces: Vec::new() };
        for piece in pieces {
            window.pieces.push(piece).ok()?;
        }
        Some(window)
    }

    /// The integer of 16 bits at `offset`. What is read after it was there before it.
    #[inline]
    #[must_use]
    pub fn load_u16(&self, offset: u64) -> u16 {
        // SAFETY: `place` vouches for address, alignment and life; everybody accesses such memory atomically.
        self.place(offset, size_of::<u16>())
            .map_or(0, |place| unsafe { AtomicU16::from_ptr(place.cast()).load(Ordering::Acquire) })
    }

    /// Changes the integer of 16 bits at `offset`. Who sees it sees what was written before it.
    #[inline]
    pub fn store_u16(&self, offset: u64, value: u16) {
        if let Some(place) = self.place(offset, size_of::<u16>()) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU16::from_ptr(place.cast()) }.store(value, Ordering::Release);
        }
    }

    /// Changes the integer of 32 bits at `offset`, in no order.
    #[inline]
    pub fn store_u32(&self, offset: u64, value: u32) {
        if let Some(place) = self.place(offset, size_of::<u32>()) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(place.cast()) }.store(value, Ordering::Relaxed);
        }
    }

    /// The integer of 64 bits at `offset`, in no order.
    #[inline]
    #[must_use]
    pub fn load_u64(&self, offset: u64) -> u64 {
        // SAFETY: as in `load_u16`.
        self.place(offset, size_of::<u64>())
            .map_or(0, |place| unsafe { AtomicU64::from_ptr(place.cast()).load(Ordering::Relaxed) })
    }

    /// The address of an integer of `size` bytes, if it is inside and aligned.
    #[inline]
    fn place(&self, offset: u64, size: usize) -> Option<*mut u8> {
        let mut offset = offset;
        for piece in &self.pieces {
            if offset < piece.len {
                let at = usize::try_from(piece.start + offset).ok()?;
                let fits = offset + size as u64 <= piece.len && at.is_multiple_of(size);
                return fits.then(|| piece.block.as_ptr().wrapping_add(at));
            }
            offset -= piece.len;
        }
        None
    }
}
