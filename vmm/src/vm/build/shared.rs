//! Pages that several VMs have: the ROM image of their files, and the code of their image.

use super::Reason;
use crate::{
    arch::{bulk, cache},
    bundle::{Bundle, image::Segment, manifest::VmConfig, rom::RomFs},
    files::Rom,
    memory::{
        frames::{FrameAllocator, FrameBlock, SharedBlock},
        page_table::PAGE_SIZE,
    },
};
use alloc::{sync::Arc, vec::Vec};

/// What has been made of a bundle so far.
pub(super) struct SharedPages<'a> {
    bundle: &'a Bundle<'a>,
    frames: &'static FrameAllocator,
    /// ROM images made so far: VMs with the same files share the pages.
    roms: Vec<(&'a VmConfig, Arc<Rom>)>,
    /// Code by the name of its image and its address: VMs with the same image share the pages.
    code: Vec<(&'a str, u64, Vec<SharedBlock>)>,
}

impl<'a> SharedPages<'a> {
    /// Nothing yet.
    pub(super) fn new(bundle: &'a Bundle<'a>, frames: &'static FrameAllocator) -> Self {
        Self { bundle, frames, roms: Vec::new(), code: Vec::new() }
    }

    /// Gives back the ROM images and the code that no VM uses any more.
    pub(super) fn tidy(&mut self) {
        let is_used = |blocks: &[SharedBlock]| blocks.iter().any(|block| Arc::strong_count(block) > 1);
        self.roms.retain(|(_, rom)| is_used(&rom.blocks));
        if self.roms.is_empty() {
            self.roms = Vec::new();
        }
        self.code.retain(|(.., blocks)| is_used(blocks));
        if self.code.is_empty() {
            self.code = Vec::new();
        }
    }

    /// The ROM image with the files of a VM, shared with an earlier VM that has the same.
    pub(super) fn rom(&mut self, config: &'a VmConfig) -> Result<Option<Arc<Rom>>, Reason> {
        if config.files.is_empty() {
            return Ok(None);
        }
        if let Some((_, rom)) = self.roms.iter().find(|(other, _)| same_files(other, config)) {
            return Ok(Some(rom.clone()));
        }
        let files = config.files.iter();
        let plan = RomFs::new(
            files.map(|(path, file)| (path.as_str(), self.bundle.file(&file.name).unwrap_or_default())),
        )?;
        let rom = Arc::new(self.write_rom(&plan)?);
        self.roms.push((config, rom.clone()));
        Ok(Some(rom))
    }

    fn write_rom(&self, plan: &RomFs<'_>) -> Result<Rom, Reason> {
        let length = plan.len() as u64;
        let mut starts = Vec::new();
        let blocks = self.written(length, |bytes| plan.write_to(bytes, |start| starts.push(start as u64)))?;
        Ok(Rom { blocks, length, starts })
    }

    /// Blocks that hold `length` bytes, which `write` writes in one piece.
    fn written(&self, length: u64, write: impl FnOnce(&mut [u8])) -> Result<Vec<SharedBlock>, Reason> {
        // First it is one block; the pages left over go back.
        let mut block = FrameBlock::zeroed(self.frames, length.max(PAGE_SIZE).next_power_of_two())?;
        write(block.as_mut_slice());
        let mut blocks = Vec::new();
        block.split(length.next_multiple_of(PAGE_SIZE), |part| blocks.push(Arc::new(part)));
        Ok(blocks)
    }

    /// Code of a VM's image, shared with an earlier VM that has the same.
    pub(super) fn code(
        &mut self,
        config: &'a VmConfig,
        segment: &Segment<'_>,
    ) -> Result<Vec<SharedBlock>, Reason> {
        let image = config.image.name.as_str();
        let is_same = |(other, address, _): &&(&str, u64, _)| *other == image && *address == segment.address;
        if let Some((.., blocks)) = self.code.iter().find(is_same) {
            return Ok(blocks.clone());
        }
        let blocks = self.written(segment.size, |bytes| {
            let (length, pages) = (segment.data.len(), segment.size.next_multiple_of(PAGE_SIZE));
            let code = &mut bytes[..length];
            // SAFETY: both are so long, and the block is new.
            unsafe { bulk::copy(segment.data.as_ptr(), code.as_mut_ptr(), length) };
            // All that the guest can execute; the other pages go back.
            let pages = usize::try_from(pages).unwrap_or(bytes.len()).min(bytes.len());
            cache::synchronise_instructions(bytes.as_ptr(), pages);
        })?;
        self.code.push((image, segment.address, blocks.clone()));
        Ok(blocks)
    }
}

fn same_files(a: &VmConfig, b: &VmConfig) -> bool {
    let names = |config: &'_ VmConfig| {
        config.files.iter().map(|(path, file)| (path.clone(), file.name.clone())).collect::<Vec<_>>()
    };
    a.files.len() == b.files.len() && names(a) == names(b)
}
