//! Stage 2: which guest physical addresses a VM has, and what it may do there.

use super::{
    frames::{FrameAllocator, SharedBlock},
    page_table::{Leaf, MapError, PAGE_SIZE, PageTable, Regime},
    window::Piece,
};
use alloc::vec::Vec;

/// What a guest may do with a page, which is Normal write-back memory unless it is a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read, write and execute: RAM.
    ReadWriteExecute,
    /// Read and execute.
    ReadExecute,
    /// Read only.
    ReadOnly,
    /// Read and write, of device registers that the guest has to itself.
    Device,
}

/// Descriptor bits of stage 2 (Arm ARM, D8.4.2 "Stage 2 permissions", D8.6.5 "Stage 2 memory attributes").
mod bits {
    /// `MemAttr`: Normal, inner and outer write-back.
    pub(super) const NORMAL: u64 = 0b1111 << 2;
    /// `MemAttr`: Device-nGnRE.
    pub(super) const DEVICE: u64 = 0b0001 << 2;
    /// `S2AP`: readable.
    pub(super) const READ: u64 = 0b01 << 6;
    /// `S2AP`: writable.
    pub(super) const WRITE: u64 = 0b10 << 6;
    /// `SH`: inner shareable, for the guest's stage 1 says non-shareable while its MMU is off.
    pub(super) const INNER_SHAREABLE: u64 = 0b11 << 8;
    /// `XN`: never execute.
    pub(super) const EXECUTE_NEVER: u64 = 0b10 << 53;
}

/// The stage 2 regime.
pub struct Stage2Regime;

impl Regime for Stage2Regime {
    type Attributes = Access;

    fn bits(access: Access) -> u64 {
        let permissions = match access {
            Access::ReadWriteExecute => bits::READ | bits::WRITE,
            Access::ReadExecute => bits::READ,
            Access::ReadOnly => bits::READ | bits::EXECUTE_NEVER,
            Access::Device => return bits::READ | bits::WRITE | bits::EXECUTE_NEVER | bits::DEVICE,
        };
        permissions | bits::NORMAL | bits::INNER_SHAREABLE
    }
}

/// The guest physical address space of a VM, and the frames it holds.
pub struct Stage2 {
    table: PageTable<Stage2Regime, &'static FrameAllocator>,
    blocks: Vec<SharedBlock>,
}

impl Stage2 {
    /// An address space without memory.
    pub fn new(frames: &'static FrameAllocator) -> Result<Self, MapError> {
        Ok(Self { table: PageTable::new(frames)?, blocks: Vec::new() })
    }

    /// Maps a block of frames at a guest physical address. The address space keeps the block alive.
    pub fn map(&mut self, ipa: u64, block: SharedBlock, access: Access) -> Result<(), MapError> {
        self.table.map(ipa, block.address(), block.size(), access)?;
        self.blocks.push(block);
        Ok(())
    }

    /// Maps a part of the hypervisor's image, which is there for ever.
    pub fn map_static(&mut self, ipa: u64, page: &'static Page, access: Access) -> Result<(), MapError> {
        let address = core::ptr::from_ref(page).expose_provenance() as u64;
        self.table.map(ipa, address, PAGE_SIZE, access)
    }

    /// Maps device registers.
    pub fn map_device(&mut self, ipa: u64, registers: u64, size: u64) -> Result<(), MapError> {
        self.table.map(ipa, registers, size, Access::Device)
    }

    /// Physical address of the root table.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.table.root()
    }

    /// What a guest physical address leads to, and whether the guest may write there.
    #[must_use]
    pub fn lookup(&self, ipa: u64) -> Option<(Leaf, bool)> {
        self.table.lookup(ipa).map(|leaf| (leaf, leaf.bits & bits::WRITE != 0))
    }

    /// The memory at a guest physical address, at most `len` bytes of it, which stays as long as the piece.
    pub(super) fn piece(&self, ipa: u64, len: u64) -> Option<Piece> {
        let address = self.table.lookup(ipa)?.address;
        let offset_in =
            |block: &SharedBlock| address.checked_sub(block.address()).filter(|at| *at < block.size());
        let (block, start) = self.blocks.iter().find_map(|block| Some((block.clone(), offset_in(block)?)))?;
        Some(Piece { len: len.min(block.size() - start), block, start })
    }

    /// Whether the guest may execute what is at a guest physical address.
    #[must_use]
    pub fn is_executable(&self, ipa: u64) -> bool {
        self.table.lookup(ipa).is_some_and(|leaf| leaf.bits & bits::EXECUTE_NEVER == 0)
    }
}

/// A page of the image that guests may see.
#[repr(C, align(4096))]
pub struct Page(pub [u32; 1024]);

#[cfg(test)]
mod tests {
    use super::{super::frames::FrameBlock, *};
    use crate::memory::frames::tests::frames;
    use alloc::sync::Arc;

    #[test]
    fn frames_live_as_long_as_one_address_space_maps_them() {
        let frames = frames(64);
        let shared: SharedBlock = Arc::new(FrameBlock::zeroed(frames, PAGE_SIZE).unwrap());
        let mut spaces = [Stage2::new(frames).unwrap(), Stage2::new(frames).unwrap()];
        for space in &mut spaces {
            space.map(0x9000_0000, shared.clone(), Access::ReadOnly).unwrap();
            assert_eq!(space.lookup(0x9000_0010).unwrap().0.address, shared.address() + 0x10);
            assert!(!space.lookup(0x9000_0000).unwrap().1);
        }
        drop(shared);
        let [first, second] = spaces;
        drop(first);
        assert!(second.lookup(0x9000_0000).is_some());
        drop(second);
        assert_eq!(frames.used(), 0);
    }

    #[test]
    fn ram_is_writable_and_what_is_not_mapped_is_not_there() {
        let mut space = Stage2::new(frames(64)).unwrap();
        let ram = Arc::new(FrameBlock::zeroed(frames(64), 4 * PAGE_SIZE).unwrap());
        space.map(0, ram, Access::ReadWriteExecute).unwrap();
        assert!(space.lookup(0x3fff).unwrap().1);
        assert!(space.lookup(0x4000).is_none());
    }
}
