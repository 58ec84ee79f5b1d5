//! The virtual interrupt controller: a GICv3 (Arm IHI 0069) or a GICv2 (Arm IHI 0048B) for one VM.
//!
//! This is the distributor, with the redistributors of a GICv3. It is a plain state machine: register
//! accesses, input lines and SGIs go in, and the contents of list registers come out. The CPU interface is the
//! hardware's: a vCPU acknowledges and ends interrupts there without an exit.
//!
//! ```text
//!   register accesses   lines, SGIs          set of vCPUs that must look again
//!          |                |                            ^
//!   +------v----------------v----------------------------|-----+
//!   | Vgic:  vCPU 0: SGIs, PPIs   vCPU 1: SGIs, PPIs ..  SPIs  |
//!   +------------|^-------------------|^-----------------------+
//!           fill v| sync         fill v| sync
//!          list registers       list registers     (hardware; saved while the vCPU is off its core)
//! ```
//!
//! **How to use it.** Whatever may change what a vCPU has to see returns a [`VcpuSet`]. Each vCPU in it must
//! soon call [`sync`](Vgic::sync) with its list registers as they are, and then [`fill`](Vgic::fill) and load
//! what that wrote; one that runs elsewhere is interrupted for it, one that waits is woken. `sync` returns such a
//! set, too. A vCPU does the same after a maintenance interrupt, before its state moves to another core, and
//! before a wait for which it asks [`is_deliverable`](Vgic::is_deliverable). After `sync` and after any
//! register write, the physical interrupts that [`take_released`](Vgic::take_released) names are deactivated.
//!
//! **What a guest may see of this.** While an interrupt is in a list register, its pending and active bits in
//! the distributor are what they were at the vCPU's latest `sync`; what the guest writes to them takes effect at
//! the next one, which the write asks for. A pending bit that is cleared just when another vCPU acknowledges the
//! interrupt may come too late, as in hardware.
//!
//! Choices that the architecture leaves open: a single security state (`GICD_CTLR.DS` = 1), affinity routing
//! always on in a GICv3, five bits of priority, PPIs level-sensitive, no LPIs and no message-based SPIs. vCPU n
//! has the affinity 0.0.0.n. An SPI with several targets, or of the 1-of-N model, goes to the first of them.
//! `GICR_WAKER` reads back what it should, but a sleeping redistributor delivers all the same.

mod bank;
mod delivery;
mod list_register;
mod mmio;
mod registers;
mod sources;
#[cfg(test)]
mod tests;
mod vcpu_set;

use bank::{Bank, Groups};
use core::ops::Range;
pub use delivery::Fill;
pub use list_register::{ListRegister, Origin, State};
use sources::Sources;
pub use vcpu_set::VcpuSet;

/// An interrupt's number.
pub type IntId = u32;

/// vCPUs that a VM can have: as many as a GICv2 allows.
pub const MAX_VCPUS: usize = 8;
/// SPIs of a VM: interrupts 32 to 95.
pub const SPIS: u32 = 64;

/// Interrupts of a vCPU: its own 32, and the SPIs, in banks of 32.
const BANKS: usize = 3;
const SHARED_BANKS: usize = BANKS - 1;
const SGI_IDS: Range<IntId> = 0..16;
const PPI_IDS: Range<IntId> = 16..32;
const SPI_IDS: Range<IntId> = 32..32 + SPIS;
/// SGIs are edge-triggered, PPIs level-sensitive.
const PRIVATE_EDGES: u32 = 0x0000_ffff;

/// The version of the architecture that the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// GICv2, whose virtual CPU interface is mapped for the guest.
    V2,
    /// GICv3, whose CPU interface is system registers.
    V3,
}

/// The virtual interrupt controller of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vgic {
    version: Version,
    vcpus: usize,
    groups: Groups,
    private: [Private; MAX_VCPUS],
    shared: [Bank; SHARED_BANKS],
    /// `GICD_ITARGETSR` or `GICD_IROUTER` of each SPI.
    route: [u32; SPIS as usize],
}

/// What belongs to one vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Private {
    /// SGIs and PPIs.
    bank: Bank,
    /// GICv2: who sent the SGIs.
    sources: Sources,
    /// SPIs that are delivered to this vCPU.
    routed: [u32; SHARED_BANKS],
    /// SPIs that are in this vCPU's list registers, or active because it acknowledged them.
    taken: [u32; SHARED_BANKS],
    /// `GICR_WAKER.ProcessorSleep`.
    asleep: bool,
}

impl Private {
    const NEW: Self = Self {
        bank: Bank::new(PRIVATE_EDGES),
        sources: Sources::NONE,
        routed: [0; SHARED_BANKS],
        taken: [0; SHARED_BANKS],
        asleep: true,
    };
}

/// Where an interrupt's state is: its bank, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    bank: usize,
    n: usize,
}

impl Place {
    /// The place of an interrupt, if it is one of `allowed`.
    fn of(intid: IntId, allowed: Range<IntId>) -> Option<Self> {
        allowed.contains(&intid).then(|| Self { bank: index(intid / 32), n: index(intid % 32) })
    }

