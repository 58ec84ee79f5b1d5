//! Translation tables with the 4 KiB granule (Arm ARM, D8.3 "Translation table descriptor formats").
//!
//! One walker for both regimes: EL2's own stage 1 and the guests' stage 2. Their attributes are
//! different types, so that they cannot be mixed. Both use 39-bit input addresses: the root is one
//! level 1 table of 512 GiB.
//!
//! The hypervisor maps memory at its physical address, so a table's physical address is also its
//! pointer; on the developer's machine, under test, "physical" addresses are the process's own.

use core::{fmt, marker::PhantomData, ptr::NonNull};

/// Size of a page, and of a translation table, in bytes.
pub const PAGE_SIZE: u64 = 4096;
/// Size of a level 2 block in bytes.
pub const BLOCK_2M: u64 = 2 << 20;
/// Size of a level 1 block in bytes.
pub const BLOCK_1G: u64 = 1 << 30;
/// First address that the tables cannot translate.
pub const ADDRESS_LIMIT: u64 = 1 << 39;

const VALID: u64 = 1 << 0;
/// At levels 1 and 2: a table rather than a block. At level 3 it is set in every valid entry.
const TABLE_OR_PAGE: u64 = 1 << 1;
const ACCESS_FLAG: u64 = 1 << 10;
const OUTPUT_ADDRESS: u64 = 0x0000_ffff_ffff_f000;

const ROOT_LEVEL: u32 = 1;
const LEAF_LEVEL: u32 = 3;

/// A translation table.
#[repr(C, align(4096))]
pub struct Table([u64; 512]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; 512]);
}

/// A translation regime: what its leaf entries say besides the address.
pub trait Regime {
    /// Permissions and memory type.
    type Attributes: Copy;

    /// The attribute bits of a block or page descriptor.
    fn bits(attributes: Self::Attributes) -> u64;
}

/// Where tables come from and go to.
pub trait TableSource {
    /// A table without valid entries, or `None` when memory has run out.
    fn allocate(&self) -> Option<NonNull<Table>>;

    /// Takes a table back.
    ///
    /// # Safety
    /// The table came from this source, and nothing uses it any more.
    unsafe fn release(&self, table: NonNull<Table>);
}

/// Why a range could not be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// No memory for another table.
    OutOfMemory,
    /// An address or the size is not a multiple of 4 KiB, or lies beyond [`ADDRESS_LIMIT`].
    BadRange,
    /// Part of the range is mapped already.
    Overlap,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "no memory for translation tables",
            Self::BadRange => "range not aligned to 4 KiB or beyond 512 GiB",
            Self::Overlap => "range mapped twice",
        })
    }
}

/// A mapped page or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Output address that the looked-up input address translates to.
    pub address: u64,
    /// Bytes from there to the end of the page or block.
    pub remaining: u64,
    /// The descriptor's bits besides the address.
    pub bits: u64,
}

/// The tables of one address space. Dropping it releases them.
pub struct PageTable<R: Regime, S: TableSource> {
    root: NonNull<Table>,
    source: S,
    regime: PhantomData<R>,
}

// SAFETY: the tables belong to this value alone.
unsafe impl<R: Regime, S: TableSource + Send> Send for PageTable<R, S> {}
// SAFETY: changes take `&mut self`.
unsafe impl<R: Regime, S: TableSource + Sync> Sync for PageTable<R, S> {}

impl<R: Regime, S: TableSource> PageTable<R, S> {
    /// An address space that maps nothing.
    pub fn new(source: S) -> Result<Self, MapError> {
        let root = source.allocate().ok_or(MapError::OutOfMemory)?;
        Ok(Self { root, source, regime: PhantomData })
    }

    /// Physical address of the root table.
    #[must_use]
    pub fn root(&self) -> u64 {
        address_of(self.root)
    }

    /// Maps `size` bytes from `input` to `output` with the largest blocks that fit.
    ///
    /// Only entries that were invalid change, so no break-before-make is needed; the caller orders the
    /// writes before their use with a barrier. After an error a part of the range may be mapped.
    pub fn map(
        &mut self,
        input: u64,
        output: u64,
        size: u64,
        attributes: R::Attributes,
    ) -> Result<(), MapError> {
        let end = input.checked_add(size).filter(|end| *end <= ADDRESS_LIMIT).ok_or(MapError::BadRange)?;
        if !(input | output | size).is_multiple_of(PAGE_SIZE) || output.checked_add(size).is_none() {
            return Err(MapError::BadRange);
        }
        let bits = R::bits(attributes);
        let mut at = input;
        while at < end {
            let to = output + (at - input);
            let level = leaf_level(at, to, end - at);
            let kind = if level == LEAF_LEVEL { TABLE_OR_PAGE } else { 0 };
            let descriptor = to | bits | ACCESS_FLAG | kind | VALID;
            at += fill(self.entries_from(at, level)?, descriptor, leaf_size(level), end - at)?;
        }
        Ok(())
    }

