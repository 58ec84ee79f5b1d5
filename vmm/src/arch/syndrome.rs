//! Why the core came to EL2: `ESR_EL2` decoded (Arm ARM, D24.2.40 "ESR_EL2").

use core::fmt;

/// A value of `ESR_EL2` or `ESR_EL1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syndrome(pub u64);

/// Exception classes (`ESR_ELx.EC`) that are told apart here.
pub mod class {
    /// Unknown reason, such as an undefined instruction.
    pub const UNKNOWN: u64 = 0x00;
    /// Trapped WFI or WFE.
    pub const WAIT: u64 = 0x01;
    /// Access to FP/SIMD.
    pub const FP: u64 = 0x07;
    /// `HVC` in AArch64.
    pub const HVC: u64 = 0x16;
    /// `SMC` in AArch64.
    pub const SMC: u64 = 0x17;
    /// Trapped `MSR`, `MRS` or system instruction.
    pub const SYSTEM: u64 = 0x18;
    /// Instruction abort from a lower exception level.
    pub const INSTRUCTION_ABORT: u64 = 0x20;
    /// Data abort from a lower exception level.
    pub const DATA_ABORT: u64 = 0x24;
}

impl Syndrome {
    /// `HVC #0`: its class, and the bit that says that the instruction has 32 bits.
    pub const HYPERCALL: Self = Self(class::HVC << 26 | 1 << 25);

    /// The exception class.
    #[must_use]
    pub const fn class(self) -> u64 {
        self.0 >> 26 & 0x3f
    }

    /// The immediate of an `HVC`, `SVC`, `SMC` or `BRK`.
    #[must_use]
    pub const fn immediate(self) -> u64 {
        self.0 & 0xffff
    }

    /// Whether a trapped wait instruction is a `WFI`, rather than a `WFE` or one with a time-out (`ISS.TI`).
    #[must_use]
    pub const fn is_wfi(self) -> bool {
        self.0 & 0b11 == 0
    }

    /// Whether a data abort was caused by a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 >> 6 & 1 != 0
    }

    /// Whether an abort was caused by an access that the tables map, but do not permit.
    #[must_use]
    pub const fn is_permission_fault(self) -> bool {
        self.is_abort() && matches!(self.fault_status(), 0x0c..=0x0f)
    }

    /// Whether it is a data abort from a lower exception level.
    #[must_use]
    pub const fn is_data_abort(self) -> bool {
        self.class() == class::DATA_ABORT
    }

    /// The status code of an abort.
    const fn fault_status(self) -> u64 {
        self.0 & 0x3f
    }

    const fn class_name(self) -> &'static str {
        match self.class() {
            class::UNKNOWN => "undefined instruction",
            class::WAIT => "WFI or WFE",
            class::FP => "access to FP/SIMD",
            0x09 => "use of pointer authentication",
            0x0e => "illegal execution state",
            0x15 => "SVC",
            class::HVC => "HVC",
            class::SMC => "SMC",
            class::SYSTEM => "access to a trapped system register",
            0x19 => "access to SVE",
            0x1d => "access to SME",
            class::INSTRUCTION_ABORT | 0x21 => "instruction abort",
            0x22 => "misaligned PC",
            class::DATA_ABORT | 0x25 if self.is_write() => "data abort on a write",
            class::DATA_ABORT | 0x25 => "data abort on a read",
            0x26 => "misaligned stack pointer",
            0x2c => "floating-point exception",
            0x2f => "system error",
            0x30 | 0x31 => "breakpoint exception",
            0x32 | 0x33 => "software step",
            0x34 | 0x35 => "watchpoint",
            0x3c => "BRK instruction",
            _ => "exception of another class",
        }
    }

    const fn fault_name(self) -> &'static str {
        match self.fault_status() {
            0x00..=0x03 => "address size fault",
            0x04..=0x07 => "translation fault",
            0x08..=0x0b => "access flag fault",
            0x0c..=0x0f => "permission fault",
            0x10 => "external abort",
            0x11 => "tag check fault",
            0x13..=0x17 => "external abort on a table walk",
            0x21 => "alignment fault",
            0x30 => "TLB conflict",
            0x34 => "unsupported exclusive or atomic access",
            _ => "other fault",
        }
    }

    const fn is_abort(self) -> bool {
        matches!(self.class(), 0x20 | 0x21 | 0x24 | 0x25)
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())?;
        if self.is_abort() {
            write!(f, ", {}", self.fault_name())?;
            if self.fault_status() < 0x10 {
                write!(f, " at level {}", self.fault_status() & 3)?;
            }
        }
        write!(f, " (ESR {:#010x}, class {:#04x})", self.0, self.class())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_data_abort_says_what_and_where() {
        let syndrome = Syndrome(0x24 << 26 | 1 << 25 | 1 << 6 | 0x05);
        assert!(syndrome.is_write());
        assert_eq!(
            syndrome.to_string(),
            "data abort on a write, translation fault at level 1 (ESR 0x92000045, class 0x24)"
        );
    }

    #[test]
    fn only_an_abort_is_a_permission_fault() {
        assert!(Syndrome(class::DATA_ABORT << 26 | 0x0f).is_permission_fault());
        assert!(Syndrome(class::INSTRUCTION_ABORT << 26 | 0x0d).is_permission_fault());
        assert!(!Syndrome(class::DATA_ABORT << 26 | 0x07).is_permission_fault());
        assert!(!Syndrome(class::HVC << 26 | 0x0d).is_permission_fault());
    }

    #[test]
    fn an_undefined_instruction_has_class_zero() {
        assert!(Syndrome(1 << 25).to_string().starts_with("undefined instruction (ESR 0x02000000"));
    }
}
