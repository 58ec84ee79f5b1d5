//! Between the state and the list registers of a vCPU.

use super::{
    IntId, PRIVATE, Place, Private, SPI_IDS, Scope, VcpuSet, Version, Vgic, bank::Bits, bits,
    list_register::ListRegister,
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

/// A set of interrupts of one vCPU: bit n is interrupt n.
type Set = u64;

const fn join(private: u64, shared: u64) -> Set {
    private | shared << PRIVATE
}

/// The SGIs and PPIs of a set, and its SPIs.
const fn split(set: Set) -> (u64, u64) {
    (set & ((1 << PRIVATE) - 1), set >> PRIVATE)
}

const fn member(place: Place) -> Set {
    1 << place.intid()
}

/// The interrupts of a set, lowest number first.
fn places(set: Set) -> impl Iterator<Item = Place> {
    bits(set).map(Place::at)
}

/// Whether a set has more members than there is room for.
fn exceeds(mut set: Set, room: usize) -> bool {
    for _ in 0..room {
        if set == 0 {
            return false;
        }
        set &= set - 1;
    }
    set != 0
}

/// What a vCPU has to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// To be acknowledged, now or when it has been deactivated.
    pending: Set,
    active: Set,
}

impl Wanted {
    const fn any(&self) -> Set {
        self.pending | self.active
    }

    /// Those that can be acknowledged now.
    const fn ready(&self) -> Set {
        self.pending & !self.active
    }
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
    /// `registers` are those that the latest [`Self::fill`] used, as they are now. Returns the other vCPUs that
    /// now have something to see.
    pub fn sync(&mut self, vcpu: usize, registers: &[u64]) -> VcpuSet {
        let listed = self.listed(vcpu);
        let (mut pending, mut active) = (0, 0);
        for register in registers {
            let ListRegister { intid, state, .. } = ListRegister::decode(self.version, *register);
            let member = if intid < SPI_IDS.end { 1 << intid } else { 0 };
            pending |= if state.is_pending() { member } else { 0 };
            active |= if state.is_active() { member } else { 0 };
        }
        self.take_back(vcpu, listed, pending & listed, active & listed)
    }

    /// Tells that the guest ended `count` interrupts that are in no list register (`EOIcount` of `ICH_HCR_EL2`
    /// or `GICH_HCR`): the active ones of the highest priority. To be called before [`Self::sync`].
    pub fn end_unlisted(&mut self, vcpu: usize, count: u32) -> VcpuSet {
        let mut changed = VcpuSet::EMPTY;
        for _ in 0..count {
            let unlisted = self.wanted(vcpu).active & !self.listed(vcpu);
            let Some(place) = self.most_urgent(vcpu, unlisted, unlisted) else { break };
            changed |= self.write_bits(vcpu, place.scope, Bits::ClearActive, place.bit(), place.bit());
        }
        changed
    }

    /// Deactivates an interrupt, as a trapped write to `ICC_DIR_EL1` does.
    pub fn deactivate(&mut self, vcpu: usize, intid: IntId) -> VcpuSet {
        Place::of(intid, 0..SPI_IDS.end).map_or(VcpuSet::EMPTY, |place| {
            self.write_bits(vcpu, place.scope, Bits::ClearActive, place.bit(), place.bit())
        })
    }

    /// Writes a vCPU's list registers, of which there are at least two, after [`Self::sync`]: as many as are
    /// used, from the first on. The others, which keep what they hold, are free.
    ///
    /// The most urgent interrupts come first; but the most urgent of the active ones always has a place, so that
    /// the guest can end it, and so has the most urgent of those that it can acknowledge.
    pub fn fill(&mut self, vcpu: usize, registers: &mut [u64]) -> Fill {
        debug_assert!(registers.len() >= 2 && self.listed(vcpu) == 0);
        let wanted = self.wanted(vcpu);
        let (mut chosen, mut pending) = (wanted.any(), wanted.pending);
        if exceeds(chosen, registers.len()) {
            chosen = self.choose(vcpu, &wanted, registers.len());
            // What is active comes back when it is deactivated, rather than go before what found no room.
            pending = wanted.ready();
        }
        let mut used = 0;
        for (register, place) in registers.iter_mut().zip(places(chosen)) {
            *register = self.list(vcpu, place, pending & member(place) != 0).encode(self.version);
            used += 1;
        }
        let (pending_left, active_left) = (wanted.ready() & !chosen, wanted.active & !chosen);
        Fill { used, pending_left: pending_left != 0, active_left: active_left != 0 }
    }