    /// What `input` translates to.
    #[must_use]
    pub fn lookup(&self, input: u64) -> Option<Leaf> {
        if input >= ADDRESS_LIMIT {
            return None;
        }
        let mut table = self.root;
        for level in ROOT_LEVEL..=LEAF_LEVEL {
            // SAFETY: `table` is one of this address space's tables, and `&self` keeps it from changing.
            let entry = unsafe { table.as_ref() }.0[index(input, level)];
            match decode(entry, level) {
                Entry::Invalid => return None,
                Entry::Table(next) => table = next,
                Entry::Leaf => {
                    let offset = input % leaf_size(level);
                    return Some(Leaf {
                        address: (entry & OUTPUT_ADDRESS) + offset,
                        remaining: leaf_size(level) - offset,
                        bits: entry & !OUTPUT_ADDRESS,
                    });
                }
            }
        }
        None
    }

    /// The entries for `input` and what follows it in the same table at `leaf_level`; tables on the way are made.
    fn entries_from(&mut self, input: u64, leaf_level: u32) -> Result<&mut [u64], MapError> {
        let mut table = self.root;
        for level in ROOT_LEVEL..leaf_level {
            // SAFETY: `table` is one of this address space's tables, which `&mut self` makes ours alone.
            let entry = unsafe { &mut table.as_mut().0[index(input, level)] };
            table = match decode(*entry, level) {
                Entry::Table(next) => next,
                Entry::Leaf => return Err(MapError::Overlap),
                Entry::Invalid => {
                    let next = self.source.allocate().ok_or(MapError::OutOfMemory)?;
                    *entry = address_of(next) | TABLE_OR_PAGE | VALID;
                    next
                }
            };
        }
        // SAFETY: as above.
        Ok(unsafe { &mut table.as_mut().0[index(input, leaf_level)..] })
    }

    fn release_below(&self, table: NonNull<Table>, level: u32) {
        if level < LEAF_LEVEL {
            // SAFETY: a table of this address space, which is being dropped.
            for entry in &unsafe { table.as_ref() }.0 {
                if let Entry::Table(next) = decode(*entry, level) {
                    self.release_below(next, level + 1);
                }
            }
        }
        // SAFETY: it came from the source, and no entry points to it any more that anyone will follow.
        unsafe { self.source.release(table) };
    }
}

impl<R: Regime, S: TableSource> Drop for PageTable<R, S> {
    fn drop(&mut self) {
        self.release_below(self.root, ROOT_LEVEL);
    }
}

/// Writes leaves of `leaf_size` bytes for `size` bytes into invalid entries, as many as there are: the first is
/// `descriptor`. Returns how many bytes they map.
fn fill(entries: &mut [u64], descriptor: u64, leaf_size: u64, size: u64) -> Result<u64, MapError> {
    let mut mapped = 0;
    for entry in entries {
        if size - mapped < leaf_size {
            break;
        }
        if *entry & VALID != 0 {
            return Err(MapError::Overlap);
        }
        *entry = descriptor + mapped;
        mapped += leaf_size;
    }
    Ok(mapped)
}

enum Entry {
    Invalid,
    Table(NonNull<Table>),
    Leaf,
}

fn decode(entry: u64, level: u32) -> Entry {
    if entry & VALID == 0 {
        return Entry::Invalid;
    }
    if level == LEAF_LEVEL || entry & TABLE_OR_PAGE == 0 {
        return Entry::Leaf;
    }
    let pointer = core::ptr::with_exposed_provenance_mut(usize_of(entry & OUTPUT_ADDRESS));
    NonNull::new(pointer).map_or(Entry::Invalid, Entry::Table)
}

fn address_of(table: NonNull<Table>) -> u64 {
    table.as_ptr().expose_provenance() as u64
}

/// An address as the machine's word: both are 64 bits wide on every machine this runs on.
const fn usize_of(address: u64) -> usize {
    const _: () = assert!(usize::BITS == u64::BITS);
    #[expect(clippy::cast_possible_truncation, reason = "the same width, as asserted")]
    {
        address as usize
    }
}

/// The highest level whose leaf fits the alignment of both addresses and the size.
const fn leaf_level(input: u64, output: u64, size: u64) -> u32 {
    let mut level = ROOT_LEVEL;
    while level < LEAF_LEVEL
        && (!(input | output).is_multiple_of(leaf_size(level)) || size < leaf_size(level))
    {
        level += 1;
    }
    level
}

const fn leaf_size(level: u32) -> u64 {
    PAGE_SIZE << (9 * (LEAF_LEVEL - level))
}

