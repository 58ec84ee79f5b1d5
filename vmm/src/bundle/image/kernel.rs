//! The header of an arm64 kernel `Image` (Linux, Documentation/arch/arm64/booting.rst).

use super::ImageError;
use tinyvmm_abi::virt::MEMORY_MAX;

/// What stands at [`MAGIC_OFFSET`].
const MAGIC: &[u8; 4] = b"ARM\x64";
const MAGIC_OFFSET: usize = 56;
/// Size of the header in bytes.
pub(super) const KERNEL_HEADER_SIZE: usize = 64;
/// Kernels from before `image_size` was defined want to be here.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;
/// An `Image` stands less than this above a multiple of it.
const ALIGNMENT: u64 = 2 << 20;
/// Bit of `flags`: the kernel runs in big-endian mode.
const BIG_ENDIAN: u64 = 1 << 0;

/// What of the header matters for loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KernelHeader {
    /// Distance from a 2 MiB boundary to the image.
    pub(super) text_offset: u64,
    /// Memory that the image needs from its start, in bytes. 0: as much as the file has.
    pub(super) image_size: u64,
}

impl KernelHeader {
    /// The header at the start of `bytes`, if they have one.
    ///
    /// # Errors
    /// The header asks for what cannot be.
    pub(super) fn find(bytes: &[u8]) -> Result<Option<Self>, ImageError> {
        if bytes.get(MAGIC_OFFSET..MAGIC_OFFSET + MAGIC.len()) != Some(MAGIC) {
            return Ok(None);
        }
        let [text_offset, image_size, flags] = [8, 16, 24].map(|offset| doubleword(bytes, offset));
        if flags & BIG_ENDIAN != 0 {
            return Err(error("flags", flags, "has bit 0 set: it is big-endian"));
        }
        if image_size == 0 {
            return Ok(Some(Self { text_offset: OLD_TEXT_OFFSET, image_size }));
        }
        if image_size > MEMORY_MAX {
            return Err(error("image_size", image_size, "is more than any VM has memory"));
        }
        if text_offset >= ALIGNMENT || text_offset % 4 != 0 {
            return Err(error("text_offset", text_offset, "is not a multiple of 4 below 0x200000"));
        }
        Ok(Some(Self { text_offset, image_size }))
    }
}

const fn error(field: &'static str, value: u64, problem: &'static str) -> ImageError {
    ImageError::Kernel { field, value, problem }
}

/// The little-endian number at `offset`, which is before the magic.
fn doubleword(bytes: &[u8], offset: usize) -> u64 {
    let bytes = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    u64::from_le_bytes(bytes.copied().unwrap_or_default())
}
