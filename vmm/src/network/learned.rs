//! The addresses that a port of the switch has learned.
//!
//! Each port has a table of its own, so that whoever is behind it can push out none but its own addresses.

use super::mac::Mac;
use alloc::boxed::Box;

/// Addresses that have the same place.
const WAYS: usize = 4;

/// Addresses that were seen lately, each with the time.
#[derive(Debug)]
pub(super) struct Learned {
    /// A power of two of them.
    sets: Box<[[Option<Entry>; WAYS]]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: Mac,
    seen: u64,
}

impl Learned {
    /// A table with room for about this many addresses.
    pub(super) fn with_room(addresses: usize) -> Self {
        let sets = addresses.div_ceil(WAYS).next_power_of_two();
        Self { sets: core::iter::repeat_n([None; WAYS], sets).collect() }
    }

    /// Notes that an address was seen. Where there is no room, that takes the place of the one that was not seen for longest.
    pub(super) fn note(&mut self, address: Mac, now: u64) {
        let place = self.place(address);
        let set = &mut self.sets[place];
        let same = set.iter().position(|entry| entry.is_some_and(|entry| entry.address == address));
        let oldest = || (0..WAYS).min_by_key(|way| set[*way].map(|entry| entry.seen));
        if let Some(way) = same.or_else(oldest) {
            set[way] = Some(Entry { address, seen: now });
        }
    }

    /// Whether an address was seen at `since` or later.
    pub(super) fn has(&self, address: Mac, since: u64) -> bool {
        let set = self.sets[self.place(address)].iter().flatten();
        set.into_iter().any(|entry| entry.address == address && entry.seen >= since)
    }

    fn place(&self, address: Mac) -> usize {
        // The upper bits of the product depend on all bits of the address (Knuth, The Art of Computer Programming, 6.4).
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let [.., upper] = address.number().wrapping_mul(FACTOR).to_le_bytes();
        usize::from(upper) & (self.sets.len() - 1)
    }
}