const fn index(input: u64, level: u32) -> usize {
    usize_of(input / leaf_size(level) % 512)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, rc::Rc};
    use core::cell::Cell;
    use proptest::prelude::*;

    struct Plain;

    impl Regime for Plain {
        type Attributes = u64;
        fn bits(attributes: u64) -> u64 {
            attributes
        }
    }

    /// Tables from the process's heap, counted, at most `left` more.
    #[derive(Clone)]
    struct Boxes {
        live: Rc<Cell<usize>>,
        left: Rc<Cell<usize>>,
    }

    impl Boxes {
        fn new(left: usize) -> Self {
            Self { live: Rc::default(), left: Rc::new(Cell::new(left)) }
        }
    }

    impl TableSource for Boxes {
        fn allocate(&self) -> Option<NonNull<Table>> {
            self.left.set(self.left.get().checked_sub(1)?);
            self.live.set(self.live.get() + 1);
            Some(Box::leak(Box::new(Table::EMPTY)).into())
        }
        unsafe fn release(&self, table: NonNull<Table>) {
            self.live.set(self.live.get() - 1);
            // SAFETY: made by `allocate` from a box.
            drop(unsafe { Box::from_raw(table.as_ptr()) });
        }
    }

    #[test]
    fn uses_the_largest_blocks_that_fit() {
        let source = Boxes::new(100);
        let mut table = PageTable::<Plain, _>::new(source.clone()).unwrap();
        table.map(0, BLOCK_1G, BLOCK_1G, 0).unwrap();
        assert_eq!(source.live.get(), 1, "a 1 GiB block stands in the root");
        table.map(BLOCK_1G, 0, BLOCK_2M, 0).unwrap();
        assert_eq!(source.live.get(), 2);
        table.map(BLOCK_1G + BLOCK_2M, 0x1000, PAGE_SIZE, 0).unwrap();
        assert_eq!(source.live.get(), 3);
        assert_eq!(table.lookup(0x1234).unwrap().address, BLOCK_1G + 0x1234);
        assert_eq!(table.lookup(BLOCK_1G + 5).unwrap().remaining, BLOCK_2M - 5);
        assert_eq!(table.lookup(BLOCK_1G + BLOCK_2M + 7).unwrap().address, 0x1007);
        assert_eq!(table.lookup(BLOCK_1G + BLOCK_2M + PAGE_SIZE), None);
        drop(table);
        assert_eq!(source.live.get(), 0);
    }

    #[test]
    fn refuses_what_cannot_be_mapped() {
        let mut table = PageTable::<Plain, _>::new(Boxes::new(100)).unwrap();
        assert_eq!(table.map(1, 0, PAGE_SIZE, 0), Err(MapError::BadRange));
        assert_eq!(table.map(0, 0, 1, 0), Err(MapError::BadRange));
        assert_eq!(table.map(ADDRESS_LIMIT, 0, PAGE_SIZE, 0), Err(MapError::BadRange));
        assert_eq!(table.map(u64::MAX - 4095, 0, PAGE_SIZE, 0), Err(MapError::BadRange));
        table.map(BLOCK_2M, BLOCK_2M, BLOCK_2M, 0).unwrap();
        assert_eq!(table.map(BLOCK_2M + PAGE_SIZE, 0, PAGE_SIZE, 0), Err(MapError::Overlap));
        assert_eq!(table.map(0, 0, BLOCK_1G, 0), Err(MapError::Overlap));
        assert_eq!(table.lookup(u64::MAX), None);
    }

    #[test]
    fn running_out_of_memory_is_an_error_and_leaks_nothing() {
        for left in 0..4 {
            let source = Boxes::new(left);
            let result = PageTable::<Plain, _>::new(source.clone()).and_then(|mut t| {
                t.map(0, 0, PAGE_SIZE, 0)?;
                t.map(BLOCK_1G, 0, PAGE_SIZE, 0)
            });
            assert_eq!(result, Err(MapError::OutOfMemory));
            assert_eq!(source.live.get(), 0);
        }
    }

    proptest! {
        /// Every page of a mapped range translates, with its attributes, and no page beside it does.
        #[test]
        fn translates_what_was_mapped(page in 0_u64..0x80_0000, to in 0_u64..0x100_0000, pages in 1_u64..2000) {
            let mut table = PageTable::<Plain, _>::new(Boxes::new(1000)).unwrap();
            let (input, output, size) = (page * PAGE_SIZE, to * PAGE_SIZE, pages * PAGE_SIZE);
            table.map(input, output, size, 1 << 55).unwrap();
            for n in [0, pages / 2, pages - 1] {
                let leaf = table.lookup(input + n * PAGE_SIZE + 3).unwrap();
                prop_assert_eq!(leaf.address, output + n * PAGE_SIZE + 3);
                prop_assert!(leaf.bits & 1 << 55 != 0);
            }
            prop_assert_eq!(table.lookup(input + size), None);
            prop_assert_eq!(input.checked_sub(1).and_then(|before| table.lookup(before)), None);
        }
    }
}
