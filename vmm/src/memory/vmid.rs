//! VMIDs, recycled by generations.
//!
//! There are 255 or 65,535 of them, and any number of VMs. A VM keeps its VMID as long as the generation
//! lasts. When none is left, a new generation begins: the TLBs are flushed, and every VM gets a new VMID
//! the next time it runs.

/// A VMID together with the generation it belongs to. 0 belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vmid(pub u64);

/// Bits of [`Vmid`] that are the number itself.
const NUMBER_BITS: u32 = 16;

impl Vmid {
    /// The number, for `VTTBR_EL2`.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

/// Gives out VMIDs.
#[derive(Debug)]
pub struct VmidAllocator {
    generation: u64,
    next: u64,
    limit: u64,
}

impl VmidAllocator {
    /// For a core whose VMIDs have `bits` bits, 8 or 16. VMID 0 is not given out: a TLB may hold entries with
    /// it from before.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self { generation: 1, next: 1, limit: 1 << bits }
    }

    /// The VMID for a VM that had `current`: the same one if its generation lasts. Otherwise a new one,
    /// after `flush` if that begins a generation.
    pub fn assign(&mut self, current: Vmid, flush: impl FnOnce()) -> Vmid {
        if current.0 >> NUMBER_BITS == self.generation {
            return current;
        }
        if self.next == self.limit {
            self.generation += 1;
            self.next = 1;
            flush();
        }
        let vmid = Vmid(self.generation << NUMBER_BITS | self.next);
        self.next += 1;
        vmid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_vm_keeps_its_vmid_within_a_generation() {
        let mut vmids = VmidAllocator::new(8);
        let first = vmids.assign(Vmid::default(), || panic!("nothing to flush"));
        let second = vmids.assign(Vmid::default(), || panic!("nothing to flush"));
        assert_ne!(first.number(), second.number());
        assert_eq!(vmids.assign(first, || panic!("nothing to flush")), first);
    }

    #[test]
    fn no_two_vms_share_a_number_between_flushes() {
        for bits in [8, 16] {
            let mut vmids = VmidAllocator::new(bits);
            let mut held = Vec::new();
            let mut flushes = 0;
            for _ in 0..3 << bits {
                let mut flushed = false;
                let vmid = vmids.assign(Vmid::default(), || flushed = true);
                if flushed {
                    held.clear();
                    flushes += 1;
                }
                assert!((1..1 << bits).contains(&vmid.number()));
                held.push(vmid.number());
            }
            held.sort_unstable();
            let count = held.len();
            held.dedup();
            assert_eq!(held.len(), count);
            assert_eq!(flushes, 3);
        }
    }
}
