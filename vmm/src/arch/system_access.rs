//! Trapped accesses to system registers and system instructions (Arm ARM, "ISS encoding for an exception from
//! MSR, MRS, or System instruction execution in AArch64 state").

use super::{context::GuestRegisters, syndrome::Syndrome};

/// The encoding of a system register or instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u16);

impl Register {
    /// From the five numbers that follow `S` in its generic name.
    #[must_use]
    pub const fn new(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> Self {
        Self(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2)
    }

    /// `op0`.
    #[must_use]
    pub const fn op0(self) -> u16 {
        self.0 >> 14
    }

    /// `CRm` and `op2` of an identification register of the third group (`HCR_EL2.TID3`), if it is one.
    #[must_use]
    pub const fn identification(self) -> Option<(u16, u16)> {
        let (crm, op2) = (self.0 >> 3 & 0xf, self.0 & 7);
        if self.0 >> 7 == 3 << 7 && 1 <= crm && crm <= 7 { Some((crm, op2)) } else { None }
    }

    /// Whether it is of the performance monitors.
    #[must_use]
    pub const fn is_performance_monitor(self) -> bool {
        let (op0, op1, crn, crm) = (self.0 >> 14, self.0 >> 11 & 7, self.0 >> 7 & 0xf, self.0 >> 3 & 0xf);
        match (op0, op1, crn) {
            (3, 3, 9) => 12 <= crm && crm <= 14,
            (3, 0, 9) => crm == 14,
            (3, 3, 14) => crm >= 8,
            _ => false,
        }
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
    pub fn decode(Syndrome(esr): Syndrome) -> Self {
        let field = |shift: u32, bits: u32| {
            let [low, high, ..] = (esr >> shift).to_le_bytes();
            u16::from_le_bytes([low, high]) & ((1 << bits) - 1)
        };
        Self {
            register: Register::new(field(20, 2), field(14, 3), field(10, 4), field(1, 4), field(17, 3)),
            is_read: esr & 1 != 0,
            general: field(5, 5).to_le_bytes()[0],
        }
    }

    /// What the guest writes.
    #[must_use]
    pub fn value(self, registers: &GuestRegisters) -> u64 {
        registers.x.get(usize::from(self.general)).copied().unwrap_or(0)
    }

    /// Gives the guest what it reads; a write is done.
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
