//! What is reported of a VM that did what it may not.

use super::Vcpu;
use crate::arch::{context::GeneralRegisters, syndrome::Syndrome};
use core::fmt;

/// Why a VM cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// An access to an address that is not there, or not for that.
    Fault {
        /// What the access was.
        syndrome: Syndrome,
        /// The guest physical address.
        ipa: u64,
        /// The guest virtual address.
        address: u64,
    },
    /// The guest took an exception that it was not prepared for.
    Unhandled {
        /// Number of the vector.
        vector: u64,
        /// What the exception was.
        syndrome: Syndrome,
        /// Where.
        pc: u64,
        /// The fault address, if the exception has one.
        address: u64,
    },
    /// A system error.
    SystemError(Syndrome),
}

/// A crash together with the vCPU it happened on, as it is reported.
pub(super) struct Report<'a> {
    /// The vCPU.
    pub vcpu: &'a Vcpu,
    /// Why it stopped.
    pub crash: Crash,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vcpu, crash } = self;
        let registers = &vcpu.context.registers;
        write!(f, "vm '{}' crashed: vCPU {}: ", vcpu.vm.name, vcpu.index)?;
        let pc = match *crash {
            Crash::Fault { syndrome, ipa, address } => {
                write!(f, "{syndrome}\n  at IPA {ipa:#x}, virtual address {address:#x}")?;
                registers.pc
            }
            Crash::Unhandled { vector, syndrome, pc, address } => {
                write!(f, "unhandled {}: {syndrome}\n  fault address {address:#x}", vector_name(vector))?;
                pc
            }
            Crash::SystemError(syndrome) => {
                write!(f, "{syndrome}")?;
                registers.pc
            }
        };
        write!(f, "\n  pc {pc:016x}  pstate {:x}", registers.pstate)?;
        write!(f, "{}", GeneralRegisters(&registers.x))?;
        write_backtrace(f, vcpu, pc)
    }
}

/// What the vector of a number is for.
const fn vector_name(vector: u64) -> &'static str {
    match vector % 4 {
        0 => "exception",
        1 => "interrupt",
        2 => "fast interrupt",
        _ => "system error",
    }
}

/// The return addresses on the guest's stack, as far as its frame pointers lead.
fn write_backtrace(f: &mut fmt::Formatter<'_>, vcpu: &Vcpu, pc: u64) -> fmt::Result {
    const MAX_FRAMES: usize = 16;
    write!(f, "\n  backtrace: {pc:#x} {:#x}", vcpu.context.registers.x[30])?;
    let memory = &vcpu.vm.memory;
    let mut fp = vcpu.context.registers.x[29];
    for _ in 0..MAX_FRAMES {
        let (Ok(range), 0) = (memory.check(fp, 16), fp % 8) else { break };
        let mut record = [0; 16];
        memory.read(range, &mut record);
        let [next, link] = [0, 8].map(|at| u64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default()));
        if link == 0 || next <= fp {
            break;
        }
        write!(f, " {link:#x}")?;
        fp = next;
    }
    Ok(())
}
