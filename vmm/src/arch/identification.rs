//! The identification registers as guests see them: only what they really get.
//!
//! Fields of what is trapped or not switched between vCPUs read as "not implemented": pointer authentication,
//! SVE and SME, memory tagging, the performance monitors, statistical profiling, trace, activity monitors,
//! nested virtualization, and all that lives in registers the hypervisor does not know.

use super::registers::read_register;
use crate::devices::vgic::Version;

/// A 4-bit field at this place.
const fn field(shift: u32) -> u64 {
    0xf << shift
}

/// Several 4-bit fields.
const fn fields<const N: usize>(shifts: [u32; N]) -> u64 {
    let mut mask = 0;
    let mut index = 0;
    while index < N {
        mask |= field(shifts[index]);
        index += 1;
    }
    mask
}

/// `ID_AA64PFR0_EL1`: EL2, EL3, GIC, RAS, SVE, SEL2, MPAM, AMU, RME.
const PFR0_HIDDEN: u64 = fields([8, 12, 24, 28, 32, 36, 40, 44, 52]);
/// `ID_AA64PFR0_EL1.GIC`.
const PFR0_GIC: u32 = 24;
/// What guests see of `ID_AA64PFR1_EL1`: BT and SSBS.
const PFR1_SHOWN: u64 = fields([0, 4]);
/// What guests see of `ID_AA64DFR0_EL1`: the debug architecture, breakpoints and watchpoints, which read as zero.
const DFR0_SHOWN: u64 = fields([0, 12, 20, 28]);
/// `ID_AA64ISAR1_EL1`: APA, API, GPA, GPI, LS64.
const ISAR1_HIDDEN: u64 = fields([4, 8, 24, 28, 60]);
/// `ID_AA64ISAR2_EL1`: GPA3, APA3, MOPS, PAC_frac.
const ISAR2_HIDDEN: u64 = fields([8, 12, 16, 24]);
/// `ID_AA64MMFR0_EL1`: FGT, ECV.
const MMFR0_HIDDEN: u64 = fields([56, 60]);
/// `ID_AA64MMFR1_EL1`: VHE, LO, XNX, HCX, TIDCP1, CMOW, ECBHB is kept.
const MMFR1_HIDDEN: u64 = fields([8, 16, 28, 40, 52, 56]);
/// `ID_AA64MMFR2_EL1`: NV, E0PD and EVT stay out.
const MMFR2_HIDDEN: u64 = fields([24, 56, 60]);

/// What a guest reads from the identification register `S3_0_C0_C<crm>_<op2>`.
#[must_use]
pub fn read(crm: u32, op2: u32, gic: Version) -> u64 {
    match (crm, op2) {
        (4, 0) => {
            let system_registers = if gic == Version::V3 { 1 << PFR0_GIC } else { 0 };
            read_register!("id_aa64pfr0_el1") & !PFR0_HIDDEN | system_registers
        }
        (4, 1) => read_register!("id_aa64pfr1_el1") & PFR1_SHOWN,
        (5, 0) => read_register!("id_aa64dfr0_el1") & DFR0_SHOWN,
        (6, 0) => read_register!("id_aa64isar0_el1"),
        (6, 1) => read_register!("id_aa64isar1_el1") & !ISAR1_HIDDEN,
        (6, 2) => read_register!("s3_0_c0_c6_2") & !ISAR2_HIDDEN,
        (7, 0) => read_register!("id_aa64mmfr0_el1") & !MMFR0_HIDDEN,
        (7, 1) => read_register!("id_aa64mmfr1_el1") & !MMFR1_HIDDEN,
        (7, 2) => read_register!("s3_0_c0_c7_2") & !MMFR2_HIDDEN,
        (1..=3, _) => read_aarch32(crm, op2),
        _ => 0,
    }
}

/// The registers that describe AArch32, of which guests may use EL0 where the core has it.
fn read_aarch32(crm: u32, op2: u32) -> u64 {
    /// `ID_DFR0_EL1`: the performance monitors.
    const DFR0_MONITORS: u64 = field(24);
    match (crm, op2) {
        (1, 0) => read_register!("s3_0_c0_c1_0"),
        (1, 1) => read_register!("s3_0_c0_c1_1"),
        (1, 2) => read_register!("s3_0_c0_c1_2") & !DFR0_MONITORS,
        (1, 4) => read_register!("s3_0_c0_c1_4"),
        (1, 5) => read_register!("s3_0_c0_c1_5"),
        (1, 6) => read_register!("s3_0_c0_c1_6"),
        (1, 7) => read_register!("s3_0_c0_c1_7"),
        (2, 0) => read_register!("s3_0_c0_c2_0"),
        (2, 1) => read_register!("s3_0_c0_c2_1"),
        (2, 2) => read_register!("s3_0_c0_c2_2"),
        (2, 3) => read_register!("s3_0_c0_c2_3"),
        (2, 4) => read_register!("s3_0_c0_c2_4"),
        (2, 5) => read_register!("s3_0_c0_c2_5"),
        (2, 6) => read_register!("s3_0_c0_c2_6"),
        (2, 7) => read_register!("s3_0_c0_c2_7"),
        (3, 0) => read_register!("s3_0_c0_c3_0"),
        (3, 1) => read_register!("s3_0_c0_c3_1"),
        (3, 2) => read_register!("s3_0_c0_c3_2"),
        (3, 4) => read_register!("s3_0_c0_c3_4"),
        _ => 0,
    }
}
