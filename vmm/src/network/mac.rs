//! Ethernet addresses, and those that VMs have.

use core::fmt;

/// An Ethernet address (IEEE 802, 8.2): 48 bits, the first byte on the wire uppermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(u64);

/// In the first byte: it is a group of stations.
const GROUP: u8 = 1 << 0;
/// In the first byte: it was given by whoever runs the network, and by no manufacturer.
const LOCAL: u8 = 1 << 1;

impl Mac {
    /// What nobody has.
    pub const NONE: Self = Self(0);

    /// As it is on the wire.
    #[must_use]
    pub const fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// As it is on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// As a number, the first byte on the wire uppermost.
    #[must_use]
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// Whether it is not that of one station.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.to_bytes()[0] & GROUP != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.to_bytes();
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

/// The addresses of the VMs of a board: locally administered ones, that of VM 5 as in 02:05:12:34:56:78. The last four
/// bytes are those of the uplink, so that boards on one network differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VmAddresses {
    last: [u8; 4],
}

impl VmAddresses {
    /// Those of a board with this uplink, if it has one.
    #[must_use]
    pub fn of_board(uplink: Option<Mac>) -> Self {
        let [_, _, last @ ..] = uplink.unwrap_or(Mac::NONE).to_bytes();
        Self { last }
    }

    /// The address of the VM with this place in the manifest, unless it has a place beyond all manifests.
    #[must_use]
    pub fn of_vm(self, index: usize) -> Option<Mac> {
        let [low, high @ 0..0x40, 0, ..] = index.checked_add(1)?.to_le_bytes() else { return None };
        let [c, d, e, f] = self.last;
        Some(Mac::from_bytes([high << 2 | LOCAL, low, c, d, e, f]))
    }

    /// The place in the manifest of the VM with this address, if it is that of a VM.
    #[inline]
    #[must_use]
    pub fn index_of(self, mac: Mac) -> Option<usize> {
        let [first, low, last @ ..] = mac.to_bytes();
        let is_vm = last == self.last && first & (GROUP | LOCAL) == LOCAL;
        usize::from(u16::from_le_bytes([low, first >> 2])).checked_sub(1).filter(|_| is_vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn a_vm_has_the_last_bytes_of_the_uplink() {
        let uplink = Mac::from_bytes([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let address = |index| VmAddresses::of_board(Some(uplink)).of_vm(index).unwrap().to_string();
        assert_eq!(address(0), "02:01:00:12:34:56");
        assert_eq!(address(299), "06:2c:00:12:34:56");
        assert_eq!(VmAddresses::of_board(None).of_vm(1).unwrap().to_string(), "02:02:00:00:00:00");
        assert_eq!(VmAddresses::default().of_vm(0x3fff), None);
    }

    proptest! {
        #[test]
        fn a_vm_is_found_by_its_address(last: [u8; 4], index in 0_usize..0x3fff, other: [u8; 6]) {
            let addresses = VmAddresses { last };
            let mac = addresses.of_vm(index).unwrap();
            prop_assert!(!mac.is_group() && mac != Mac::NONE);
            prop_assert_eq!(addresses.index_of(mac), Some(index));
            let other = Mac::from_bytes(other);
            let found = addresses.index_of(other).and_then(|index| addresses.of_vm(index));
            prop_assert!(found.is_none_or(|found| found == other));
        }
    }
}
