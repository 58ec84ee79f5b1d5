//! Where in RAM the device tree and the initial RAM disk go.

use crate::bundle::image::{Format, GuestImage};
use core::{fmt, ops::Range};
use tinyvmm_abi::virt::{DEVICE_TREE_MAX, MEMORY_BASE};

const PAGE_SIZE: u64 = 4096;
/// A kernel maps its image and the device tree with blocks of this size, and not with the same ones.
const BLOCK_SIZE: u64 = 2 << 20;

/// Where a guest finds what its loader left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Guest physical address of the device tree, with room for [`DEVICE_TREE_MAX`] bytes.
    pub device_tree: u64,
    /// The initial RAM disk, if there is one.
    pub initrd: Option<Range<u64>>,
}

impl Placement {
    /// Finds room beside `image` in `memory` bytes of RAM, for an initial RAM disk of `initrd_size` bytes as well
    /// if there is one.
    ///
    /// The device tree of a program without a kernel's header is at the start of RAM if the program
    /// leaves that free: its end does not say how much memory after it the program takes for itself.
    ///
    /// # Errors
    /// There is no room.
    pub fn new(image: &GuestImage<'_>, memory: u64, initrd_size: Option<u64>) -> Result<Self, NoRoom> {
        let mut room = Room::beside(image, memory);
        let no_room = || NoRoom { enough: enough(image, initrd_size) };
        let image_end = end(image);
        let below = (image.format != Format::Kernel).then_some(MEMORY_BASE);
        let above = image_end.next_multiple_of(BLOCK_SIZE);
        let top = room.ram.end.saturating_sub(DEVICE_TREE_MAX);
        let places = below.into_iter().chain([above, top]);
        let tree = room.take(places, DEVICE_TREE_MAX).ok_or_else(no_room)?;
        let places = [image_end.next_multiple_of(PAGE_SIZE), tree.end.next_multiple_of(PAGE_SIZE)];
        let initrd = initrd_size.map(|size| room.take(places, size).ok_or_else(no_room)).transpose()?;
        Ok(Self { device_tree: tree.start, initrd })
    }
}

/// RAM, and what of it is taken.
struct Room<'a> {
    ram: Range<u64>,
    image: &'a GuestImage<'a>,
    taken: Option<Range<u64>>,
}

impl<'a> Room<'a> {
    fn beside(image: &'a GuestImage<'a>, memory: u64) -> Self {
        Self { ram: MEMORY_BASE..MEMORY_BASE.saturating_add(memory), image, taken: None }
    }

    /// Takes `size` bytes at the first of `places` where they are free.
    fn take(&mut self, places: impl IntoIterator<Item = u64>, size: u64) -> Option<Range<u64>> {
        let mut ranges = places.into_iter().filter_map(|start| Some(start..start.checked_add(size)?));
        self.taken = ranges.find(|range| self.is_free(range));
        self.taken.clone()
    }

    fn is_free(&self, range: &Range<u64>) -> bool {
        let overlaps = |other: &Range<u64>| range.start < other.end && other.start < range.end;
        let segments = self.image.segments.iter().map(|segment| segment.address..segment.end());
        self.ram.start <= range.start
            && range.end <= self.ram.end
            && !segments.chain(self.taken.clone()).any(|other| overlaps(&other))
    }
}

/// The first address after an image.
fn end(image: &GuestImage<'_>) -> u64 {
    image.segments.iter().map(|segment| segment.end()).max().unwrap_or(MEMORY_BASE)
}

/// Memory in which there is room for everything, in bytes.
fn enough(image: &GuestImage<'_>, initrd_size: Option<u64>) -> u64 {
    let tree_end = end(image).next_multiple_of(BLOCK_SIZE) + DEVICE_TREE_MAX;
    let end = tree_end.saturating_add(initrd_size.unwrap_or(0));
    end.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX) - MEMORY_BASE
}

/// A VM's memory is too small for what it starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// Memory that would do, in bytes.
    pub enough: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room beside the image for what it starts with: {}KiB are enough", self.enough >> 10)
    }
}

