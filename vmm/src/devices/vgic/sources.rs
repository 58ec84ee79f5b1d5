//! GICv2: which vCPUs sent the SGIs that are pending for one vCPU.
//!
//! An SGI from one vCPU and the same SGI from another are two interrupts, which the receiver acknowledges
//! one by one (IHI 0048B, 3.2.2 and 4.3.16). They are listed one at a time: the next follows when the one before is
//! deactivated.

use super::{Place, Private, Scope, VcpuSet, Version, Vgic, bits, index, low_byte};

const SGIS: usize = 16;

/// The senders of each SGI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// Those whose SGI is pending, and not in a list register.
    waiting: [VcpuSet; SGIS],
    /// The one whose SGI is in a list register, or active.
    taken: [u8; SGIS],
}

impl Sources {
    pub(super) const NONE: Self = Self { waiting: [VcpuSet::EMPTY; SGIS], taken: [0; SGIS] };

    /// The senders whose SGI waits.
    pub(super) const fn waiting(&self, sgi: usize) -> VcpuSet {
        self.waiting[sgi]
    }

    pub(super) fn add(&mut self, sgi: usize, senders: VcpuSet) {
        self.waiting[sgi] |= senders;
    }

    pub(super) const fn remove(&mut self, sgi: usize, senders: VcpuSet) {
        self.waiting[sgi] = self.waiting[sgi].difference(senders);
    }

    /// The sender of the SGI that is taken.
    pub(super) const fn taken(&self, sgi: usize) -> u8 {
        self.taken[sgi]
    }

    /// Takes an SGI for a list register. While one is active, only another from the same sender can be taken.
    pub(super) fn take(&mut self, sgi: usize, active: bool) -> bool {
        if !active && let Some(sender) = self.waiting[sgi].lowest() {
            self.taken[sgi] = sender;
        }
        let taken = VcpuSet::one(usize::from(self.taken[sgi]));
        let waits = !self.waiting[sgi].intersection(taken).is_empty();
        self.remove(sgi, taken);
        waits
    }

    /// Gives back the interrupts that were taken and not acknowledged, as far as they are SGIs.
    pub(super) fn give_back(&mut self, interrupts: u64) {
        for sgi in bits(interrupts).take_while(|n| *n < SGIS) {
            self.add(sgi, VcpuSet::one(usize::from(self.taken[sgi])));
        }
    }
}

impl Vgic {
    /// Whether the sender of an interrupt counts.
    pub(super) fn has_source(&self, place: Place) -> bool {
        self.version == Version::V2 && place.intid() < SGIS
    }

    /// Does what a write to `GICD_SGIR` does.
    pub(super) fn send_v2_sgi(&mut self, vcpu: usize, value: u32) -> VcpuSet {
        let listed = VcpuSet::from_bits(low_byte(u64::from(value >> 16))).intersection(self.all());
        let own = VcpuSet::one(vcpu);
        let targets = match value >> 24 & 0b11 {
            0 => listed,
            1 => self.all().difference(own),
            2 => own,
            _ => VcpuSet::EMPTY,
        };
        let sgi = index(value & 0xf);
        targets.iter().fold(VcpuSet::EMPTY, |changed, target| changed | self.add_sources(target, sgi, own))
    }

    /// Makes an SGI pending for a vCPU, from these senders.
    pub(super) fn add_sources(&mut self, vcpu: usize, sgi: usize, senders: VcpuSet) -> VcpuSet {
        if senders.is_empty() {
            return VcpuSet::EMPTY;
        }
        self.private[vcpu].sources.add(sgi, senders);
        self.latch(vcpu, Place::at(sgi))
    }

    /// Makes an SGI not pending for a vCPU, from these senders.
    pub(super) fn clear_sources(&mut self, vcpu: usize, sgi: usize, senders: VcpuSet) -> VcpuSet {
        let private = &mut self.private[vcpu];
        private.sources.remove(sgi, senders);
        if senders.contains(usize::from(private.sources.taken(sgi))) {
            private.bank.carried &= !(1 << sgi);
        }
        self.update_latch(vcpu, sgi);
        let changed = 1 << sgi & self.private[vcpu].bank.listed;
        self.concerned(vcpu, Scope::Private, changed)
    }

    /// The senders whose SGI is pending for a vCPU.
    pub(super) fn pending_sources(&self, vcpu: usize, sgi: usize) -> VcpuSet {
        let Private { sources, bank, .. } = &self.private[vcpu];
        let taken = VcpuSet::one(usize::from(sources.taken(sgi)));
        let carried = bank.carried >> sgi & 1 != 0;
        sources.waiting(sgi) | if carried { taken } else { VcpuSet::EMPTY }
    }

    /// Moves one sender's SGI towards a list register. Returns `false` if it has to wait for another's.
    pub(super) fn carry_source(&mut self, vcpu: usize, sgi: usize) -> bool {
        let Private { sources, bank, .. } = &mut self.private[vcpu];
        let carried = sources.take(sgi, bank.active >> sgi & 1 != 0);
        bank.carried |= u64::from(carried) << sgi;
        self.update_latch(vcpu, sgi);
        carried
    }

    /// Brings the pending bit in line with the senders.
    fn update_latch(&mut self, vcpu: usize, sgi: usize) {
        let Private { sources, bank, .. } = &mut self.private[vcpu];
        bank.latch = bank.latch & !(1 << sgi) | u64::from(!sources.waiting(sgi).is_empty()) << sgi;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_taken_one_by_one() {
        let mut sources = Sources::NONE;
        sources.add(3, VcpuSet::from_bits(0b1010));
        assert!(sources.take(3, false));
        assert_eq!((sources.taken(3), sources.waiting(3).bits()), (1, 0b1000));
        assert!(!sources.take(3, true), "the other one waits until the first is deactivated");
        sources.add(3, VcpuSet::one(1));
        assert!(sources.take(3, true), "but another from the same sender joins");
        assert!(sources.take(3, false));
        assert_eq!((sources.taken(3), sources.waiting(3)), (3, VcpuSet::EMPTY));
        sources.give_back(1 << 3 | 1 << 27);
        assert_eq!(sources.waiting(3), VcpuSet::one(3));
    }
}
