//! The partition table in the first sector of a disk, as PCs have had it since 1983 ("MBR"): four partitions, in
//! sectors of 512 bytes. Logical partitions and GPT are left to those who get the whole disk.

use core::{fmt, ops::Range};

/// The first sector.
pub(super) type FirstSector = [u8; 512];

/// Where the table is, and the size of each of its entries.
const TABLE: usize = 446;
const ENTRY_SIZE: usize = 16;
/// In an entry: the type, ...
const TYPE: usize = 4;
/// ... the first sector, and the number of sectors.
const FIRST: usize = 8;
const COUNT: usize = 12;
/// A type of entry: there is none.
const EMPTY: u8 = 0;
/// A type of entry: the disk has a GUID partition table (UEFI 2.10, 5.2.3).
const GPT: u8 = 0xee;
/// The last two bytes.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// Why a partition cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionError {
    /// The disk has no partition table.
    NoTable,
    /// The disk has a GPT.
    Gpt,
    /// There is none with this number.
    Missing,
    /// It would have the table itself in it.
    HasTable,
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTable => "the device has no partition table (MBR)",
            Self::Gpt => "the device has a GPT: only partitions of an MBR are known",
            Self::Missing => "the device has no such partition",
            Self::HasTable => "the partition starts at sector 0, where the partition table is",
        })
    }
}

/// The sectors of partition `number`, counted from 1. Whether the device has them is not known here.
pub(super) fn find(sector: &FirstSector, number: u8) -> Result<Range<u64>, PartitionError> {
    if !sector.ends_with(&SIGNATURE) {
        return Err(PartitionError::NoTable);
    }
    let (entries, _) = sector[TABLE..].as_chunks::<ENTRY_SIZE>();
    let entry = usize::from(number).checked_sub(1).and_then(|index| entries.get(index));
    let entry = entry.ok_or(PartitionError::Missing)?;
    let (first, count) = (word(entry, FIRST), word(entry, COUNT));
    match (entry[TYPE], first, count) {
        (EMPTY, ..) | (_, _, 0) => Err(PartitionError::Missing),
        (GPT, ..) => Err(PartitionError::Gpt),
        (_, 0, _) => Err(PartitionError::HasTable),
        _ => Ok(first..first + count),
    }
}

fn word(entry: &[u8; ENTRY_SIZE], at: usize) -> u64 {
    let bytes = entry[at..].first_chunk().copied().unwrap_or_default();
    u32::from_le_bytes(bytes).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A first sector with these entries: type, first sector, number of sectors.
    pub(crate) fn table(entries: &[(u8, u32, u32)]) -> FirstSector {
        let mut sector = [0; 512];
        for (index, (kind, first, count)) in entries.iter().enumerate() {
            let entry = &mut sector[TABLE + index * ENTRY_SIZE..][..ENTRY_SIZE];
            entry[TYPE] = *kind;
            entry[FIRST..COUNT].copy_from_slice(&first.to_le_bytes());
            entry[COUNT..].copy_from_slice(&count.to_le_bytes());
        }
        sector[510..].copy_from_slice(&SIGNATURE);
        sector
    }

    #[test]
    fn says_why_there_is_no_partition() {
        assert_eq!(find(&[0; 512], 1), Err(PartitionError::NoTable));
        let sector = table(&[(0x0c, 2048, 1000), (0x83, 0, 10), (0xee, 1, 10), (0x83, 5, 0)]);
        assert_eq!(find(&sector, 1), Ok(2048..3048));
        assert_eq!(find(&sector, 2), Err(PartitionError::HasTable));
        assert_eq!(find(&sector, 3), Err(PartitionError::Gpt));
        for number in [0, 4, 5, u8::MAX] {
            assert_eq!(find(&sector, number), Err(PartitionError::Missing), "{number}");
        }
    }

    proptest! {
        /// What was put into a table is found there, and nothing else.
        #[test]
        fn finds_what_is_there(entries: [(u8, u32, u32); 4], number: u8) {
            let found = find(&table(&entries), number);
            let entry = usize::from(number).checked_sub(1).and_then(|index| entries.get(index));
            match entry {
                Some((kind, first, count)) if ![EMPTY, GPT].contains(kind) && *first > 0 && *count > 0 => {
                    let first = u64::from(*first);
                    prop_assert_eq!(found, Ok(first..first + u64::from(*count)));
                }
                _ => prop_assert!(found.is_err()),
            }
        }

        /// Nothing that a disk may have there does harm.
        #[test]
        fn any_sector_will_do(bytes in prop::collection::vec(any::<u8>(), 512), number: u8) {
            let mut sector = [0; 512];
            sector.copy_from_slice(&bytes);
            if let Ok(range) = find(&sector, number) {
                prop_assert!(range.start > 0 && range.start < range.end && range.end <= 1 << 33);
            }
        }
    }
}