impl core::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::image::Segment;
    use alloc::{string::ToString, vec};
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// An image in one piece, `offset` bytes above the start of RAM.
    fn image(format: Format, offset: u64, size: u64) -> GuestImage<'static> {
        let address = MEMORY_BASE + offset;
        let segments = vec![Segment { address, data: &[], size, executable: true }];
        GuestImage { format, entry: address, segments, shared: vec![], packed: None }
    }

    fn tree(image: &GuestImage<'_>, memory: u64) -> u64 {
        Placement::new(image, memory, None).unwrap().device_tree - MEMORY_BASE
    }

    #[test]
    fn a_program_has_its_device_tree_at_the_start_of_ram_if_that_is_free() {
        assert_eq!(tree(&image(Format::Flat, 0x8_0000, 100), MIB), 0);
        assert_eq!(tree(&image(Format::Elf, 0x1_0000, 100), MIB), 0);
        assert_eq!(tree(&image(Format::Elf, 0, 100), 4 * MIB), 2 * MIB);
        assert_eq!(tree(&image(Format::Elf, 0, 100), MIB), MIB - DEVICE_TREE_MAX);
    }

    #[test]
    fn a_kernel_shares_no_block_with_its_device_tree() {
        assert_eq!(tree(&image(Format::Kernel, 0x8_0000, 30 * MIB), 64 * MIB), 32 * MIB);
        assert_eq!(tree(&image(Format::Kernel, 0, 2 * MIB), 64 * MIB), 2 * MIB);
    }

    #[test]
    fn an_initrd_is_beside_both() {
        let place = |offset, size, initrd| {
            let placement =
                Placement::new(&image(Format::Kernel, offset, size), 64 * MIB, Some(initrd)).unwrap();
            placement.initrd.unwrap().start - MEMORY_BASE
        };
        assert_eq!(place(0, 100, MIB), 4096, "before the device tree");
        assert_eq!(place(0, 100, 9 * MIB), 2 * MIB + DEVICE_TREE_MAX, "after it");
    }

    #[test]
    fn too_little_memory_says_how_much_is_enough() {
        let image = image(Format::Kernel, 0, 3 * MIB);
        let error = Placement::new(&image, 4 * MIB, Some(5 * MIB)).unwrap_err();
        let message = "no room beside the image for what it starts with: 9280KiB are enough";
        assert_eq!(error.to_string(), message);
        assert!(Placement::new(&image, error.enough, Some(5 * MIB)).is_ok());
        assert!(Placement::new(&image, 4 * MIB, Some(u64::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_overlaps(kernel: bool, offset in 0..512_u64, pages in 1..4096_u64, memory in 256..8192_u64, initrd in prop::option::of(0..4096_u64)) {
            prop_assume!(offset + pages <= memory, "the image has been checked");
            let format = if kernel { Format::Kernel } else { Format::Elf };
            let image = image(format, offset * PAGE_SIZE, pages * PAGE_SIZE);
            let initrd_size = initrd.map(|pages| pages * PAGE_SIZE);
            match Placement::new(&image, memory * PAGE_SIZE, initrd_size) {
                Ok(Placement { device_tree, initrd }) => {
                    let mut ranges = vec![
                        image.segments[0].address..image.segments[0].end(),
                        device_tree..device_tree + DEVICE_TREE_MAX,
                    ];
                    ranges.extend(initrd.filter(|range| !range.is_empty()));
                    ranges.sort_by_key(|range| range.start);
                    prop_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
                    prop_assert!(ranges[0].start >= MEMORY_BASE);
                    prop_assert!(ranges.last().unwrap().end <= MEMORY_BASE + memory * PAGE_SIZE);
                    prop_assert_eq!(device_tree % 8, 0);
                }
                Err(NoRoom { enough }) => {
                    prop_assert!(enough > memory * PAGE_SIZE);
                    prop_assert!(Placement::new(&image, enough, initrd_size).is_ok());
                }
            }
        }
    }
}
