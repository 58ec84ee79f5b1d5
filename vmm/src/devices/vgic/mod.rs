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
//! interrupt may come too late, as in hardware. An SPI that is made active by a register, and belonged to no
//! vCPU at the latest `sync`, belongs to the one to which it is routed.
//!
//! Choices that the architecture leaves open: a single security state (`GICD_CTLR.DS` = 1), affinity routing
//! always on in a GICv3, five bits of priority, PPIs level-sensitive, no LPIs and no message-based SPIs. vCPU n
//! has the affinity 0.0.0.n. An SPI with several targets, or of the 1-of-N model, goes to the first of them.
//! `GICR_WAKER` reads back what it should, but a sleeping redistributor delivers all the same.

mod bank;
mod delivery;
mod inputs;
mod list_register;
mod mmio;
mod registers;
mod sources;
#[cfg(test)]
mod tests;
mod vcpu_set;

use alloc::{boxed::Box, vec};
use bank::Bank;
use core::ops::Range;
pub use delivery::Fill;
pub use list_register::{ListRegister, Origin, State};
use sources::Sources;
pub use vcpu_set::VcpuSet;

/// An interrupt's number.
pub type IntId = u32;

/// vCPUs that a VM can have: as many as a GICv2 allows.
pub const MAX_VCPUS: usize = 8;
/// SPIs of a VM: interrupts 32 to 63. With those that each vCPU has for itself they are as many as a word has bits.
pub const SPIS: u32 = 32;

const PPI_IDS: Range<IntId> = 16..32;
const SPI_IDS: Range<IntId> = 32..32 + SPIS;
/// Interrupts that each vCPU has for itself.
const PRIVATE: usize = 32;
/// SGIs are edge-triggered, PPIs level-sensitive.
const PRIVATE_EDGES: u64 = 0x0000_ffff;

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
    /// One for each vCPU.
    private: Box<[Private]>,
    /// SPIs.
    shared: Bank,
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
    routed: u64,
    /// SPIs that are in this vCPU's list registers, or active because it acknowledged them.
    taken: u64,
    /// `GICR_WAKER.ProcessorSleep`.
    asleep: bool,
}

impl Private {
    const NEW: Self =
        Self { bank: Bank::new(PRIVATE_EDGES), sources: Sources::NONE, routed: 0, taken: 0, asleep: true };
}

/// Whose an interrupt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// A vCPU's own: an SGI or a PPI.
    Private,
    /// Of all vCPUs: an SPI.
    Shared,
}

/// Where an interrupt's state is: its bank, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    scope: Scope,
    n: usize,
}

impl Place {
    /// The place of an interrupt, if it is one of `allowed`.
    fn of(intid: IntId, allowed: Range<IntId>) -> Option<Self> {
        allowed.contains(&intid).then(|| Self::at(index(intid)))
    }

    /// The place of an interrupt that is there.
    const fn at(intid: usize) -> Self {
        match intid.checked_sub(PRIVATE) {
            None => Self { scope: Scope::Private, n: intid },
            Some(n) => Self { scope: Scope::Shared, n },
        }
    }

    const fn intid(self) -> usize {
        match self.scope {
            Scope::Private => self.n,
            Scope::Shared => PRIVATE + self.n,
        }
    }

    /// The bit of the interrupt in its bank.
    const fn bit(self) -> u64 {
        1 << self.n
    }
}

impl Vgic {
    /// A controller as it is after reset, for so many vCPUs (at most [`MAX_VCPUS`]).
    #[must_use]
    pub fn new(version: Version, vcpus: usize) -> Self {
        assert!((1..=MAX_VCPUS).contains(&vcpus), "a VM cannot have {vcpus} vCPUs");
        let mut vgic = Self {
            version,
            private: vec![Private::NEW; vcpus].into_boxed_slice(),
            shared: Bank::new(0),
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
        VcpuSet::first(self.private.len())
    }

    fn bank(&self, vcpu: usize, scope: Scope) -> &Bank {
        match scope {
            Scope::Private => &self.private[vcpu].bank,
            Scope::Shared => &self.shared,
        }
    }

    fn bank_mut(&mut self, vcpu: usize, scope: Scope) -> &mut Bank {
        match scope {
            Scope::Private => &mut self.private[vcpu].bank,
            Scope::Shared => &mut self.shared,
        }
    }

    fn priority(&self, vcpu: usize, place: Place) -> u8 {
        self.bank(vcpu, place.scope).priority(place.n)
    }

    /// The vCPUs that some interrupts concern: those to which they go and those that have them.
    fn concerned(&self, vcpu: usize, scope: Scope, interrupts: u64) -> VcpuSet {
        if interrupts == 0 {
            return VcpuSet::EMPTY;
        }
        if scope == Scope::Private {
            return VcpuSet::one(vcpu);
        }
        let mut set = VcpuSet::EMPTY;
        for (vcpu, private) in self.private.iter().enumerate() {
            if interrupts & (private.routed | private.taken) != 0 {
                set |= VcpuSet::one(vcpu);
            }
        }
        set
    }
}

/// The numbers of the bits that are set, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
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

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
