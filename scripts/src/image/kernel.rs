//! The hypervisor's flat image as a boot loader's file.

use anyhow::{Context, Result, ensure};
use std::ops::Range;

/// Where an arm64 `Image` tells how much memory it wants (Linux' `Documentation/arch/arm64/booting.rst`).
const IMAGE_SIZE: Range<usize> = 16..24;
/// Where it has its mark, and what that is.
const MAGIC: (Range<usize>, &[u8]) = (56..60, b"ARM\x64");

/// The image with the memory behind it that it clears when it starts: no boot loader puts anything there that it loads
/// next, even if it looks at the file's size alone.
pub(super) fn padded(mut image: Vec<u8>) -> Result<Vec<u8>> {
    let (place, magic) = MAGIC;
    ensure!(image.get(place) == Some(magic), "the hypervisor's image has no header");
    let size = image.get(IMAGE_SIZE).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let size = usize::try_from(size.context("the hypervisor's image has no size")?)?;
    image.resize(size.max(image.len()), 0);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_the_size_that_it_wants() {
        let mut image = vec![1; 100];
        image[IMAGE_SIZE].copy_from_slice(&300_u64.to_le_bytes());
        assert!(padded(image.clone()).is_err());
        image[MAGIC.0].copy_from_slice(MAGIC.1);
        let padded = padded(image.clone()).unwrap();
        assert_eq!((padded.len(), &padded[..100]), (300, &image[..]));
        assert!(padded[100..].iter().all(|byte| *byte == 0));
    }
}
