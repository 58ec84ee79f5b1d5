//! Between the state and the list registers of a vCPU.

use super::{
    BANKS, IntId, Place, SHARED_BANKS, SPI_IDS, VcpuSet, Vgic,
    bank::Bits,
    bits, index,
    list_register::{ListRegister, State},
};

/// What [`Vgic::fill`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Fill {
    /// List registers in use, from the first on.
    pub used: usize,
    /// Pending interrupts found no room: a maintenance interrupt is needed when no list register is pending
    /// any more (`ICH_HCR_EL2.NPIE`, `GICH_HCR.NPIE`).
    pub pending_left: bool,
    /// Active interrupts found no room: a maintenance interrupt is needed when the guest ends one of them
    /// (`LRENPIE`), of which [`Vgic::end_unlisted`] wants to know.
    pub active_left: bool,
}

impl Fill {
    /// Whether any interrupt found no room.
    #[must_use]
    pub const fn more(self) -> bool {
        self.pending_left || self.active_left
    }
}

/// A set of interrupts of one vCPU.
type Set = [u32; BANKS];

/// What a vCPU has to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// To be acknowledged, now or when it has been deactivated.
    pending: Set,
    active: Set,
}

impl Wanted {
    fn any(&self) -> Set {
        zip(self.pending, self.active, |pending, active| pending | active)
    }

    /// Those that can be acknowledged now.
    fn ready(&self) -> Set {
        zip(self.pending, self.active, |pending, active| pending & !active)
    }
}

fn zip(a: Set, b: Set, operation: impl Fn(u32, u32) -> u32) -> Set {
    core::array::from_fn(|bank| operation(a[bank], b[bank]))
}

fn places(set: Set) -> impl Iterator<Item = Place> {
    set.into_iter().enumerate().flat_map(|(bank, word)| bits(word).map(move |n| Place { bank, n }))
}

fn count(set: Set) -> u32 {
    set.iter().map(|word| word.count_ones()).sum()
}

const fn insert(set: &mut Set, place: Place) {
    set[place.bank] |= place.bit();
}

const fn remove(set: &mut Set, place: Place) {
    set[place.bank] &= !place.bit();
}

impl Vgic {
    /// Whether the vCPU's CPU interface would signal an interrupt that its priority mask lets through
    /// (`ICH_VMCR_EL2.VPMR` or the same in `GICH_VMCR`, on 8 bits): whether a `WFI` ends. The group enables of the
    /// interface do not count, nor does the priority of what is active.
    #[must_use]
    pub fn is_deliverable(&self, vcpu: usize, priority_mask: u8) -> bool {
        places(self.wanted(vcpu).ready()).any(|place| self.priority(vcpu, place) < priority_mask)
    }

    /// Takes back what became of the interrupts in a vCPU's list registers, all of which are free afterwards.
    /// Returns the other vCPUs that now have something to see.
    pub fn sync(&mut self, vcpu: usize, registers: &[ListRegister]) -> VcpuSet {
        let listed = self.listed(vcpu);
        if listed == [0; BANKS] {
            return VcpuSet::EMPTY;
        }
        let mut gone = listed;
        for register in registers.iter().filter(|register| register.state != State::Invalid) {
            let Some(place) = Place::of(register.intid, 0..SPI_IDS.end) else { continue };
            if gone[place.bank] & place.bit() != 0 {
                remove(&mut gone, place);
                self.take_back(vcpu, place, register.state);
            }
        }
        places(gone).for_each(|place| self.take_back(vcpu, place, State::Invalid));
        self.let_go(vcpu, listed)
    }

    /// Tells that the guest ended `count` interrupts that are in no list register (`EOIcount` of `ICH_HCR_EL2`
    /// or `GICH_HCR`): the active ones of the highest priority. To be called before [`Self::sync`].
    pub fn end_unlisted(&mut self, vcpu: usize, count: u32) -> VcpuSet {
        let mut changed = VcpuSet::EMPTY;
        for _ in 0..count {
            let unlisted =
                zip(self.wanted(vcpu).active, self.listed(vcpu), |active, listed| active & !listed);
            let Some(place) = self.most_urgent(vcpu, unlisted, unlisted) else { break };
            changed |= self.write_bits(vcpu, place.bank, Bits::ClearActive, place.bit());
        }
        changed
    }

    /// Deactivates an interrupt, as a trapped write to `ICC_DIR_EL1` does.
    pub fn deactivate(&mut self, vcpu: usize, intid: IntId) -> VcpuSet {
        Place::of(intid, 0..SPI_IDS.end)
            .map_or(VcpuSet::EMPTY, |place| self.write_bits(vcpu, place.bank, Bits::ClearActive, place.bit()))
    }

