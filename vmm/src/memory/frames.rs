//! Physical frames: handed out in power-of-two blocks, given back when the last owner lets go.

use super::page_table::{PAGE_SIZE, Table, TableSource};
use alloc::sync::Arc;
use buddy_system_allocator::Heap;
use core::{alloc::Layout, fmt, ops::Range, ptr::NonNull};
use spin::Mutex;

/// Size classes of the buddy allocator: blocks of up to 512 GiB.
const ORDERS: usize = 40;

/// All free physical memory.
///
/// Free blocks hold the allocator's own links, so it needs no memory besides.
pub struct FrameAllocator {
    heap: Mutex<Heap<ORDERS>>,
}

impl FrameAllocator {
    /// An allocator that owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { heap: Mutex::new(Heap::new()) }
    }

    /// Adds memory.
    ///
    /// # Safety
    /// The range is RAM, mapped at its own address, and used by nothing else from now on.
    pub unsafe fn add(&self, range: Range<u64>) {
        let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end)) else { return };
        // SAFETY: the caller's promise.
        unsafe { self.heap.lock().add_to_heap(start, end) };
    }

    /// Takes a block of `size` bytes, a power of two of at least a page, aligned to its size.
    fn take(&self, size: u64) -> Option<NonNull<u8>> {
        self.heap.lock().alloc(block_layout(size)?).ok()
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block was taken from here, alone or as a part of a larger one, and nothing uses it any more. `size` is a
    /// power of two of at least a page, to which the block is aligned.
    pub unsafe fn give(&self, start: NonNull<u8>, size: u64) {
        if let Some(layout) = block_layout(size) {
            // SAFETY: the caller's promise.
            unsafe { self.heap.lock().dealloc(start, layout) };
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.heap.lock().stats_alloc_actual()
    }

    /// Bytes free, in blocks of any size.
    #[must_use]
    pub fn free(&self) -> usize {
        let heap = self.heap.lock();
        heap.stats_total_bytes() - heap.stats_alloc_actual()
    }
}

impl Default for FrameAllocator {
    fn default() -> Self {
        Self::new()
    }
}

fn block_layout(size: u64) -> Option<Layout> {
    let size = usize::try_from(size).ok()?;
    Layout::from_size_align(size, size).ok()
}

/// A block of frames with one owner or, in an [`Arc`], several: pages that VMs share are counted by
/// block and freed with the last of them.
pub struct FrameBlock {
    start: NonNull<u8>,
    size: u64,
    frames: &'static FrameAllocator,
}

// SAFETY: the block is memory that belongs to this value alone.
unsafe impl Send for FrameBlock {}
// SAFETY: it is only accessed through raw pointers, by those who know who else does.
unsafe impl Sync for FrameBlock {}

impl FrameBlock {
    /// A zeroed block of `size` bytes: a power of two of at least a page, aligned to its size.
    pub fn zeroed(frames: &'static FrameAllocator, size: u64) -> Result<Self, OutOfFrames> {
        debug_assert!(size.is_power_of_two() && size >= PAGE_SIZE);
        let start = frames.take(size).ok_or(OutOfFrames { wanted: size })?;
        let block = Self { start, size, frames };
        // SAFETY: the block is `size` bytes of memory that nothing else uses.
        unsafe { crate::arch::bulk::zero(start.as_ptr(), block.len()) };
        Ok(block)
    }

    /// Zeroed blocks that together hold exactly `size` bytes, a multiple of the page size; the largest first.
    pub fn zeroed_blocks(
        frames: &'static FrameAllocator,
        size: u64,
        largest: u64,
        mut each: impl FnMut(Self),
    ) -> Result<(), OutOfFrames> {
        let mut left = size;
        while left > 0 {
            let block = (1 << left.ilog2()).min(largest);
            each(Self::zeroed(frames, block).map_err(|_| OutOfFrames { wanted: size })?);
            left -= block;
        }
        Ok(())
    }

    /// Splits off blocks that together hold the first `size` bytes, a multiple of the page size, and gives the
    /// rest back.
    pub fn split(self, size: u64, mut each: impl FnMut(Self)) {
        let (start, end, frames) = (self.start, self.size, self.frames);
        core::mem::forget(self);
        let mut at = 0;
        while at < end {
            // Powers of two: falling up to `size`, then rising, so that each is aligned to itself.
            let part = if at < size { 1 << (size - at).ilog2() } else { 1 << at.trailing_zeros() };
            let Ok(offset) = usize::try_from(at) else { return };
            // SAFETY: inside the block.
            let block = Self { start: unsafe { start.add(offset) }, size: part, frames };
            if at < size {
                each(block);
            }
            at += part;
        }
    }

    /// Physical address of the first byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Pointer to the first byte.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size in bytes as a length.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// Never: a block holds at least a page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The bytes of a block that has no other owner yet.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: zeroed memory of that length, which `&mut self` makes ours alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len()) }
    }
}

