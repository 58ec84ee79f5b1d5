//! The board's virtio devices, on a memory-mapped bus (Virtual I/O Device 1.2, 4.2), such as QEMU's `virt` has one.

use crate::{
    arch::mmu,
    memory::{
        frames::FrameBlock,
        heap::FRAMES,
        page_table::{MapError, PAGE_SIZE},
    },
    platform::{MAX_VIRTIO_SLOTS, VirtioSlot},
};
use core::{ops::Range, ptr::NonNull};
use heapless::Vec;
use spin::Once;
use virtio_drivers::{
    BufferDirection, Hal, PhysAddr,
    transport::mmio::{MmioTransport, VirtIOHeader},
};

/// "virt", in the first register of a slot.
const MAGIC: u32 = 0x7472_6976;

/// What the third register of a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network device.
    Network = 1,
    /// A block device.
    Block = 2,
}

type Slots = Vec<VirtioSlot, MAX_VIRTIO_SLOTS>;

static SLOTS: Once<Slots> = Once::new();

/// Remembers the slots of the bus, in the order of the device tree.
pub fn init(slots: &Slots) {
    SLOTS.call_once(|| slots.clone());
}

/// The slot that has device `number` of a kind. QEMU fills the slots from the last one of the device tree on, so that devices
/// are counted as on its command line.
#[must_use]
pub fn find(kind: Kind, number: usize) -> Option<&'static VirtioSlot> {
    /// Whether the bus is mapped.
    static MAPPED: Once<Result<(), MapError>> = Once::new();
    let slots = SLOTS.get()?;
    MAPPED.call_once(|| map_all(slots)).ok()?;
    // SAFETY: just mapped.
    slots.iter().rev().filter(|slot| unsafe { has(slot, kind) }).nth(number)
}

/// Whether a slot has a device of this kind.
///
/// # Safety
/// The registers are mapped as device memory.
unsafe fn has(slot: &VirtioSlot, kind: Kind) -> bool {
    let Ok(start) = usize::try_from(slot.registers.start) else { return false };
    let registers = core::ptr::with_exposed_provenance::<u32>(start);
    // SAFETY: the caller's promise; reading these registers changes nothing.
    unsafe { registers.read_volatile() == MAGIC && registers.add(2).read_volatile() == kind as u32 }
}

/// Maps slots, of which several may be in a page.
fn map_all(slots: &Slots) -> Result<(), MapError> {
    let mut slots: Vec<Range<u64>, MAX_VIRTIO_SLOTS> =
        slots.iter().map(|slot| slot.registers.clone()).collect();
    slots.sort_unstable_by_key(|slot| slot.start);
    let mut mapped = 0;
    for slot in slots.into_iter().filter(|slot| !slot.is_empty()) {
        let rest = slot.start.max(mapped)..slot.end;
        if !rest.is_empty() {
            mapped = rest.end.next_multiple_of(PAGE_SIZE);
            mmu::map(rest, mmu::Kind::Device)?;
        }
    }
    Ok(())
}

/// The registers of a device.
///
/// # Safety
/// It is one that [`find`] has found, and nothing else uses the device.
pub unsafe fn transport(slot: &VirtioSlot) -> Option<MmioTransport<'static>> {
    let Range { start, end } = slot.registers;
    let (start, size) = (usize::try_from(start).ok()?, usize::try_from(end - start).ok()?);
    let header = NonNull::new(core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(start))?;
    // SAFETY: the caller's promise.
    unsafe { MmioTransport::new(header, size) }.ok()
}

/// The memory that devices share: all of it, at its physical address, and coherent, as emulated buses are.
pub struct Memory;

// SAFETY: blocks of the frame allocator are zeroed, aligned to their size, and have one owner.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let none = (0, NonNull::dangling());
        let Ok(block) = FrameBlock::zeroed(&FRAMES, block_size(pages)) else { return none };
        let Some(start) = NonNull::new(block.as_ptr()) else { return none };
        let address = block.address();
        core::mem::forget(block);
        (address, start)
    }

    unsafe fn dma_dealloc(_: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller's promise: it is what `dma_alloc` gave for so many pages.
        unsafe { FRAMES.give(start, block_size(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        // Of use for PCI only.
        let address = usize::try_from(address).unwrap_or(0);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

fn block_size(pages: usize) -> u64 {
    (pages as u64 * PAGE_SIZE).next_power_of_two()
}
