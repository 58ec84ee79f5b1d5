//! What of a vCPU lives in memory while another one, or the hypervisor, has the core.

use crate::memory::stage2::Page;
use core::fmt;
use tinyvmm_abi::VECTORS_BASE;

/// The registers that every exit saves: general purpose, PC and PSTATE.
///
/// The offsets are known to the assembly of `world_switch.rs` through `offset_of!`.
#[repr(C, align(16))]
#[derive(Debug, Clone, Default)]
pub struct GuestRegisters {
    /// `X0` to `X30`.
    pub x: [u64; 31],
    /// Padding that keeps `pc` and `pstate` in one aligned pair.
    reserved: u64,
    /// Address of the next instruction (`ELR_EL2`).
    pub pc: u64,
    /// Processor state (`SPSR_EL2`).
    pub pstate: u64,
}

/// `X0` to `X30` as a report shows them, four to a line.
pub struct GeneralRegisters<'a>(pub &'a [u64; 31]);

impl fmt::Display for GeneralRegisters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            let gap = if index % 4 == 0 { "\n " } else { "" };
            write!(f, "{gap} x{index:<2} {value:016x}")?;
        }
        Ok(())
    }
}

/// Declares the registers of EL1 and EL0 that belong to a guest, and how they are switched: in groups, so that they go
/// between memory and core in pairs.
macro_rules! el1_registers {
    ($([$($(#[$doc:meta])* $field:ident = $register:literal,)*])*) => {
        /// The EL1 and EL0 system registers that a guest owns. They are switched only when another
        /// vCPU gets the core.
        #[derive(Debug, Clone, Default)]
        pub struct El1Registers {
            /// System control.
            pub sctlr: u64,
            /// Translation control.
            pub tcr: u64,
            $($($(#[$doc])* pub $field: u64,)*)*
        }

        #[cfg(target_os = "none")]
        impl El1Registers {
            /// Takes over what is in the core's registers.
            pub(super) fn save(&mut self) {
                use super::registers::read_register;
                self.sctlr = read_register!("sctlr_el1");
                self.tcr = read_register!("tcr_el1");
                $(
                    $(let $field: u64;)*
                    // SAFETY: reading them has no side effect.
                    unsafe {
                        core::arch::asm!(
                            $(concat!("mrs {", stringify!($field), "}, ", $register),)*
                            $($field = out(reg) $field,)*
                            options(nomem, nostack, preserves_flags),
                        );
                    }
                    $(self.$field = $field;)*
                )*
            }

            /// Keeps the core from translating anything with registers of two guests: a Cortex-A72 may walk
            /// their tables at any time (erratum 1319367). With the MMU on and walks off, it cannot.
            pub(super) fn hold_translation() {
                use super::registers::{isb, write_register};
                const EPD0_EPD1: u64 = 1 << 7 | 1 << 23;
                const MMU_ON: u64 = SCTLR_EL1_RESET | 1;
                // SAFETY: no guest runs before they have their values again.
                unsafe {
                    write_register!("tcr_el1", EPD0_EPD1);
                    isb();
                    write_register!("sctlr_el1", MMU_ON);
                    isb();
                }
            }

            /// Lets the core translate again, with the tables of this guest, all else of which is in place.
            pub(super) fn release_translation(&self) {
                use super::registers::{isb, write_register};
                isb();
                // SAFETY: EL2 uses registers of its own.
                unsafe {
                    write_register!("sctlr_el1", self.sctlr);
                    isb();
                    write_register!("tcr_el1", self.tcr);
                }
            }

            /// Puts the saved values into the core's registers, while translation is held.
            pub(super) fn restore(&self) {
                $(
                    // SAFETY: none of these registers has an effect on EL2, which uses its own.
                    unsafe {
                        core::arch::asm!(
                            $(concat!("msr ", $register, ", {", stringify!($field), "}"),)*
                            $($field = in(reg) self.$field,)*
                            options(nostack, preserves_flags),
                        );
                    }
                )*
            }
        }
    };
}

el1_registers! {
    [
        /// Stack pointer of EL0.
        sp_el0 = "sp_el0",
        /// Stack pointer of EL1.
        sp_el1 = "sp_el1",
        /// Architectural feature access control.
        cpacr = "cpacr_el1",
        /// Translation table base 0.
        ttbr0 = "ttbr0_el1",
        /// Translation table base 1.
        ttbr1 = "ttbr1_el1",
        /// Memory attributes.
        mair = "mair_el1",
    ]
    [
        /// Auxiliary memory attributes.
        amair = "amair_el1",
        /// Vector base address.
        vbar = "vbar_el1",
        /// Exception syndrome.
        esr = "esr_el1",
        /// Auxiliary fault status 0.
        afsr0 = "afsr0_el1",
        /// Auxiliary fault status 1.
        afsr1 = "afsr1_el1",
        /// Fault address.
        far = "far_el1",
        /// Exception link register.
        elr = "elr_el1",
        /// Saved program status.
        spsr = "spsr_el1",
        /// Physical address of an address translation instruction.
        par = "par_el1",
    ]
    [
        /// Context ID.
        contextidr = "contextidr_el1",
        /// Thread pointer of EL0.
        tpidr_el0 = "tpidr_el0",
        /// Read-only thread pointer of EL0.
        tpidrro_el0 = "tpidrro_el0",
        /// Thread pointer of EL1.
        tpidr_el1 = "tpidr_el1",
        /// Cache size selection.
        csselr = "csselr_el1",
        /// Timer access of EL0.
        cntkctl = "cntkctl_el1",
        /// Virtual timer control.
        cntv_ctl = "cntv_ctl_el0",
        /// Virtual timer compare value.
        cntv_cval = "cntv_cval_el0",
    ]
}

/// The FP/SIMD registers. EL2 never uses them; they are switched when a vCPU first uses them after
/// it got the core.
#[repr(C, align(16))]
#[derive(Debug, Clone, Default)]
pub struct FpRegisters {
    /// `V0` to `V31`.
    pub v: [u128; 32],
    /// Floating-point control.
    pub fpcr: u64,
    /// Floating-point status.
    pub fpsr: u64,
}

/// `PSTATE` of a guest at its start: EL1 with its own stack pointer, all interrupts masked.
pub const PSTATE_EL1H_MASKED: u64 = 0b11_1100_0101;

/// `SCTLR_EL1` of a guest at its start: the bits that are RES1 in Armv8.0, MMU off.
pub const SCTLR_EL1_RESET: u64 = 0x30d0_0800;

/// What of a vCPU's virtual CPU interface has to survive while another one has the core.
#[derive(Debug, Clone, Copy, Default)]
pub struct InterruptInterface {
    /// The guest's controls: `ICH_VMCR_EL2` or `GICH_VMCR`.
    pub vmcr: u32,
    /// Priorities that are active: group 0 and 1 of a GICv3; the first one of a GICv2.
    pub active_priorities: [u32; 2],
    /// Nothing was pending or active when it lost the core: no list register was in use, and no physical interrupt
    /// active on its behalf.
    pub quiet: bool,
}

impl InterruptInterface {
    /// The guest's priority mask, on 8 bits (`VPMR` of a GICv3; of a GICv2 with its 5 bits).
    #[must_use]
    pub fn priority_mask(self) -> u8 {
        self.vmcr.to_be_bytes()[0]
    }
}

/// How a guest's own addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage1 {
    /// None: it runs on guest physical addresses, and all of memory is cacheable (`HCR_EL2.DC`).
    #[default]
    Off,
    /// Its own tables, and its own caches to turn on.
    Own,
}

/// All registers of a vCPU. Those that every switch moves come first, where instructions that move two at once reach.
#[repr(C)]
#[derive(Debug, Clone, Default)]
pub struct VcpuContext {
    /// What every exit saves.
    pub registers: GuestRegisters,
    pub(super) el1: El1Registers,
    pub(super) fp: FpRegisters,
    pub(super) vmpidr: u64,
    /// Whether the guest has stage 1 tables of its own.
    pub(super) stage1: Stage1,
    /// Ticks by which the guest's clock is behind the physical one.
    pub(super) clock_offset: u64,
    /// Its virtual CPU interface.
    pub interface: InterruptInterface,
}

impl VcpuContext {
    /// Registers of vCPU `index` as it starts at `entry` on the `tiny` machine, with `vectors` to catch what the
    /// guest does not.
    #[must_use]
    pub fn new(index: u8, entry: u64, stack: u64, vectors: u64) -> Self {
        /// `MPIDR_EL1` bit 31 is RES1.
        const MPIDR_RES1: u64 = 1 << 31;
        Self {
            registers: GuestRegisters { pc: entry, pstate: PSTATE_EL1H_MASKED, ..GuestRegisters::default() },
            el1: El1Registers {
                sp_el1: stack,
                sctlr: SCTLR_EL1_RESET,
                vbar: vectors,
                ..El1Registers::default()
            },
            vmpidr: MPIDR_RES1 | u64::from(index),
            ..Self::default()
        }
    }

    /// Registers of vCPU `index` of a board, as after a reset. It gets its PC when it is turned on.
    #[must_use]
    pub fn of_board(index: u8) -> Self {
        Self { stage1: Stage1::Own, ..Self::new(index, 0, 0, 0) }
    }

    /// Starts the guest's clock at 0 when the physical one shows `now`.
    pub fn start_clock(&mut self, now: u64) {
        self.clock_offset = now;
    }

    /// Takes the registers back to what they are after a reset, but for those of the interrupt interface and the
    /// clock, which go on.
    pub fn reset(&mut self, registers: GuestRegisters) {
        let Self { vmpidr, stage1, clock_offset, interface, .. } = *self;
        let el1 = El1Registers { sctlr: SCTLR_EL1_RESET, ..El1Registers::default() };
        *self = Self { registers, el1, fp: FpRegisters::default(), vmpidr, stage1, clock_offset, interface };
    }

    /// Its affinity, as in `MPIDR_EL1`.
    #[must_use]
    pub fn mpidr(&self) -> u64 {
        self.vmpidr
    }

    /// The stack pointer that the guest was using, as of when it last lost the core.
    #[must_use]
    pub fn stack_pointer(&self) -> u64 {
        const SP_SELECT: u64 = 1 << 0;
        if self.registers.pstate & SP_SELECT != 0 { self.el1.sp_el1 } else { self.el1.sp_el0 }
    }
}

/// Offset from `VBAR_EL1` of the vector for a synchronous exception taken in state `pstate`.
#[must_use]
pub const fn vector_offset(pstate: u64) -> u64 {
    const AARCH32: u64 = 1 << 4;
    if pstate & AARCH32 != 0 {
        return 0x600;
    }
    match pstate & 0xf {
        0b0101 => 0x200, // EL1h
        0b0100 => 0x000, // EL1t
        _ => 0x400,      // EL0
    }
}

/// Distance between two exception vectors in bytes.
const VECTOR_SPACING: u64 = 0x80;
/// Immediate of the `HVC` at the first of the initial vectors; the next ones count on.
const VECTOR_IMMEDIATE: u16 = 0x100;

/// The page of exception vectors that a guest of the `tiny` machine starts with: each is an `HVC` that says
/// which vector it is.
pub static INITIAL_VECTORS: Page = {
    const WORDS_APART: usize = 32;
    assert!(WORDS_APART as u64 * 4 == VECTOR_SPACING);
    let mut code = [0; 1024];
    let mut vector = 0;
    while vector < 16 {
        code[vector as usize * WORDS_APART] = hvc(VECTOR_IMMEDIATE + vector);
        vector += 1;
    }
    Page(code)
};

/// The instruction `HVC #immediate` (Arm ARM, C6.2.135).
const fn hvc(immediate: u16) -> u32 {
    0xd400_0002 | (immediate as u32) << 5
}

/// Which of the [`INITIAL_VECTORS`] an `HVC #immediate` at address `pc` is, if any.
#[must_use]
pub fn initial_vector(pc: u64, immediate: u64) -> Option<u64> {
    let vector = immediate.checked_sub(u64::from(VECTOR_IMMEDIATE))?;
    (vector < 16 && pc == VECTORS_BASE + vector * VECTOR_SPACING).then_some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_vectors_are_told_from_other_hvcs() {
        assert_eq!(INITIAL_VECTORS.0[0x200 / 4], 0xd400_2082, "HVC #0x104");
        assert_eq!(initial_vector(VECTORS_BASE + 0x200, 0x104), Some(4));
        assert_eq!(initial_vector(VECTORS_BASE + 0x200, 0x105), None);
        assert_eq!(initial_vector(0x1_0000, 0x104), None);
        assert_eq!(initial_vector(VECTORS_BASE + 16 * 0x80, 0x110), None);
        assert_eq!(initial_vector(VECTORS_BASE, 1), None);
    }

    #[test]
    fn exceptions_go_to_the_vector_of_the_state_they_come_from() {
        assert_eq!(vector_offset(PSTATE_EL1H_MASKED), 0x200);
        assert_eq!(vector_offset(0b0100), 0);
        assert_eq!(vector_offset(0), 0x400);
        assert_eq!(vector_offset(0b1_0000), 0x600);
    }
}