    /// Writes a vCPU's list registers, of which there are at least two, after [`Self::sync`].
    ///
    /// The most urgent interrupts come first; but the most urgent of the active ones always has a place, so that
    /// the guest can end it, and so has the most urgent of those that it can acknowledge.
    pub fn fill(&mut self, vcpu: usize, registers: &mut [ListRegister]) -> Fill {
        debug_assert!(registers.len() >= 2 && self.listed(vcpu) == [0; BANKS]);
        let wanted = self.wanted(vcpu);
        let mut chosen = wanted.any();
        if index(count(chosen)) > registers.len() {
            chosen = self.choose(vcpu, &wanted, registers.len());
        }
        registers.fill(ListRegister::EMPTY);
        let mut used = 0;
        for (register, place) in registers.iter_mut().zip(places(chosen)) {
            *register = self.list(vcpu, place, wanted.pending[place.bank] & place.bit() != 0);
            used += 1;
        }
        let left = |set| zip(set, chosen, |set, chosen| set & !chosen) != [0; BANKS];
        Fill { used, pending_left: left(wanted.ready()), active_left: left(wanted.active) }
    }

    /// What this vCPU has to know of.
    fn wanted(&self, vcpu: usize) -> Wanted {
        let private = &self.private[vcpu];
        let mut wanted = Wanted {
            pending: [private.bank.pending() & private.bank.forwarded(self.groups), 0, 0],
            active: [private.bank.active, 0, 0],
        };
        for (shared, bank) in self.shared.iter().enumerate() {
            let within_reach = private.routed[shared] & (private.taken[shared] | !bank.taken());
            wanted.pending[shared + 1] = bank.pending() & bank.forwarded(self.groups) & within_reach;
            wanted.active[shared + 1] = bank.active & private.taken[shared];
        }
        wanted
    }

    /// What is in this vCPU's list registers.
    fn listed(&self, vcpu: usize) -> Set {
        let private = &self.private[vcpu];
        let shared = |n: usize| self.shared[n].listed & private.taken[n];
        [private.bank.listed, shared(0), shared(1)]
    }

    /// Chooses as many interrupts as there is room for.
    fn choose(&self, vcpu: usize, wanted: &Wanted, room: usize) -> Set {
        let mut chosen = [0; BANKS];
        for first in [wanted.active, wanted.ready()] {
            if let Some(place) = self.most_urgent(vcpu, first, wanted.active) {
                insert(&mut chosen, place);
            }
        }
        while index(count(chosen)) < room {
            let left = zip(wanted.any(), chosen, |wanted, chosen| wanted & !chosen);
            let Some(place) = self.most_urgent(vcpu, left, wanted.active) else { break };
            insert(&mut chosen, place);
        }
        chosen
    }

    /// The interrupt with the highest priority, which is the lowest number; of equals the active one.
    fn most_urgent(&self, vcpu: usize, set: Set, active: Set) -> Option<Place> {
        let inactive = |place: &Place| active[place.bank] & place.bit() == 0;
        places(set).min_by_key(|place| (self.priority(vcpu, *place), inactive(place)))
    }

    /// Puts an interrupt into a list register; `pending` if it is to be acknowledged.
    fn list(&mut self, vcpu: usize, place: Place, pending: bool) -> ListRegister {
        if let Some(shared) = place.bank.checked_sub(1) {
            self.private[vcpu].taken[shared] |= place.bit();
        }
        let (groups, has_source) = (self.groups, self.has_source(place));
        if !has_source {
            let bank = self.bank_mut(vcpu, place.bank);
            bank.carry(if pending { place.bit() } else { 0 });
            return bank.list(place, pending, 0, groups);
        }
        let pending = pending && self.carry_source(vcpu, place.n);
        let private = &mut self.private[vcpu];
        private.bank.list(place, pending, private.sources.taken(place.n), groups)
    }

    fn take_back(&mut self, vcpu: usize, place: Place, state: State) {
        let came_back = self.bank_mut(vcpu, place.bank).take_back(place.bit(), state);
        if came_back && self.has_source(place) {
            self.private[vcpu].sources.give_back(place.n);
        }
    }

    /// Lets go of the SPIs that were listed and are not active. Returns the other vCPUs that have them now.
    fn let_go(&mut self, vcpu: usize, listed: Set) -> VcpuSet {
        let mut others = VcpuSet::EMPTY;
        for shared in 0..SHARED_BANKS {
            let bank = &self.shared[shared];
            let over = listed[shared + 1] & !bank.active;
            let pending = over & bank.pending() & bank.forwarded(self.groups);
            self.private[vcpu].taken[shared] &= !over;
            others |= self.concerned(vcpu, shared + 1, pending);
        }
        others.difference(VcpuSet::one(vcpu))
    }
}
