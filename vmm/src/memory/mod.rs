//! Physical memory: who has it, and which guest address leads to it.

pub mod frames;
pub mod guest;
pub mod heap;
pub mod page_table;
pub mod stage2;
pub mod vmid;
pub mod window;

use core::ops::Range;

/// The parts of `ranges` that none of `taken` covers, cut inwards to multiples of `alignment`.
///
/// Calls `each` with every such part, in no particular order.
pub fn subtract(range: Range<u64>, taken: &[Range<u64>], alignment: u64, each: &mut impl FnMut(Range<u64>)) {
    let Some((first, rest)) = taken.split_first() else {
        let start = range.start.next_multiple_of(alignment);
        let end = range.end - range.end % alignment;
        if start < end {
            each(start..end);
        }
        return;
    };
    if first.is_empty() || first.end <= range.start || range.end <= first.start {
        return subtract(range, rest, alignment, each);
    }
    if range.start < first.start {
        subtract(range.start..first.start, rest, alignment, each);
    }
    if first.end < range.end {
        subtract(first.end..range.end, rest, alignment, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn parts(range: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        subtract(range, taken, 0x10, &mut |part| parts.push(part));
        parts.sort_by_key(|part| part.start);
        parts
    }

    #[test]
    fn subtracts_overlapping_and_unaligned_ranges() {
        assert_eq!(parts(0..0x100, &[]), vec![0..0x100]);
        assert_eq!(parts(0..0x100, &[0x20..0x31, 0x25..0x38]), vec![0..0x20, 0x40..0x100]);
        assert_eq!(parts(5..0x100, &[0..0x10, 0xf1..0x200]), vec![0x10..0xf0]);
        assert_eq!(parts(0x10..0x20, &[0..0x100]), vec![]);
        assert_eq!(parts(0..0x20, &[0x40..0x50, 8..8]), vec![0..0x20]);
    }
}
