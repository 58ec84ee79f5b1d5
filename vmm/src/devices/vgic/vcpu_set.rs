//! A set of a VM's vCPUs.

use super::MAX_VCPUS;
use core::ops::{BitOr, BitOrAssign};

/// A set of vCPUs, by index: bit n stands for vCPU n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct VcpuSet(u8);

impl VcpuSet {
    /// No vCPU.
    pub const EMPTY: Self = Self(0);

    /// One vCPU.
    pub const fn one(vcpu: usize) -> Self {
        debug_assert!(vcpu < MAX_VCPUS);
        Self(1 << vcpu)
    }

    /// The first `count` vCPUs, at most [`MAX_VCPUS`].
    pub const fn first(count: usize) -> Self {
        debug_assert!(count <= MAX_VCPUS);
        Self(super::low_byte((1 << count) - 1))
    }

    /// The set whose members are the bits that are set.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether there is no vCPU in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a vCPU is in the set.
    #[must_use]
    pub const fn contains(self, vcpu: usize) -> bool {
        vcpu < MAX_VCPUS && self.0 >> vcpu & 1 != 0
    }

    /// The vCPUs of this set that are not in the other.
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The vCPUs of both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The vCPU of the lowest index.
    #[must_use]
    pub fn lowest(self) -> Option<u8> {
        (self.0 != 0).then(|| super::low_byte(u64::from(self.0.trailing_zeros())))
    }

    /// The vCPUs, lowest index first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        super::bits(u64::from(self.0))
    }
}

impl BitOr for VcpuSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for VcpuSet {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn members_are_bits() {
        let set = VcpuSet::one(7) | VcpuSet::one(0);
        assert_eq!(set.bits(), 0x81);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 7]);
        assert_eq!(set.lowest(), Some(0));
        assert!(set.contains(7) && !set.contains(1) && !set.contains(64));
        assert_eq!(set.difference(VcpuSet::one(7)), VcpuSet::first(1));
        assert_eq!(set.intersection(VcpuSet::from_bits(0xf0)), VcpuSet::one(7));
    }

    #[test]
    fn any_number_of_vcpus_from_none_to_all() {
        assert!(VcpuSet::first(0).is_empty());
        assert_eq!(VcpuSet::first(3).bits(), 0b111);
        assert_eq!(VcpuSet::first(MAX_VCPUS).bits(), 0xff);
    }
}
