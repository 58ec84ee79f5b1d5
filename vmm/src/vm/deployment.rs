//! A bundle with its manifest: what VMs are built from, for as long as they are built from it.

use crate::{
    bundle::{
        Bundle, BundleError,
        manifest::{Manifest, VmConfig},
    },
    memory::frames::FrameBlock,
};
use alloc::boxed::Box;

/// What a VM costs besides RAM and files, in bytes, at most.
const VM_OVERHEAD: u64 = 128 << 10;
/// What the hypervisor's heap may want meanwhile, in bytes.
const SPARE: u64 = 1 << 20;

/// A bundle that VMs are built from.
pub struct Deployment {
    bundle: &'static Bundle<'static>,
    manifest: &'static Manifest,
    /// The memory that it was received in; the boot loader's is kept for ever.
    _block: Option<FrameBlock>,
}

impl Deployment {
    /// Reads the bundle that the boot loader has put into memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_boot(bytes: &'static [u8]) -> Result<Self, BundleError> {
        Self::parse(bytes, None)
    }

    /// Reads a bundle of this length that has been received, for a board with this many cores.
    ///
    /// # Errors
    /// What is wrong with it. Its memory is given back.
    pub fn from_block(block: FrameBlock, length: usize, cores: usize) -> Result<Self, BundleError> {
        let length = length.min(block.len());
        // SAFETY: the memory is the block's, to which nobody writes any more. It lives longer than what is read from it:
        // `parse` drops it last if it fails, and so does the deployment.
        let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), length) };
        let deployment = Self::parse(bytes, Some(block))?;
        deployment.manifest.check_cores(|core| usize::from(core) < cores)?;
        Ok(deployment)
    }

    fn parse(bytes: &'static [u8], block: Option<FrameBlock>) -> Result<Self, BundleError> {
        let bundle = Box::new(Bundle::parse(bytes)?);
        let manifest = Box::new(bundle.manifest()?);
        Ok(Self { bundle: Box::leak(bundle), manifest: Box::leak(manifest), _block: block })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.manifest
    }

    /// Memory that its VMs take at their start, in bytes, counted generously: RAM, files, and what goes with a VM. Beyond
    /// that, the hypervisor has some to spare.
    #[must_use]
    pub fn memory_wanted(&self) -> u64 {
        let starts = self.manifest.vms.iter().filter(|vm| vm.autostart);
        starts.map(|vm| self.memory_of(vm)).fold(SPARE, u64::saturating_add)
    }

    fn memory_of(&self, vm: &VmConfig) -> u64 {
        let sizes =
            vm.files.values().filter_map(|file| self.bundle.file(&file.name)).map(|data| data.len() as u64);
        // The ROM image of the files is made in a block of a power of two.
        vm.memory.saturating_add(2 * sizes.sum::<u64>()).saturating_add(VM_OVERHEAD)
    }

    /// Its files and its manifest, for VMs, which do not count who refers to them.
    ///
    /// # Safety
    /// All that refers to them is gone before the deployment is dropped.
    #[must_use]
    pub unsafe fn parts(&self) -> (&'static Bundle<'static>, &'static Manifest) {
        (self.bundle, self.manifest)
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // SAFETY: `parse` has leaked both from boxes, and by the promise of `parts` nothing else refers to them.
        unsafe {
            drop(Box::from_raw(core::ptr::from_ref(self.manifest).cast_mut()));
            drop(Box::from_raw(core::ptr::from_ref(self.bundle).cast_mut()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::frames::tests::frames;

    fn archive(manifest: &str) -> alloc::vec::Vec<u8> {
        let mut archive = tar::Builder::new(alloc::vec::Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(manifest.len() as u64);
        archive.append_data(&mut header, "tinyvmm.toml", manifest.as_bytes()).unwrap();
        archive.append_data(&mut header, "a", manifest.as_bytes()).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn the_memory_of_a_bundle_comes_back_good_or_not() {
        let frames = frames(8);
        let good = "[[vm]]\nname = \"x\"\nimage = \"a\"\nmemory = \"1MiB\"\n";
        let elsewhere = alloc::format!("{good}affinity = [4]\n");
        for manifest in [good, "[[vm]]\n", &elsewhere] {
            let archive = archive(manifest);
            let mut block = FrameBlock::zeroed(frames, 4 * 4096).unwrap();
            block.as_mut_slice()[..archive.len()].copy_from_slice(&archive);
            match Deployment::from_block(block, archive.len(), 4) {
                Ok(deployment) => {
                    assert_eq!(deployment.manifest().vms[0].name, "x");
                    assert_eq!(deployment.bundle.file("a"), Some(good.as_bytes()));
                    assert_eq!(frames.used(), 4 * 4096);
                    assert_eq!(deployment.memory_wanted(), SPARE + VM_OVERHEAD + (1 << 20));
                }
                Err(error) => assert!(matches!(error, BundleError::Manifest(_))),
            }
            assert_eq!(frames.used(), 0);
        }
    }
}
