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

/// A heap that takes more frames when it is full and never gives them back.
pub struct FrameHeap {
    inner: Mutex<Inner>,
}

struct Inner {
    heap: Heap<ORDERS>,
    chunks: u64,
}

impl FrameHeap {
    /// A heap without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: Mutex::new(Inner { heap: Heap::new(), chunks: 0 }) }
    }

    /// Memory that VMs and the hypervisor hold, in bytes: frames in use, where of the frames that the
    /// heap has taken only what is allocated counts.
    pub fn memory_used(&self) -> u64 {
        let inner = self.inner.lock();
        FRAMES.used() as u64 - inner.chunks + inner.heap.stats_alloc_actual() as u64
    }
}

impl Default for FrameHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn grow(&mut self, layout: Layout) -> Option<()> {
        let need = layout.size().max(layout.align()).checked_next_power_of_two()?;
        let chunk = FrameBlock::zeroed(&FRAMES, CHUNK.max(u64::try_from(need).ok()?)).ok()?;
        let start = chunk.as_ptr().expose_provenance();
        // SAFETY: the block is RAM that nothing else uses, and it is never given back.
        unsafe { self.heap.add_to_heap(start, start + chunk.len()) };
        self.chunks += chunk.size();
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
