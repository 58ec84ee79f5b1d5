//! The state of up to 64 interrupts, one bit each.
//!
//! An interrupt that is *listed* stands in a list register, where the guest may acknowledge and deactivate it
//! while nobody looks. What is known here of a listed interrupt is what was true when it was listed; a
//! register that the guest writes meanwhile takes effect on it when the list register is taken back.
//!
//! An interrupt is *linked* while a physical interrupt stays active on its behalf.

use super::{
    IntId, Place,
    list_register::{ListRegister, Origin, State},
};
use crate::word::low_word;

/// Implemented bits of a priority.
const PRIORITY_BITS: u8 = 0xf8;

/// The group enables of the distributor, each all ones or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Groups {
    pub(super) group0: u64,
    pub(super) group1: u64,
}

/// The registers that have one bit for each interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
}

/// The state of up to 64 interrupts: those of a vCPU alone, or those that are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bank {
    groups: Groups,
    /// In group 1 rather than in group 0.
    group1: u64,
    enabled: u64,
    /// Enabled, as is the group: what goes to a CPU interface when it is pending.
    pub(super) forwarded: u64,
    /// Edge-triggered rather than level-sensitive.
    pub(super) edge: u64,
    /// The input is asserted.
    line: u64,
    /// Pending because of an edge, an SGI, a linked interrupt or a register, until acknowledged or cleared.
    pub(super) latch: u64,
    pub(super) active: u64,
    /// In a list register.
    pub(super) listed: u64,
    /// The latch has moved into the list register, and comes back from there unless acknowledged.
    pub(super) carried: u64,
    /// A register has set what is in `active`, whatever the list register says.
    active_written: u64,
    linked: u64,
    /// Listed with the link (HW = 1): the guest's deactivation is the physical interrupt's.
    direct: u64,
    /// The physical interrupt is to be deactivated: the virtual one ended, but not by the guest's deactivation.
    released: u64,
    priority: [u8; 64],
    physical: [u16; 64],
}

impl Bank {
    pub(super) const fn new(edge: u64) -> Self {
        Self {
            groups: Groups { group0: 0, group1: 0 },
            group1: 0,
            enabled: 0,
            forwarded: 0,
            edge,
            line: 0,
            latch: 0,
            active: 0,
            listed: 0,
            carried: 0,
            active_written: 0,
            linked: 0,
            direct: 0,
            released: 0,
            priority: [0; 64],
            physical: [0; 64],
        }
    }

    pub(super) const fn pending(&self) -> u64 {
        self.latch | self.carried | self.line & !self.edge
    }

    /// Enables groups.
    pub(super) const fn set_groups(&mut self, groups: Groups) {
        self.groups = groups;
        self.update_forwarded();
    }

    pub(super) const fn groups(&self) -> Groups {
        self.groups
    }

    const fn update_forwarded(&mut self) {
        self.forwarded =
            self.enabled & (self.group1 & self.groups.group1 | !self.group1 & self.groups.group0);
    }

    pub(super) const fn in_group(&self, group1: bool) -> u64 {
        if group1 { self.group1 } else { !self.group1 }
    }

    /// What belongs to a vCPU: in a list register, or active.
    pub(super) const fn taken(&self) -> u64 {
        self.listed | self.active
    }

    /// What a CPU interface knows of, or should.
    pub(super) const fn offered(&self) -> u64 {
        self.taken() | self.pending() & self.forwarded
    }

    pub(super) const fn priority(&self, n: usize) -> u8 {
        self.priority[n]
    }

    pub(super) const fn set_priority(&mut self, n: usize, priority: u8) {
        self.priority[n] = priority & PRIORITY_BITS;
    }

    pub(super) const fn read(&self, register: Bits) -> u64 {
        match register {
            Bits::Group => self.group1,
            Bits::SetEnable | Bits::ClearEnable => self.enabled,
            Bits::SetPending | Bits::ClearPending => self.pending(),
            Bits::SetActive | Bits::ClearActive => self.active,
        }
    }

    /// Writes the part of a register that `mask` says. Returns the interrupts that a CPU interface must be told
    /// about.
    pub(super) fn write(&mut self, register: Bits, value: u64, mask: u64) -> u64 {
        let before = (self.pending() & self.forwarded, self.active);
        self.apply(register, value & mask, mask);
        self.update_forwarded();
        let after = (self.pending() & self.forwarded, self.active);
        let written = if register == Bits::Group { mask } else { value & mask };
        before.0 ^ after.0 | before.1 ^ after.1 | written & self.listed
    }