    const fn bit(self) -> u32 {
        1 << self.n
    }

    fn intid(self) -> IntId {
        low_word((self.bank * 32 + self.n) as u64)
    }
}

impl Vgic {
    /// A controller as it is after reset, for so many vCPUs (at most [`MAX_VCPUS`]).
    #[must_use]
    pub fn new(version: Version, vcpus: usize) -> Self {
        assert!((1..=MAX_VCPUS).contains(&vcpus), "a VM cannot have {vcpus} vCPUs");
        let mut vgic = Self {
            version,
            vcpus,
            groups: Groups::default(),
            private: [Private::NEW; MAX_VCPUS],
            shared: [const { Bank::new(0) }; SHARED_BANKS],
            route: [0; SPIS as usize],
        };
        (0..vgic.route.len()).for_each(|spi| vgic.apply_route(spi));
        vgic
    }

    /// The version that the guest sees.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    fn all(&self) -> VcpuSet {
        VcpuSet::first(self.vcpus)
    }

    fn bank(&self, vcpu: usize, bank: usize) -> &Bank {
        match bank.checked_sub(1) {
            None => &self.private[vcpu].bank,
            Some(shared) => &self.shared[shared],
        }
    }

    fn bank_mut(&mut self, vcpu: usize, bank: usize) -> &mut Bank {
        match bank.checked_sub(1) {
            None => &mut self.private[vcpu].bank,
            Some(shared) => &mut self.shared[shared],
        }
    }

    fn priority(&self, vcpu: usize, place: Place) -> u8 {
        self.bank(vcpu, place.bank).priority(place.n)
    }

    /// The vCPUs that some interrupts of a bank concern: those to which they go and those that have them.
    fn concerned(&self, vcpu: usize, bank: usize, interrupts: u32) -> VcpuSet {
        if interrupts == 0 {
            return VcpuSet::EMPTY;
        }
        let Some(shared) = bank.checked_sub(1) else { return VcpuSet::one(vcpu) };
        let mut set = VcpuSet::EMPTY;
        for (vcpu, private) in self.private.iter().enumerate() {
            if interrupts & (private.routed[shared] | private.taken[shared]) != 0 {
                set |= VcpuSet::one(vcpu);
            }
        }
        set
    }

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
        let groups = self.groups;
        let changed = self.bank_mut(vcpu, place.bank).set_line(place.bit(), high, groups);
        self.concerned(vcpu, place.bank, changed)
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
        self.bank_mut(vcpu, place.bank).link(place.n, physical);
        self.latch(vcpu, place)
    }

    /// Makes a hardware-linked interrupt not pending that the guest has not acknowledged: the physical source is
    /// silent again. The physical interrupt is released.
    pub fn withdraw_hardware(&mut self, vcpu: usize, intid: IntId) -> VcpuSet {
        if !self.hardware_in_flight(vcpu, intid) {
            return VcpuSet::EMPTY;
        }
        let Some(place) = Place::of(intid, PPI_IDS.start..SPI_IDS.end) else { return VcpuSet::EMPTY };
        self.write_bits(vcpu, place.bank, bank::Bits::ClearPending, place.bit())
    }

    /// Whether a physical interrupt is active for this interrupt, as far as is known: a list register may
    /// have ended it since the vCPU's latest [`Self::sync`].
    #[must_use]
    pub fn hardware_in_flight(&self, vcpu: usize, intid: IntId) -> bool {
        Place::of(intid, PPI_IDS.start..SPI_IDS.end)
            .is_some_and(|place| self.bank(vcpu, place.bank).is_linked(place.bit()))
    }

    /// A physical interrupt that must be deactivated now, because the guest ended the virtual one in another way
    /// than by deactivating it. To be called until there is none. If it is a PPI, it is of the core on
    /// which this vCPU runs.
    pub fn take_released(&mut self, vcpu: usize) -> Option<IntId> {
        (0..BANKS).find_map(|bank| self.bank_mut(vcpu, bank).take_released()).map(IntId::from)
    }

    fn latch(&mut self, vcpu: usize, place: Place) -> VcpuSet {
        let groups = self.groups;
        let changed = self.bank_mut(vcpu, place.bank).latch(place.bit(), groups);
        self.concerned(vcpu, place.bank, changed)
    }

    /// What a write to `ICC_SGI1R_EL1` (`group1`) or `ICC_SGI0R_EL1` (not) does. With one security state there
    /// is nothing that `ICC_ASGI1R_EL1` could do (IHI 0069, 8.2 and 12.1.10).
    pub fn send_sgi(&mut self, vcpu: usize, value: u64, group1: bool) -> VcpuSet {
        if self.version != Version::V3 {
            return VcpuSet::EMPTY;
        }
        let place = Place { bank: 0, n: usize::from(low_byte(value >> 24 & 0xf)) };
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

/// The numbers of the bits that are set, lowest first.
fn bits(mut word: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let n = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(index(n))
    })
}

/// A number of 32 bits as an index: `usize` has 64 bits.
const fn index(number: u32) -> usize {
    number as usize
}

const fn low_word(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
