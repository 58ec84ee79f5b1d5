//! The hypervisor's own heap, fed from the frames as it grows.
//!
//! Nothing on the way of a hypercall, an interrupt or a timer tick allocates: the heap serves the building
//! of VMs.

use super::frames::{FrameAllocator, FrameBlock};
use buddy_system_allocator::Heap;
use core::{
    alloc::{GlobalAlloc, Layout},
    ptr::{self, NonNull},
};
use spin::Mutex;

/// Size classes of the heap: blocks of up to 2 GiB.
const ORDERS: usize = 32;
/// What the heap takes from the frames at least, in bytes.
const CHUNK: u64 = 64 << 10;

/// All physical memory that is neither the image's nor reserved.
pub static FRAMES: FrameAllocator = FrameAllocator::new();

/// A heap that takes more frames when it is full, and gives back those that it does not need when it is told to.
pub struct FrameHeap {
    inner: Mutex<Inner>,
}

struct Inner {
    heap: Heap<ORDERS>,
    /// Bytes taken from the frames, in all.
    taken: u64,
    /// Bytes given back, which `heap` counts as allocated for ever.
    returned: u64,
}

impl FrameHeap {
    /// A heap without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: Mutex::new(Inner { heap: Heap::new(), taken: 0, returned: 0 }) }
    }

    /// Memory that VMs and the hypervisor hold, in bytes: frames in use, where of the frames that the
    /// heap has taken only what is allocated counts.
    pub fn memory_used(&self) -> u64 {
        let inner = self.inner.lock();
        FRAMES.used() as u64 - inner.size() + inner.allocated()
    }

    /// Bytes of its frames that are not allocated.
    pub fn free(&self) -> u64 {
        let inner = self.inner.lock();
        inner.size() - inner.allocated()
    }

    /// Gives frames back that hold nothing, in whole chunks.
    pub fn trim(&self) {
        let mut inner = self.inner.lock();
        while inner.give_back().is_some() {}
    }
}

impl Default for FrameHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// Bytes of the frames that it has.
    fn size(&self) -> u64 {
        self.taken - self.returned
    }

    fn allocated(&self) -> u64 {
        self.heap.stats_alloc_actual() as u64 - self.returned
    }

    fn give_back(&mut self) -> Option<()> {
        let size = usize::try_from(CHUNK).ok()?;
        let chunk = self.heap.alloc(Layout::from_size_align(size, size).ok()?).ok()?;
        self.returned += CHUNK;
        // SAFETY: the heap consists of whole chunks, aligned to their size, and this one is free.
        unsafe { FRAMES.give(chunk, CHUNK) };
        Some(())
    }

    fn grow(&mut self, layout: Layout) -> Option<()> {
        let need = layout.size().max(layout.align()).checked_next_power_of_two()?;
        let chunk = FrameBlock::zeroed(&FRAMES, CHUNK.max(u64::try_from(need).ok()?)).ok()?;
        let start = chunk.as_ptr().expose_provenance();
        // SAFETY: the block is RAM that nothing else uses, until it is given back.
        unsafe { self.heap.add_to_heap(start, start + chunk.len()) };
        self.taken += chunk.size();
        core::mem::forget(chunk);
        Some(())
    }

    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Ok(pointer) = self.heap.alloc(layout) {
            return Some(pointer);
        }
        self.grow(layout)?;
        self.heap.alloc(layout).ok()
    }
}

// SAFETY: the buddy allocator hands out disjoint blocks of at least the layout's size and alignment.
unsafe impl GlobalAlloc for FrameHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.inner.lock().allocate(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller's promise: allocated here with this layout.
            unsafe { self.inner.lock().heap.dealloc(pointer, layout) };
        }
    }
}

/// The Rust heap of the hypervisor. On the developer's machine, the standard one.
#[cfg_attr(target_os = "none", global_allocator)]
pub static HEAP: FrameHeap = FrameHeap::new();

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec, vec::Vec};

    /// Gives the heap's frames some of the process's own memory.
    fn add_frames(bytes: usize) {
        let memory: &'static mut [u8] = Box::leak(vec![0_u8; bytes].into_boxed_slice());
        let start = memory.as_mut_ptr().expose_provenance() as u64;
        let end = start + bytes as u64;
        // SAFETY: leaked for the frames.
        unsafe { FRAMES.add(start.next_multiple_of(4096)..end - end % 4096) };
    }

    #[test]
    fn what_is_free_goes_back_to_the_frames() {
        add_frames(2 << 20);
        let (heap, free) = (FrameHeap::new(), FRAMES.free());
        let layouts: Vec<Layout> = [24, 4096, 100_000, 8, 60_000, 4096]
            .into_iter()
            .cycle()
            .take(30)
            .map(|size| Layout::from_size_align(size, 8).unwrap())
            .collect();
        for _ in 0..3 {
            // SAFETY: no layout is empty.
            let blocks: Vec<_> = layouts.iter().map(|layout| unsafe { heap.alloc(*layout) }).collect();
            assert!(blocks.iter().all(|block| !block.is_null()));
            assert!(heap.free() > 0 && FRAMES.free() < free);
            for (block, layout) in blocks.into_iter().zip(&layouts) {
                // SAFETY: allocated above with this layout.
                unsafe { heap.dealloc(block, *layout) };
            }
            heap.trim();
            assert_eq!((heap.free(), FRAMES.free()), (0, free));
        }
    }
}