    fn apply(&mut self, register: Bits, value: u64, mask: u64) {
        match register {
            Bits::Group => self.group1 = self.group1 & !mask | value,
            Bits::SetEnable => self.enabled |= value,
            Bits::ClearEnable => self.enabled &= !value,
            Bits::SetPending => self.latch |= value,
            Bits::ClearPending => {
                self.latch &= !value;
                self.carried &= !value;
                self.release();
            }
            Bits::SetActive => {
                self.active |= value;
                self.active_written |= value & self.listed;
            }
            Bits::ClearActive => {
                self.active &= !value;
                self.active_written |= value & self.listed;
                self.release();
            }
        }
    }

    /// Asserts an input or not. Returns what a CPU interface must be told about.
    pub(super) const fn set_line(&mut self, bit: u64, high: bool) -> u64 {
        if high == (self.line & bit != 0) {
            return 0;
        }
        self.line ^= bit;
        if high {
            self.latch |= bit & self.edge;
            bit & (self.forwarded | self.listed)
        } else {
            bit & self.listed & !self.edge
        }
    }

    /// Makes interrupts edge-triggered or level-sensitive. Returns those that a CPU interface must be told about.
    pub(super) const fn set_edge(&mut self, edge: u64) -> u64 {
        let changed = self.edge ^ edge;
        self.edge = edge;
        changed & (self.line & self.forwarded | self.listed)
    }

    /// Makes interrupts pending. Returns those that a CPU interface must be told about.
    pub(super) const fn latch(&mut self, bits: u64) -> u64 {
        self.latch |= bits;
        bits & (self.forwarded | self.listed)
    }

    /// Links an interrupt to a physical one that is active from now on.
    pub(super) const fn link(&mut self, n: usize, physical: u16) {
        let bit = 1 << n;
        self.linked |= bit;
        // It would not have come if an earlier one still was in flight: that one is over, which the list
        // register has not told yet.
        self.direct &= !bit;
        self.physical[n] = physical;
    }

    pub(super) const fn is_linked(&self, bit: u64) -> bool {
        self.linked & bit != 0
    }

    /// Lets go of the physical interrupts whose virtual ones are neither pending nor active any more.
    const fn release(&mut self) {
        let over = self.linked & !(self.latch | self.carried | self.active | self.listed);
        self.linked &= !over;
        self.released |= over;
    }

    /// A physical interrupt to be deactivated.
    #[inline]
    pub(super) fn take_released(&mut self) -> Option<u16> {
        if self.released == 0 {
            return None;
        }
        let n = super::index(self.released.trailing_zeros());
        self.released &= self.released - 1;
        Some(self.physical[n])
    }

    /// Puts an interrupt into a list register; `pending` if it is to be acknowledged. Its latch may have been
    /// moved to `carried` before.
    #[inline]
    pub(super) fn list(&mut self, place: Place, pending: bool, source: u8) -> ListRegister {
        let (n, bit) = (place.n, place.bit());
        let active = self.active & bit != 0;
        let rest = self.latch | self.line & !self.edge;
        let origin = if self.is_linked(bit) && !(active && (pending || rest & bit != 0)) {
            self.direct |= bit;
            Origin::Hardware(IntId::from(self.physical[n]))
        } else {
            // A maintenance interrupt is needed when something is left to do after the guest's deactivation:
            // to see what the line is then, to deliver what could not be listed now, to release the link.
            let eoi = (rest & self.forwarded | self.linked) & bit != 0;
            Origin::Software { eoi, source }
        };
        self.listed |= bit;
        ListRegister {
            intid: low_word(place.intid() as u64),
            state: State::new(pending, active),
            priority: self.priority[n],
            group1: self.group1 & bit != 0,
            origin,
        }
    }

    /// Moves a latch into the list register.
    pub(super) const fn carry(&mut self, bit: u64) {
        self.carried |= self.latch & bit;
        self.latch &= !bit;
    }

    /// Takes interrupts back from list registers, where these are pending and those active. Returns those
    /// whose latch came back with them.
    pub(super) const fn take_back(&mut self, listed: u64, pending: u64, active: u64) -> u64 {
        let unacknowledged = self.carried & pending;
        self.latch |= unacknowledged;
        let told = listed & !self.active_written;
        self.active = self.active & !told | active & told;
        // The guest's deactivation went through to the physical interrupt.
        self.linked &= !(self.direct & listed & !(pending | active));
        self.listed &= !listed;
        self.carried &= !listed;
        self.active_written &= !listed;
        self.direct &= !listed;
        self.release();
        unacknowledged
    }
}
