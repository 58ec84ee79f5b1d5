//! The state of 32 interrupts, one bit each.
//!
//! An interrupt that is *listed* stands in a list register, where the guest may acknowledge and deactivate it
//! while nobody looks. What is known here of a listed interrupt is what was true when it was listed; a
//! register that the guest writes meanwhile takes effect on it when the list register is taken back.
//!
//! An interrupt is *linked* while a physical interrupt stays active on its behalf.

use super::{
    Place,
    list_register::{ListRegister, Origin, State},
};

/// Implemented bits of a priority.
const PRIORITY_BITS: u8 = 0xf8;

/// The group enables of the distributor, each all ones or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Groups {
    pub(super) group0: u32,
    pub(super) group1: u32,
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

/// The state of 32 interrupts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bank {
    /// In group 1 rather than in group 0.
    group1: u32,
    enabled: u32,
    /// Edge-triggered rather than level-sensitive.
    pub(super) edge: u32,
    /// The input is asserted.
    line: u32,
    /// Pending because of an edge, an SGI, a linked interrupt or a register, until acknowledged or cleared.
    pub(super) latch: u32,
    pub(super) active: u32,
    /// In a list register.
    pub(super) listed: u32,
    /// The latch has moved into the list register, and comes back from there unless acknowledged.
    pub(super) carried: u32,
    /// A register has set what is in `active`, whatever the list register says.
    active_written: u32,
    linked: u32,
    /// Listed with the link (HW = 1): the guest's deactivation is the physical interrupt's.
    direct: u32,
    /// The physical interrupt is to be deactivated: the virtual one ended, but not by the guest's deactivation.
    released: u32,
    priority: [u8; 32],
    physical: [u16; 32],
}

impl Bank {
    pub(super) const fn new(edge: u32) -> Self {
        Self {
            group1: 0,
            enabled: 0,
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
            priority: [0; 32],
            physical: [0; 32],
        }
    }

    pub(super) const fn pending(&self) -> u32 {
        self.latch | self.carried | self.line & !self.edge
    }

    /// What may go to a CPU interface when it is pending.
    pub(super) const fn forwarded(&self, groups: Groups) -> u32 {
        self.enabled & (self.group1 & groups.group1 | !self.group1 & groups.group0)
    }

    pub(super) const fn in_group(&self, group1: bool) -> u32 {
        if group1 { self.group1 } else { !self.group1 }
    }

    /// What belongs to a vCPU: in a list register, or active.
    pub(super) const fn taken(&self) -> u32 {
        self.listed | self.active
    }

    pub(super) const fn priority(&self, n: usize) -> u8 {
        self.priority[n]
    }

    pub(super) const fn set_priority(&mut self, n: usize, priority: u8) {
        self.priority[n] = priority & PRIORITY_BITS;
    }

    pub(super) const fn read(&self, register: Bits) -> u32 {
        match register {
            Bits::Group => self.group1,
            Bits::SetEnable | Bits::ClearEnable => self.enabled,
            Bits::SetPending | Bits::ClearPending => self.pending(),
            Bits::SetActive | Bits::ClearActive => self.active,
        }
    }

    /// Writes a register. Returns the interrupts that a CPU interface must be told about.
    pub(super) fn write(&mut self, register: Bits, value: u32, groups: Groups) -> u32 {
        let before = (self.pending() & self.forwarded(groups), self.active);
        self.apply(register, value);
        let after = (self.pending() & self.forwarded(groups), self.active);
        let written = if register == Bits::Group { u32::MAX } else { value };
        before.0 ^ after.0 | before.1 ^ after.1 | written & self.listed
    }

    fn apply(&mut self, register: Bits, value: u32) {
        match register {
            Bits::Group => self.group1 = value,
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
    pub(super) const fn set_line(&mut self, bit: u32, high: bool, groups: Groups) -> u32 {
        if high == (self.line & bit != 0) {
            return 0;
        }
        self.line ^= bit;
        if high {
            self.latch |= bit & self.edge;
            bit & (self.forwarded(groups) | self.listed)
        } else {
            bit & self.listed & !self.edge
        }
    }

    /// Makes interrupts edge-triggered or level-sensitive. Returns those that a CPU interface must be told about.
    pub(super) const fn set_edge(&mut self, edge: u32, groups: Groups) -> u32 {
        let changed = self.edge ^ edge;
        self.edge = edge;
        changed & (self.line & self.forwarded(groups) | self.listed)
    }

    /// Makes interrupts pending. Returns those that a CPU interface must be told about.
    pub(super) const fn latch(&mut self, bits: u32, groups: Groups) -> u32 {
        self.latch |= bits;
        bits & (self.forwarded(groups) | self.listed)
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

    pub(super) const fn is_linked(&self, bit: u32) -> bool {
        self.linked & bit != 0
    }

    /// Lets go of the physical interrupts whose virtual ones are neither pending nor active any more.
    const fn release(&mut self) {
        let over = self.linked & !(self.latch | self.carried | self.active | self.listed);
        self.linked &= !over;
        self.released |= over;
    }

    /// A physical interrupt to be deactivated.
    pub(super) fn take_released(&mut self) -> Option<u16> {
        let n = super::bits(self.released).next()?;
        self.released &= self.released - 1;
        Some(self.physical[n])
    }

    /// Puts an interrupt into a list register; `pending` if it is to be acknowledged. Its latch may have been
    /// moved to `carried` before.
    pub(super) fn list(&mut self, place: Place, pending: bool, source: u8, groups: Groups) -> ListRegister {
        let (n, bit) = (place.n, place.bit());
        let active = self.active & bit != 0;
        let rest = self.latch | self.line & !self.edge;
        let origin = if self.is_linked(bit) && !(active && (pending || rest & bit != 0)) {
            self.direct |= bit;
            Origin::Hardware(u32::from(self.physical[n]))
        } else {
            // A maintenance interrupt is needed when something is left to do after the guest's deactivation:
            // to see what the line is then, to deliver what could not be listed now, to release the link.
            let eoi = (rest & self.forwarded(groups) | self.linked) & bit != 0;
            Origin::Software { eoi, source }
        };
        self.listed |= bit;
        ListRegister {
            intid: place.intid(),
            state: State::new(pending, active),
            priority: self.priority[n],
            group1: self.group1 & bit != 0,
            origin,
        }
    }

    /// Moves a latch into the list register.
    pub(super) const fn carry(&mut self, bit: u32) {
        self.carried |= self.latch & bit;
        self.latch &= !bit;
    }

    /// Takes an interrupt back from a list register. Returns whether its latch came back with it.
    pub(super) fn take_back(&mut self, bit: u32, state: State) -> bool {
        let unacknowledged = state.is_pending() && self.carried & bit != 0;
        if unacknowledged {
            self.latch |= bit;
        }
        if self.active_written & bit == 0 && state.is_active() != (self.active & bit != 0) {
            self.active ^= bit;
        }
        if state == State::Invalid {
            // The guest's deactivation went through to the physical interrupt.
            self.linked &= !(self.direct & bit);
        }
        for field in [&mut self.listed, &mut self.carried, &mut self.active_written, &mut self.direct] {
            *field &= !bit;
        }
        self.release();
        unacknowledged
    }
}