impl Drop for FrameBlock {
    fn drop(&mut self) {
        // SAFETY: it was taken with this size, or split off, and its last owner is gone.
        unsafe { self.frames.give(self.start, self.size) };
    }
}

/// Blocks that several address spaces may share.
pub type SharedBlock = Arc<FrameBlock>;

/// There is no block of frames large enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfFrames {
    /// What was asked for, in bytes.
    pub wanted: u64,
}

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not enough free memory for {} KiB", self.wanted >> 10)
    }
}

/// Translation tables from the frame allocator.
impl TableSource for &'static FrameAllocator {
    fn allocate(&self) -> Option<NonNull<Table>> {
        let block = FrameBlock::zeroed(self, PAGE_SIZE).ok()?;
        let table = block.start.cast();
        core::mem::forget(block);
        Some(table)
    }

    unsafe fn release(&self, table: NonNull<Table>) {
        drop(FrameBlock { start: table.cast(), size: PAGE_SIZE, frames: self });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::{boxed::Box, vec, vec::Vec};

    /// An allocator over `pages` pages of the process's own memory, aligned to 2 MiB.
    pub(crate) fn frames(pages: usize) -> &'static FrameAllocator {
        const ALIGN: usize = 2 << 20;
        let bytes: &'static mut [u8] = Box::leak(vec![0xa5_u8; pages * 4096 + ALIGN].into_boxed_slice());
        let start = bytes.as_mut_ptr().expose_provenance().next_multiple_of(ALIGN) as u64;
        let allocator = Box::leak(Box::new(FrameAllocator::new()));
        // SAFETY: leaked for this allocator.
        unsafe { allocator.add(start..start + pages as u64 * PAGE_SIZE) };
        allocator
    }

    #[test]
    fn blocks_are_zeroed_aligned_and_come_back() {
        let frames = frames(64);
        let mut blocks = Vec::new();
        FrameBlock::zeroed_blocks(frames, 13 * PAGE_SIZE, 4 * PAGE_SIZE, |block| blocks.push(block)).unwrap();
        let pages: Vec<u64> = blocks.iter().map(|block| block.size() / PAGE_SIZE).collect();
        assert_eq!(pages, [4, 4, 4, 1]);
        for block in &mut blocks {
            assert_eq!(block.address() % block.size(), 0);
            assert!(block.as_mut_slice().iter().all(|byte| *byte == 0));
            block.as_mut_slice().fill(0xff);
        }
        assert_eq!(frames.used(), 13 * 4096);
        drop(blocks);
        assert_eq!(frames.used(), 0);
        let mut again = FrameBlock::zeroed(frames, 16 * PAGE_SIZE).unwrap();
        assert!(again.as_mut_slice().iter().all(|byte| *byte == 0), "memory of another owner is scrubbed");
    }

    #[test]
    fn a_block_can_be_split_and_the_rest_comes_back() {
        let frames = frames(16);
        for pages in 1..=16_u64 {
            let block = FrameBlock::zeroed(frames, 16 * PAGE_SIZE).unwrap();
            let start = block.address();
            let mut parts = Vec::new();
            block.split(pages * PAGE_SIZE, |part| parts.push(part));
            assert_eq!(frames.used() as u64, pages * PAGE_SIZE);
            let mut at = start;
            for part in &parts {
                assert_eq!(part.address(), at);
                at += part.size();
            }
            drop(parts);
            assert_eq!(frames.used(), 0);
        }
        assert!(FrameBlock::zeroed(frames, 16 * PAGE_SIZE).is_ok(), "the parts have grown together");
    }

    #[test]
    fn a_shared_block_lives_as_long_as_its_last_owner() {
        let frames = frames(4);
        let first: SharedBlock = Arc::new(FrameBlock::zeroed(frames, PAGE_SIZE).unwrap());
        let second = first.clone();
        drop(first);
        assert_eq!(frames.used(), 4096);
        drop(second);
        assert_eq!(frames.used(), 0);
    }

    #[test]
    fn says_when_memory_has_run_out() {
        let frames = frames(4);
        let error = FrameBlock::zeroed_blocks(frames, 5 * PAGE_SIZE, PAGE_SIZE, drop).err();
        assert_eq!(error, None, "each block was dropped at once");
        let error = FrameBlock::zeroed(frames, 8 * PAGE_SIZE).err().unwrap();
        assert_eq!(alloc::string::ToString::to_string(&error), "not enough free memory for 32 KiB");
    }
}
