//! Which device is at an address.

use super::Width;
use core::{fmt, ops::Range};
use heapless::Vec;

/// Devices that a bus has room for.
const MAX_DEVICES: usize = 8;

/// The address ranges of a VM's devices, each with what the caller knows the device by.
///
/// It is built with the VM and never changes afterwards, so it is read without a lock. Look-up is linear,
/// in the order in which the devices were added: with these few it is the fastest there is.
#[derive(Debug, Clone)]
pub struct Bus<D> {
    slots: Vec<Slot<D>, MAX_DEVICES>,
}

#[derive(Debug, Clone)]
struct Slot<D> {
    start: u64,
    size: u64,
    device: D,
}

impl<D> Slot<D> {
    const fn range(&self) -> Range<u64> {
        self.start..self.start + self.size
    }
}

impl<D: Copy> Bus<D> {
    /// A bus without devices.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// Puts a device at `range`.
    ///
    /// # Errors
    /// The range is empty, is taken already, or is one too many.
    pub fn add(&mut self, range: Range<u64>, device: D) -> Result<(), BusError> {
        if range.is_empty() {
            return Err(BusError::Empty(range));
        }
        let overlaps = |other: &Range<u64>| range.start < other.end && other.start < range.end;
        if let Some(taken) = self.slots.iter().map(Slot::range).find(overlaps) {
            return Err(BusError::Overlap { range, taken });
        }
        let slot = Slot { start: range.start, size: range.end - range.start, device };
        self.slots.push(slot).map_err(|_| BusError::Full)
    }

    /// The device that an access goes to, and the offset there; none unless one device has all bytes of it.
    #[inline]
    #[must_use]
    pub fn find(&self, address: u64, width: Width) -> Option<(D, u64)> {
        for slot in &self.slots {
            let offset = address.wrapping_sub(slot.start);
            if offset < slot.size {
                return (slot.size - offset >= width.bytes()).then_some((slot.device, offset));
            }
        }
        None
    }
}

impl<D: Copy> Default for Bus<D> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a device cannot be put on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusError {
    /// The range has no address.
    Empty(Range<u64>),
    /// Another device is there.
    Overlap {
        /// Where the device should be.
        range: Range<u64>,
        /// Where the other one is.
        taken: Range<u64>,
    },
    /// There are devices enough.
    Full,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(range) => write!(f, "device at {range:#x?}: the range is empty"),
            Self::Overlap { range, taken } => {
                write!(f, "device at {:#x}: overlaps the one at {:#x}", range.start, taken.start)
            }
            Self::Full => write!(f, "more than {MAX_DEVICES} devices"),
        }
    }
}

impl core::error::Error for BusError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec::Vec};
    use proptest::prelude::*;

    #[test]
    fn devices_see_offsets() {
        let mut bus = Bus::new();
        bus.add(0x900_0000..0x900_1000, 'u').unwrap();
        bus.add(0x800_0000..0x801_0000, 'd').unwrap();
        assert_eq!(bus.find(0x900_0018, Width::Word), Some(('u', 0x18)));
        assert_eq!(bus.find(0x800_0000, Width::Byte), Some(('d', 0)));
        assert_eq!(bus.find(0x900_1000, Width::Byte), None);
        assert_eq!(bus.find(0x7ff_ffff, Width::Byte), None);
        assert_eq!(bus.find(u64::MAX, Width::Doubleword), None);
    }

    #[test]
    fn an_access_over_the_end_of_a_device_finds_none() {
        let mut bus = Bus::new();
        bus.add(0..0x1000, ()).unwrap();
        assert_eq!(bus.find(0xff8, Width::Doubleword), Some(((), 0xff8)));
        assert_eq!(bus.find(0xffc, Width::Doubleword), None);
        assert_eq!(bus.find(0xfff, Width::Byte), Some(((), 0xfff)));
    }

    #[test]
    fn overlaps_are_refused() {
        let mut bus = Bus::new();
        bus.add(0x1000..0x2000, ()).unwrap();
        let error = bus.add(0x1fff..0x3000, ()).unwrap_err();
        assert_eq!(error.to_string(), "device at 0x1fff: overlaps the one at 0x1000");
        assert!(bus.add(0..0x1001, ()).is_err() && bus.add(0x1800..0x1801, ()).is_err());
        assert_eq!(bus.add(0x10..0x10, ()).unwrap_err(), BusError::Empty(0x10..0x10));
        bus.add(0..0x1000, ()).unwrap();
        bus.add(0x2000..0x3000, ()).unwrap();
        (3..MAX_DEVICES as u64).for_each(|n| bus.add(n << 16..(n << 16) + 1, ()).unwrap());
        assert_eq!(bus.add(0x9000..0x9001, ()), Err(BusError::Full));
    }

    proptest! {
        /// What is found is what was put there.
        #[test]
        fn every_address_is_found(ranges in prop::collection::vec((0_u64..64, 1_u64..16), 1..8), address in 0_u64..100) {
            let mut bus = Bus::new();
            let ranges = ranges.into_iter().map(|(start, size)| start..start + size);
            let kept: Vec<_> = ranges.filter(|range| bus.add(range.clone(), range.start).is_ok()).collect();
            let expected = kept.iter().find(|range| range.contains(&address));
            prop_assert_eq!(
                bus.find(address, Width::Byte),
                expected.map(|range| (range.start, address - range.start))
            );
        }
    }
}
