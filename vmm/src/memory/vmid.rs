//! VMIDs, recycled by generations.
//!
//! There are 255 or 65,535 of them, and any number of VMs. A VM keeps its VMID as long as the generation
//! lasts. When none is left, a new generation begins: the TLBs are flushed, and every VM gets a new VMID
//! the next time it runs. What runs on another core at that moment goes on with the VMID it has, so that
//! number is given to nobody else in the new generation.

use crate::platform::MAX_CORES;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// A VMID together with the generation it belongs to. 0 belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vmid(u64);

/// Bits of [`Vmid`] that are the number itself.
const NUMBER_BITS: u32 = 16;

impl Vmid {
    /// The number, for `VTTBR_EL2`.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    const fn new(generation: u64, number: u64) -> Self {
        Self(generation << NUMBER_BITS | number)
    }

    const fn generation(self) -> u64 {
        self.0 >> NUMBER_BITS
    }
}

/// A VM's place for its VMID.
#[derive(Debug, Default)]
pub struct VmidSlot(AtomicU64);

/// Gives out VMIDs to what runs on each core.
pub struct VmidAllocator {
    generation: AtomicU64,
    /// What each core runs. A new generation takes it away, and the core comes for another.
    active: [AtomicU64; MAX_CORES],
    numbers: Mutex<Numbers>,
}

struct Numbers {
    next: u64,
    /// What ran elsewhere when the generation began.
    reserved: [Vmid; MAX_CORES],
}

impl VmidAllocator {
    /// An allocator that has given out nothing. VMID 0 is never given out: a TLB may hold entries with it from
    /// before.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            generation: AtomicU64::new(1),
            active: [const { AtomicU64::new(0) }; MAX_CORES],
            numbers: Mutex::new(Numbers { next: 1, reserved: [Vmid(0); MAX_CORES] }),
        }
    }

    /// The VMID for the VM with this slot, which now runs on `core`, whose VMIDs have `bits` bits. `flush`
    /// drops all guests' translations from all TLBs.
    pub fn assign(&self, core: usize, slot: &VmidSlot, bits: u32, flush: impl FnOnce()) -> Vmid {
        let active = &self.active[core];
        let current = Vmid(slot.0.load(Ordering::Acquire));
        let lasts = current.generation() == self.generation.load(Ordering::Acquire);
        // A 0 here says that a generation has begun since this core last came.
        if lasts && active.load(Ordering::Relaxed) != 0 && active.swap(current.0, Ordering::AcqRel) != 0 {
            return current;
        }
        let mut numbers = self.numbers.lock();
        // Another core may have been faster.
        let current = Vmid(slot.0.load(Ordering::Acquire));
        let vmid = if current.generation() == self.generation.load(Ordering::Acquire) {
            current
        } else {
            self.renew(&mut numbers, current, 1 << bits, flush)
        };
        slot.0.store(vmid.0, Ordering::Release);
        active.store(vmid.0, Ordering::Release);
        vmid
    }

    fn renew(&self, numbers: &mut Numbers, current: Vmid, limit: u64, flush: impl FnOnce()) -> Vmid {
        let mut generation = self.generation.load(Ordering::Acquire);
        if let Some(reserved) =
            numbers.reserved.iter().find(|reserved| **reserved == current && current.0 != 0)
        {
            return Vmid::new(generation, reserved.number());
        }
        let mut flush = Some(flush);
        loop {
            if numbers.next == limit {
                generation += 1;
                self.generation.store(generation, Ordering::Release);
                numbers.next = 1;
                for (reserved, active) in numbers.reserved.iter_mut().zip(&self.active) {
                    match active.swap(0, Ordering::AcqRel) {
                        // It has not come since the last time: what was reserved then still runs.
                        0 => {}
                        vmid => *reserved = Vmid(vmid),
                    }
                }
                flush.take().into_iter().for_each(|flush| flush());
            }
            let number = numbers.next;
            numbers.next += 1;
            if numbers.reserved.iter().all(|reserved| reserved.number() != number) {
                return Vmid::new(generation, number);
            }
        }
    }
}

impl Default for VmidAllocator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_vm_keeps_its_vmid_within_a_generation() {
        let vmids = VmidAllocator::new();
        let slots = [VmidSlot::default(), VmidSlot::default()];
        let first = vmids.assign(0, &slots[0], 8, || panic!("nothing to flush"));
        let second = vmids.assign(0, &slots[1], 8, || panic!("nothing to flush"));
        assert_ne!(first.number(), second.number());
        assert_eq!(vmids.assign(1, &slots[0], 8, || panic!("nothing to flush")), first);
    }

    #[test]
    fn no_two_vms_share_a_number_between_flushes() {
        for bits in [8, 16] {
            let vmids = VmidAllocator::new();
            let mut held = Vec::new();
            let mut flushes = 0;
            for _ in 0..3 << bits {
                let mut flushed = false;
                let vmid = vmids.assign(0, &VmidSlot::default(), bits, || flushed = true);
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

    proptest! {
        /// Whatever runs at the same time on several cores has VMIDs of its own, across generations.
        #[test]
        fn what_runs_at_the_same_time_is_told_apart(turns in prop::collection::vec((0_usize..4, 0_usize..400), 1..3000)) {
            let vmids = VmidAllocator::new();
            let slots: Vec<VmidSlot> = (0..400).map(|_| VmidSlot::default()).collect();
            let mut running: [Option<(usize, u64)>; 4] = [None; 4];
            for (core, vm) in turns {
                let number = vmids.assign(core, &slots[vm], 8, || {}).number();
                running[core] = Some((vm, number));
                for (vm, number) in running.into_iter().flatten() {
                    for (other, taken) in running.into_iter().flatten() {
                        prop_assert!(vm == other || number != taken, "VMs {vm} and {other} both have {number}");
                    }
                }
            }
        }
    }
}
