//! The heap of guests in Rust: all memory between the image and the stacks.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use buddy_system_allocator::Heap as Buddy;
use spin::Mutex;

use crate::memory;

/// Gives the program a heap, and with it the `alloc` crate. A program that does without, or that
/// manages [`memory::free`] itself, pays nothing for this one.
#[macro_export]
macro_rules! global_heap {
    () => {
        #[global_allocator]
        static GLOBAL_HEAP: $crate::heap::Heap = $crate::heap::Heap::new();
    };
}

/// Blocks of up to 2^31 bytes: the largest RAM of the `tiny` machine.
const ORDERS: usize = 32;

/// An allocator over [`memory::free`]. A program has one: see [`global_heap!`].
pub struct Heap(Mutex<Option<Buddy<ORDERS>>>);

impl Heap {
    /// A heap that takes the memory at the first allocation.
    #[expect(clippy::new_without_default, reason = "two heaps would share the same memory")]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }
}

/// All free memory in one allocator.
fn all_free_memory() -> Buddy<ORDERS> {
    let free = memory::free();
    let mut buddy = Buddy::empty();
    // SAFETY: nothing else uses the memory between the image and the stacks.
    unsafe { buddy.add_to_heap(free.start, free.end) };
    buddy
}

// SAFETY: the buddy allocator hands out blocks of the asked size and alignment that do not overlap.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        let buddy = heap.get_or_insert_with(all_free_memory);
        buddy.alloc(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let (Some(buddy), Some(block)) = (self.0.lock().as_mut(), NonNull::new(block)) {
            // SAFETY: the caller got the block from `alloc` with the same layout.
            unsafe { buddy.dealloc(block, layout) };
        }
    }
}
