//! What makes interrupts pending: input lines, physical interrupts, and the SGIs of a GICv3.

use super::{IntId, PPI_IDS, Place, SPI_IDS, VcpuSet, Version, Vgic, bank::Bits, low_byte};

impl Vgic {
    /// Asserts the input of an SPI, or not.
    pub fn set_spi_level(&mut self, intid: IntId, high: bool) -> VcpuSet {
        self.set_level(0, Place::of(intid, SPI_IDS), high)
    }

    /// Asserts the input of a vCPU's PPI, or not.
    pub fn set_ppi_level(&mut self, vcpu: usize, intid: IntId, high: bool) -> VcpuSet {
        self.set_level(vcpu, Place::of(intid, PPI_IDS), high)
    }

    fn set_level(&mut self, vcpu: usize, place: Option<Place>, high: bool) -> VcpuSet {
        let Some(place) = place else { return VcpuSet::EMPTY };
        let changed = self.bank_mut(vcpu, place.scope).set_line(place.bit(), high);
        self.concerned(vcpu, place.scope, changed)
    }

    /// Makes an SPI pending once, as a rising and falling edge of its input does.
    pub fn pulse_spi(&mut self, intid: IntId) -> VcpuSet {
        Place::of(intid, SPI_IDS).map_or(VcpuSet::EMPTY, |place| self.latch(0, place))
    }

    /// Makes a PPI or an SPI pending that stands for a physical interrupt: one that is active from now on,
    /// and will be deactivated by the guest's deactivation of the virtual one.
    ///
    /// The virtual interrupt stays in flight ([`Self::hardware_in_flight`]) until then, or until the guest
    /// cancels it by a register, or it is withdrawn, which [`Self::take_released`] tells. Such an interrupt has
    /// no input line besides.
    pub fn inject_hardware(&mut self, vcpu: usize, intid: IntId, physical: IntId) -> VcpuSet {
        let place = Place::of(intid, PPI_IDS.start..SPI_IDS.end);
        let (Some(place), Ok(physical)) = (place, u16::try_from(physical)) else { return VcpuSet::EMPTY };
        self.bank_mut(vcpu, place.scope).link(place.n, physical);
        self.latch(vcpu, place)
    }

    /// Makes a hardware-linked interrupt not pending that the guest has not acknowledged: the physical source is
    /// silent again. The physical interrupt is released.
    pub fn withdraw_hardware(&mut self, vcpu: usize, intid: IntId) -> VcpuSet {
        if !self.hardware_in_flight(vcpu, intid) {
            return VcpuSet::EMPTY;
        }
        let Some(place) = Place::of(intid, PPI_IDS.start..SPI_IDS.end) else { return VcpuSet::EMPTY };
        self.write_bits(vcpu, place.scope, Bits::ClearPending, place.bit(), place.bit())
    }

    /// Whether a physical interrupt is active for this interrupt, as far as is known: a list register may
    /// have ended it since the vCPU's latest [`Self::sync`].
    #[must_use]
    pub fn hardware_in_flight(&self, vcpu: usize, intid: IntId) -> bool {
        Place::of(intid, PPI_IDS.start..SPI_IDS.end)
            .is_some_and(|place| self.bank(vcpu, place.scope).is_linked(place.bit()))
    }

    /// A physical interrupt that must be deactivated now, because the guest ended the virtual one in another way
    /// than by deactivating it. To be called until there is none. If it is a PPI, it is of the core on
    /// which this vCPU runs.
    #[inline]
    pub fn take_released(&mut self, vcpu: usize) -> Option<IntId> {
        let private = self.private[vcpu].bank.take_released();
        private.or_else(|| self.shared.take_released()).map(IntId::from)
    }

    pub(super) fn latch(&mut self, vcpu: usize, place: Place) -> VcpuSet {
        let changed = self.bank_mut(vcpu, place.scope).latch(place.bit());
        self.concerned(vcpu, place.scope, changed)
    }

    /// What a write to `ICC_SGI1R_EL1` (`group1`) or `ICC_SGI0R_EL1` (not) does. With one security state there
    /// is nothing that `ICC_ASGI1R_EL1` could do (IHI 0069, 8.2 and 12.1.10).
    pub fn send_sgi(&mut self, vcpu: usize, value: u64, group1: bool) -> VcpuSet {
        if self.version != Version::V3 {
            return VcpuSet::EMPTY;
        }
        let place = Place::at(usize::from(low_byte(value >> 24 & 0xf)));
        let mut changed = VcpuSet::EMPTY;
        for target in self.sgi_targets(vcpu, value).iter() {
            if self.private[target].bank.in_group(group1) & place.bit() != 0 {
                changed |= self.latch(target, place);
            }
        }
        changed
    }

    fn sgi_targets(&self, sender: usize, value: u64) -> VcpuSet {
        /// All vCPUs but the sender.
        const ROUTING_MODE: u64 = 1 << 40;
        /// Aff3, the range selector, Aff2 and Aff1: all of them zero for any vCPU.
        const CLUSTER: u64 = 0xff << 48 | 0xf << 44 | 0xff << 32 | 0xff << 16;
        if value & ROUTING_MODE != 0 {
            self.all().difference(VcpuSet::one(sender))
        } else if value & CLUSTER == 0 {
            VcpuSet::from_bits(low_byte(value)).intersection(self.all())
        } else {
            VcpuSet::EMPTY
        }
    }
}
