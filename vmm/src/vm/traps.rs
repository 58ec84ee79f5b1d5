//! Accesses to system registers that trap.

use super::interrupts::Interrupts;
use crate::{
    arch::{
        cpu::LoadedVcpu,
        gic, identification,
        syndrome::Syndrome,
        system_access::{Register, SystemAccess},
    },
    devices::vgic::Version,
};

/// `ICC_SGI1R_EL1`: sends an SGI of group 1.
const ICC_SGI1R: Register = Register::new(3, 0, 12, 11, 5);
/// `ICC_ASGI1R_EL1`: sends one of the other security state's group 1, of which there is none.
const ICC_ASGI1R: Register = Register::new(3, 0, 12, 11, 6);
/// `ICC_SGI0R_EL1`: sends an SGI of group 0.
const ICC_SGI0R: Register = Register::new(3, 0, 12, 11, 7);
/// `ICC_SRE_EL1`: whether the CPU interface is system registers, as it always is.
const ICC_SRE: Register = Register::new(3, 0, 12, 12, 5);
/// `ACTLR_EL1`: implementation-defined controls.
const ACTLR: Register = Register::new(3, 0, 1, 0, 1);
/// The EL1 physical timer: `CNTP_TVAL_EL0`, `CNTP_CTL_EL0`, `CNTP_CVAL_EL0`.
const PHYSICAL_TIMER: [Register; 3] =
    [Register::new(3, 3, 14, 2, 0), Register::new(3, 3, 14, 2, 1), Register::new(3, 3, 14, 2, 2)];
/// `DC ISW`, `DC CSW`, `DC CISW`: cache maintenance by set and way.
const SET_WAY: [Register; 3] =
    [Register::new(1, 0, 7, 6, 2), Register::new(1, 0, 7, 10, 2), Register::new(1, 0, 7, 14, 2)];

/// Carries out an access, or makes the guest take an exception for it.
#[inline]
pub(super) fn system_register(
    vcpu: &mut LoadedVcpu<'_>,
    interrupts: &mut Interrupts<'_>,
    syndrome: Syndrome,
) {
    let access = SystemAccess::decode(syndrome);
    // What guests do often comes first. A GICv2 has no such register, and no SGI goes out.
    if access.register == ICC_SGI1R && !access.is_read && gic::version() == Version::V3 {
        interrupts.send_sgi(access.value(vcpu.registers()), true);
        return vcpu.skip_instruction();
    }
    let Some(value) = respond(vcpu, interrupts, access) else { return vcpu.inject_undefined() };
    access.complete(vcpu.registers(), value);
    vcpu.skip_instruction();
}

/// What an access reads, after it has done what a write does. `None`: there is no such register.
#[inline(never)]
fn respond(vcpu: &mut LoadedVcpu<'_>, interrupts: &mut Interrupts<'_>, access: SystemAccess) -> Option<u64> {
    /// `ICC_SRE_EL1`: `SRE`, `DFB`, `DIB`.
    const SYSTEM_REGISTERS: u64 = 0b111;
    /// `op0` of the debug registers.
    const DEBUG: u32 = 2;
    let gic = gic::version();
    let register = access.register;
    if let Some((crm, op2)) = register.identification() {
        return access.is_read.then(|| identification::read(crm, op2, gic));
    }
    match register {
        ICC_SGI0R if gic == Version::V3 && !access.is_read => {
            interrupts.send_sgi(access.value(vcpu.registers()), false);
            Some(0)
        }
        ICC_ASGI1R if gic == Version::V3 && !access.is_read => Some(0),
        ICC_SRE if gic == Version::V3 => Some(SYSTEM_REGISTERS),
        // No guest gets the physical timer: as it reads, it is off.
        _ if PHYSICAL_TIMER.contains(&register) => Some(0),
        // The memory of a VM is clean when it starts, and nothing but the VM looks at it: there is nothing that
        // whole caches would have to be written back for.
        _ if SET_WAY.contains(&register) => Some(0),
        ACTLR => Some(0),
        _ if register.op0() == DEBUG || register.is_performance_monitor() => Some(0),
        _ => None,
    }
}
