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
pub struct Report<'a> {
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
        let sp = vcpu.context.stack_pointer();
        write!(f, "\n  pc {pc:016x}  sp {sp:016x}  pstate {:x}", registers.pstate)?;
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
        let [next, link] =
            [0, 8].map(|at| u64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default()));
        if link == 0 || next <= fp {
            break;
        }
        write!(f, " {link:#x}")?;
        fp = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::frames::tests::frames,
        vm::{VmId, tests},
    };
    use alloc::{boxed::Box, string::ToString, sync::Arc};

    /// A vCPU whose RAM holds two frame records, the second of which leads back to the first.
    fn vcpu() -> Box<Vcpu> {
        let vm = tests::vm(VmId(3), 4096, frames(64));
        for (at, next, link) in [(0x100, 0x200, 0xaaa0), (0x200, 0x100, 0xbbb0_u64)] {
            vm.memory.write(vm.memory.check(at, 8).unwrap(), &u64::to_le_bytes(next));
            vm.memory.write(vm.memory.check(at + 8, 8).unwrap(), &link.to_le_bytes());
        }
        let mut vcpu = tests::vcpu(Arc::new(vm), 8);
        vcpu.context.registers.x[29] = 0x100;
        vcpu.context.registers.x[30] = 0x1_0040;
        vcpu
    }

    #[test]
    fn a_fault_is_reported_with_everything() {
        let crash = Crash::Fault { syndrome: Syndrome(0x9200_0045), ipa: 0x4000_0000, address: 0x4000_0000 };
        let text = Report { vcpu: &vcpu(), crash }.to_string();
        for part in [
            "vm 'py' crashed: vCPU 0: data abort on a write, translation fault at level 1",
            "at IPA 0x40000000",
            "pc 0000000000010000  sp 0000000000001000  pstate 3c5",
            "x29 0000000000000100",
            "backtrace: 0x10000 0x10040 0xaaa0",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn a_backtrace_ends_whatever_the_frame_pointer_is() {
        let mut vcpu = vcpu();
        for fp in [0, 1, 0xff8, 0xffc, 0x1000, u64::MAX, u64::MAX - 15] {
            vcpu.context.registers.x[29] = fp;
            let crash = Crash::SystemError(Syndrome(0xbe00_0000));
            assert!(Report { vcpu: &vcpu, crash }.to_string().contains("backtrace: 0x10000 0x10040"));
        }
    }

    #[test]
    fn an_unhandled_exception_is_reported_where_it_happened() {
        let crash = Crash::Unhandled { vector: 4, syndrome: Syndrome(1 << 25), pc: 0x1_2340, address: 0 };
        let text = Report { vcpu: &vcpu(), crash }.to_string();
        assert!(text.contains("unhandled exception: undefined instruction"), "{text}");
        assert!(text.contains("pc 0000000000012340"), "{text}");
    }
}