    /// What this vCPU has to know of.
    #[inline]
    fn wanted(&self, vcpu: usize) -> Wanted {
        let Private { bank: private, routed, taken, .. } = &self.private[vcpu];
        let shared = &self.shared;
        let within_reach = routed & (taken | !shared.taken());
        Wanted {
            pending: join(
                private.pending() & private.forwarded,
                shared.pending() & shared.forwarded & within_reach,
            ),
            active: join(private.active, shared.active & taken),
        }
    }

    /// What is in this vCPU's list registers.
    #[inline]
    fn listed(&self, vcpu: usize) -> Set {
        let private = &self.private[vcpu];
        join(private.bank.listed, self.shared.listed & private.taken)
    }

    /// Chooses as many interrupts as there is room for.
    #[cold]
    #[inline(never)]
    fn choose(&self, vcpu: usize, wanted: &Wanted, room: usize) -> Set {
        let mut chosen = 0;
        for first in [wanted.active, wanted.ready()] {
            chosen |= self.most_urgent(vcpu, first, wanted.active).map_or(0, member);
        }
        while !exceeds(chosen, room - 1) {
            let next = self.most_urgent(vcpu, wanted.any() & !chosen, wanted.active);
            let Some(place) = next else { break };
            chosen |= member(place);
        }
        chosen
    }

    /// The interrupt with the highest priority, which is the lowest number; of equals the active one.
    fn most_urgent(&self, vcpu: usize, set: Set, active: Set) -> Option<Place> {
        let inactive = |place: &Place| active & member(*place) == 0;
        places(set).min_by_key(|place| (self.priority(vcpu, *place), inactive(place)))
    }

    /// Puts an interrupt into a list register; `pending` if it is to be acknowledged.
    fn list(&mut self, vcpu: usize, place: Place, pending: bool) -> ListRegister {
        if self.has_source(place) {
            let pending = pending && self.carry_source(vcpu, place.n);
            let private = &mut self.private[vcpu];
            return private.bank.list(place, pending, private.sources.taken(place.n));
        }
        if place.scope == Scope::Shared {
            self.private[vcpu].taken |= place.bit();
        }
        let bank = self.bank_mut(vcpu, place.scope);
        if pending {
            bank.carry(place.bit());
        }
        bank.list(place, pending, 0)
    }

    /// Takes interrupts back from a vCPU's list registers, where these are pending and those active. Returns the
    /// other vCPUs that now have something to see.
    fn take_back(&mut self, vcpu: usize, listed: Set, pending: Set, active: Set) -> VcpuSet {
        let (private, shared) = split(listed);
        let ((private_pending, shared_pending), (private_active, shared_active)) =
            (split(pending), split(active));
        if private != 0 {
            let Private { bank, sources, .. } = &mut self.private[vcpu];
            let came_back = bank.take_back(private, private_pending, private_active);
            if self.version == Version::V2 {
                sources.give_back(came_back);
            }
        }
        if shared == 0 {
            return VcpuSet::EMPTY;
        }
        self.shared.take_back(shared, shared_pending, shared_active);
        self.let_go(vcpu)
    }

    /// Lets go of the SPIs that are neither listed nor active any more. Returns the other vCPUs that have them
    /// now.
    fn let_go(&mut self, vcpu: usize) -> VcpuSet {
        let over = self.private[vcpu].taken & !self.shared.taken();
        self.private[vcpu].taken &= !over;
        let pending = over & self.shared.pending() & self.shared.forwarded;
        self.concerned(vcpu, Scope::Shared, pending).difference(VcpuSet::one(vcpu))
    }
}
