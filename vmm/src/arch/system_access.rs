//! Trapped accesses to system registers and system instructions (Arm ARM, "ISS encoding for an exception from
//! MSR, MRS, or System instruction execution in AArch64 state").

use super::{context::GuestRegisters, syndrome::Syndrome};
use crate::word::low_word;

/// The encoding of a system register or instruction, its fields where a syndrome has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    /// From the five numbers that follow `S` in its generic name.
    #[must_use]
    pub const fn new(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> Self {
        Self(op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1)
    }

    /// `op0`.
    #[must_use]
    pub const fn op0(self) -> u32 {
        self.0 >> 20
    }

    const fn op1(self) -> u32 {
        self.0 >> 14 & 7
    }

    const fn crn(self) -> u32 {
        self.0 >> 10 & 0xf
    }

    const fn crm(self) -> u32 {
        self.0 >> 1 & 0xf
    }

    const fn op2(self) -> u32 {
        self.0 >> 17 & 7
    }

    /// `CRm` and `op2` of an identification register of the third group (`HCR_EL2.TID3`), if it is one.
    #[must_use]
    pub const fn identification(self) -> Option<(u32, u32)> {
        match (self.op0(), self.op1(), self.crn(), self.crm()) {
            (3, 0, 0, crm @ 1..=7) => Some((crm, self.op2())),
            _ => None,
        }
    }

    /// Whether it is of the performance monitors.
    #[must_use]
    pub const fn is_performance_monitor(self) -> bool {
        matches!(
            (self.op0(), self.op1(), self.crn(), self.crm()),
            (3, 3, 9, 12..=14) | (3, 0, 9, 14) | (3, 3, 14, 8..)
        )
    }
}

/// An access that trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemAccess {
    /// What was accessed.
    pub register: Register,
    /// Whether it was read.
    pub is_read: bool,
    /// Number of the general purpose register: 31 is `XZR`.
    general: u8,
}

impl SystemAccess {
    /// Reads the syndrome of a trapped access.
    #[must_use]
    #[inline]
    pub const fn decode(Syndrome(esr): Syndrome) -> Self {
        /// All fields of a [`Register`].
        const REGISTER: u32 = Register::new(3, 7, 15, 15, 7).0;
        Self {
            register: Register(low_word(esr) & REGISTER),
            is_read: esr & 1 != 0,
            general: (esr >> 5).to_le_bytes()[0] & 31,
        }
    }

    /// What the guest writes.
    #[inline]
    #[must_use]
    pub fn value(self, registers: &GuestRegisters) -> u64 {
        registers.x.get(usize::from(self.general)).copied().unwrap_or(0)
    }

    /// Gives the guest what it reads; a write is done.
    #[inline]
    pub fn complete(self, registers: &mut GuestRegisters, value: u64) {
        if let (true, Some(register)) = (self.is_read, registers.x.get_mut(usize::from(self.general))) {
            *register = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_an_access() {
        // MRS X5, ID_AA64PFR0_EL1 (S3_0_C0_C4_0).
        let access = SystemAccess::decode(Syndrome(0x18 << 26 | 1 << 25 | 3 << 20 | 5 << 5 | 4 << 1 | 1));
        assert_eq!(access.register, Register::new(3, 0, 0, 4, 0));
        assert_eq!(access.register.identification(), Some((4, 0)));
        let mut registers = GuestRegisters::default();
        access.complete(&mut registers, 7);
        assert_eq!((access.is_read, registers.x[5]), (true, 7));
    }

    #[test]
    fn the_zero_register_reads_as_zero_and_takes_nothing() {
        // MSR S3_0_C12_C11_5, XZR (ICC_SGI1R_EL1).
        let access = SystemAccess::decode(Syndrome(3 << 20 | 5 << 17 | 12 << 10 | 31 << 5 | 11 << 1));
        assert_eq!(access.register, Register::new(3, 0, 12, 11, 5));
        let mut registers = GuestRegisters::default();
        registers.x = [9; 31];
        assert_eq!(access.value(&registers), 0);
        access.complete(&mut registers, 1);
        assert_eq!(registers.x, [9; 31]);
    }

    #[test]
    fn knows_groups_of_registers() {
        assert!(Register::new(3, 3, 9, 12, 0).is_performance_monitor(), "PMCR_EL0");
        assert!(Register::new(3, 3, 14, 15, 7).is_performance_monitor(), "PMCCFILTR_EL0");
        assert!(!Register::new(3, 3, 14, 2, 1).is_performance_monitor(), "CNTP_CTL_EL0");
        assert_eq!(Register::new(3, 0, 0, 0, 5).identification(), None, "MPIDR_EL1");
        assert_eq!(Register::new(3, 0, 1, 1, 0).identification(), None);
    }
}
