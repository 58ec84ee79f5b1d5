//! A core as the hypervisor sets it up, and the vCPU that has it.

use super::{
    context::{El1Registers, GuestRegisters, InterruptInterface, PSTATE_EL1H_MASKED, Stage1, VcpuContext},
    mmu::physical_address_size,
    registers::{isb, read_register, write_register},
    syndrome::{Syndrome, class},
    timer,
    world_switch::{self, Vector},
};
use aarch64_cpu::registers::{
    CNTHCTL_EL2, CNTVOFF_EL2, CPTR_EL2, CurrentEL, HCR_EL2, ID_AA64MMFR1_EL1, ID_AA64PFR0_EL1, MDCR_EL2,
    MPIDR_EL1, Readable, VBAR_EL2, VTCR_EL2, Writeable,
};
use core::sync::atomic::{AtomicU64, Ordering};

/// Whether the boot loader entered at EL2.
#[must_use]
pub fn is_at_el2() -> bool {
    CurrentEL.read(CurrentEL::EL) == 2
}

/// This core's `MPIDR_EL1` affinity.
#[must_use]
pub fn core_id() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}

/// This core's number: 0 is the boot core.
#[must_use]
#[inline]
pub fn core_index() -> usize {
    usize::try_from(read_register!("tpidr_el2")).unwrap_or(0)
}

/// Which processor this is, `MIDR_EL1`.
#[must_use]
pub fn identification() -> u64 {
    read_register!("midr_el1")
}

/// Lets others go ahead for a moment, where cores or an emulator's threads share something.
#[inline]
pub fn relax() {
    // Not `core::hint::spin_loop`, an `ISB`: an emulator that runs one core at a time goes on to the next at a `YIELD`.
    // SAFETY: a hint.
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Numbers this core and installs the exception vectors.
pub fn adopt(index: usize) {
    unsafe extern "C" {
        static exception_vectors: u8;
    }
    // SAFETY: EL2's own software register.
    unsafe { write_register!("tpidr_el2", index as u64) };
    VBAR_EL2.set((&raw const exception_vectors).addr() as u64);
    isb();
}

/// `CPTR_EL2` without FP/SIMD trap: its RES1 bits, which trap SVE and SME where they exist, and trace.
const CPTR: u64 = 0x33ff | 1 << 20;
/// `CPTR_EL2.TFP`: FP/SIMD accesses trap.
const CPTR_TRAP_FP: u64 = 1 << 10;

/// Sets this core up for guests: what they may do by themselves, and what traps.
pub fn init() {
    for stage1 in [Stage1::Off, Stage1::Own] {
        HCR[stage1 as usize].store(hcr(stage1), Ordering::Relaxed);
    }
    HCR_EL2.set(hcr(Stage1::Off));
    CPTR_EL2.set(CPTR | CPTR_TRAP_FP);
    MDCR_EL2.set(mdcr());
    VTCR_EL2.set(vtcr());
    // Guests read the counters; the physical timer traps.
    CNTHCTL_EL2.write(CNTHCTL_EL2::EL1PCTEN::SET + CNTHCTL_EL2::EL1PCEN::CLEAR);
    let midr = identification();
    // SAFETY: EL2 does not depend on these: identification that guests see, and traps.
    unsafe {
        write_register!("vpidr_el2", midr);
        write_register!("hstr_el2", 0);
        disable_newer_controls();
    }
    isb();
}

/// `HCR_EL2` for each kind of [`Stage1`], the same on all cores.
static HCR: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// `HCR_EL2`: stage 2 on, with default cacheable memory while a guest's MMU is off; interrupts come to
/// EL2; TLB and instruction cache maintenance reaches all cores, for a vCPU may have been on any; `WFI`, `SMC`, set/way maintenance and implementation-defined registers trap. Pointer authentication,
/// memory tagging and all that is newer stays off.
fn hcr(stage1: Stage1) -> u64 {
    let mut value = (HCR_EL2::VM::SET
        + HCR_EL2::SWIO::SET
        + HCR_EL2::FMO::SET
        + HCR_EL2::IMO::SET
        + HCR_EL2::AMO::SET
        + HCR_EL2::FB::SET
        + HCR_EL2::BSU::InnerShareable
        + HCR_EL2::TWI::SET
        + HCR_EL2::TSC::SET
        + HCR_EL2::TIDCP::SET
        + HCR_EL2::TACR::SET
        + HCR_EL2::TSW::SET
        + HCR_EL2::TID3::SET
        + HCR_EL2::RW::EL1IsAarch64)
        .value;
    if stage1 == Stage1::Off {
        value |= HCR_EL2::DC::SET.value;
    }
    if ID_AA64PFR0_EL1.get() >> 28 & 0xf != 0 {
        value |= 1 << 36; // TERR: error records (FEAT_RAS)
    }
    if ID_AA64MMFR1_EL1.get() >> 16 & 0xf != 0 {
        value |= 1 << 35; // TLOR: limited ordering regions (FEAT_LOR)
    }
    value
}

/// `MDCR_EL2`: debug and performance monitors trap. `HPMN` is the number of counters there are.
fn mdcr() -> u64 {
    const TPMCR: u64 = 1 << 5;
    const TPM: u64 = 1 << 6;
    const TDA: u64 = 1 << 9;
    const TDOSA: u64 = 1 << 10;
    const TDRA: u64 = 1 << 11;
    let dfr0 = read_register!("id_aa64dfr0_el1");
    let monitors = match dfr0 >> 8 & 0xf {
        0 | 0xf => 0,
        _ => TPMCR | TPM | read_register!("pmcr_el0") >> 11 & 0x1f,
    };
    TDA | TDOSA | TDRA | monitors
}

/// `VTCR_EL2`: 39-bit guest physical addresses from level 1, walks inner shareable and cacheable.
fn vtcr() -> u64 {
    let sixteen_bit_vmids = if vmid_bits() == 16 { 1 << 19 } else { 0 };
    1 << 31
        | sixteen_bit_vmids
        | physical_address_size() << 16
        | 0b11 << 12
        | 0b01 << 10
        | 0b01 << 8
        | 0b01 << 6
        | (64 - 39)
}

/// A random number, from a core that has a source of them (FEAT_RNG).
#[must_use]
pub fn random() -> Option<u64> {
    if read_register!("id_aa64isar0_el1") >> 60 == 0 {
        return None;
    }
    let (number, failed): (u64, u64);
    // SAFETY: reads RNDR, which there is; the flags say whether it had a number.
    unsafe {
        core::arch::asm!("mrs {}, s3_3_c2_c4_0", "cset {}, eq", out(reg) number, out(reg) failed, options(nomem, nostack));
    }
    (failed == 0).then_some(number)
}

/// Width of a VMID on this core.
#[must_use]
pub fn vmid_bits() -> u32 {
    if ID_AA64MMFR1_EL1.get() >> 4 & 0xf == 0b0010 { 16 } else { 8 }
}

/// Clears the controls of extensions whose reset value is unknown.
///
/// # Safety
/// Called on a core that runs no guest.
unsafe fn disable_newer_controls() {
    if ID_AA64MMFR1_EL1.get() >> 40 & 0xf != 0 {
        // SAFETY: HCRX_EL2 (FEAT_HCX): nothing newer for guests.
        unsafe { write_register!("s3_4_c1_c2_2", 0) };
    }
    if read_register!("id_aa64mmfr0_el1") >> 56 != 0 {
        // SAFETY: HFGRTR_EL2, HFGWTR_EL2, HFGITR_EL2, HDFGRTR_EL2, HDFGWTR_EL2 (FEAT_FGT): no further traps.
        unsafe {
            write_register!("s3_4_c1_c1_4", 0);
            write_register!("s3_4_c1_c1_5", 0);
            write_register!("s3_4_c1_c1_6", 0);
            write_register!("s3_4_c3_c1_4", 0);
            write_register!("s3_4_c3_c1_5", 0);
        }
    }
}

impl VcpuContext {
    /// Gives the core to this vCPU. `vttbr` says which tables and which VMID are its VM's.
    ///
    /// # Safety
    /// The tables let the guest reach nothing but its own memory, and outlive the returned value.
    pub unsafe fn load(&mut self, vttbr: u64) -> LoadedVcpu<'_> {
        El1Registers::hold_translation();
        self.el1.restore();
        CNTVOFF_EL2.set(self.clock_offset);
        HCR_EL2.set(HCR[self.stage1 as usize].load(Ordering::Relaxed));
        // SAFETY: identification and translation of the guest only.
        unsafe {
            write_register!("vmpidr_el2", self.vmpidr);
            write_register!("vttbr_el2", vttbr);
        }
        self.el1.release_translation();
        isb();
        LoadedVcpu { context: self, owns_fp: false }
    }
}

/// A vCPU whose registers are in the core. Dropping it takes them out again.
pub struct LoadedVcpu<'a> {
    context: &'a mut VcpuContext,
    owns_fp: bool,
}

/// Why a guest came back to the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `HVC #0`. PC is behind it.
    Hypercall,
    /// `SMC #0`. PC is at the instruction.
    SecureCall,
    /// `WFI`. PC is behind it.
    Wait,
    /// A wait that ends by itself: `WFE`, or one with a time-out. PC is behind it.
    Yield,
    /// FP/SIMD was used while it trapped. PC is at the instruction.
    Fp,
    /// An exception that the guest was not prepared for: vector `n` of those the `tiny` machine starts with.
    Unhandled(u64),
    /// An access to what is not there, or not allowed. PC is at the instruction.
    Fault(Syndrome),
    /// A system register or instruction that traps. PC is at the instruction.
    System(Syndrome),
    /// Something that guests do not have. PC is at the instruction.
    Undefined,
    /// A physical interrupt is pending.
    Interrupt,
    /// A system error.
    SystemError(Syndrome),
}

impl LoadedVcpu<'_> {
    /// The registers that every exit saves.
    #[inline]
    pub fn registers(&mut self) -> &mut GuestRegisters {
        &mut self.context.registers
    }

    /// The vCPU's interrupt interface, as it was when it last lost the core.
    pub fn interface(&mut self) -> &mut InterruptInterface {
        &mut self.context.interface
    }

    /// When its virtual timer is due, on the physical clock.
    #[must_use]
    pub fn timer_deadline(&self) -> Option<u64> {
        timer::guest_deadline().map(|deadline| deadline.wrapping_add(self.context.clock_offset))
    }

    /// Runs the guest until it needs the hypervisor.
    #[inline]
    pub fn run(&mut self) -> Exit {
        // SAFETY: this value says that the vCPU is loaded.
        let vector = unsafe { world_switch::enter(&raw mut self.context.registers) };
        let syndrome = Syndrome(read_register!("esr_el2"));
        // What a guest does most often is found with one comparison.
        if vector == Vector::Synchronous && syndrome == Syndrome::HYPERCALL {
            return Exit::Hypercall;
        }
        self.decode(vector, syndrome)
    }

    #[inline]
    fn decode(&mut self, vector: Vector, syndrome: Syndrome) -> Exit {
        match vector {
            Vector::Synchronous => self.decode_synchronous(syndrome),
            Vector::Irq | Vector::Fiq => Exit::Interrupt,
            Vector::SError => Exit::SystemError(syndrome),
        }
    }

    fn decode_synchronous(&mut self, syndrome: Syndrome) -> Exit {
        match syndrome.class() {
            class::HVC => self.decode_hvc(syndrome.immediate()),
            class::SMC if syndrome.immediate() == 0 => Exit::SecureCall,
            class::WAIT => {
                self.skip_instruction();
                if syndrome.is_wfi() { Exit::Wait } else { Exit::Yield }
            }
            class::FP => Exit::Fp,
            class::SYSTEM => Exit::System(syndrome),
            class::INSTRUCTION_ABORT | class::DATA_ABORT => Exit::Fault(syndrome),
            _ => Exit::Undefined,
        }
    }

    /// An `HVC` with an immediate: one of the initial vectors, or else undefined.
    fn decode_hvc(&mut self, immediate: u64) -> Exit {
        let at = self.context.registers.pc.wrapping_sub(4);
        if let Some(vector) = super::context::initial_vector(at, immediate) {
            return Exit::Unhandled(vector);
        }
        self.context.registers.pc = at;
        Exit::Undefined
    }

    /// Moves PC behind the instruction that trapped.
    pub fn skip_instruction(&mut self) {
        self.context.registers.pc = self.context.registers.pc.wrapping_add(4);
    }

    /// Lets the guest use FP/SIMD until it loses the core.
    pub fn enable_fp(&mut self) {
        CPTR_EL2.set(CPTR);
        isb();
        // SAFETY: FP/SIMD no longer traps.
        unsafe { world_switch::restore_fp(&raw const self.context.fp) };
        self.owns_fp = true;
    }

    /// Makes the guest take an undefined instruction exception at its PC (Arm ARM, D1.3.6).
    pub fn inject_undefined(&mut self) {
        /// An undefined instruction, 32 bits long.
        const UNKNOWN_REASON: u64 = 1 << 25;
        let registers = &mut self.context.registers;
        let vector = read_register!("vbar_el1").wrapping_add(super::context::vector_offset(registers.pstate));
        // SAFETY: the guest's own registers.
        unsafe {
            write_register!("esr_el1", UNKNOWN_REASON);
            write_register!("elr_el1", registers.pc);
            write_register!("spsr_el1", registers.pstate);
        }
        registers.pc = vector;
        registers.pstate = PSTATE_EL1H_MASKED;
    }

    /// The guest physical address of a stage 2 fault, and the guest virtual one.
    ///
    /// `HPFAR_EL2` holds nothing after a permission fault (Arm ARM, "HPFAR_EL2"). While the guest's own
    /// translation is off, as on the `tiny` machine, both addresses are the same, but for a tag in the top byte.
    #[must_use]
    pub fn fault_address(&self, syndrome: Syndrome) -> (u64, u64) {
        let far = read_register!("far_el2");
        if syndrome.is_permission_fault() {
            return (far & 0xf_ffff_ffff_ffff, far);
        }
        let page = (read_register!("hpfar_el2") >> 4 & 0xff_ffff_ffff) << 12;
        (page | far & 0xfff, far)
    }

    /// The exception that the guest took itself: its syndrome, its PC, the fault address.
    #[must_use]
    pub fn own_exception(&self) -> (Syndrome, u64, u64) {
        (Syndrome(read_register!("esr_el1")), read_register!("elr_el1"), read_register!("far_el1"))
    }
}

impl Drop for LoadedVcpu<'_> {
    fn drop(&mut self) {
        self.context.el1.save();
        timer::stop_guest();
        if self.owns_fp {
            // SAFETY: FP/SIMD does not trap while this vCPU owns it.
            unsafe { world_switch::save_fp(&raw mut self.context.fp) };
            CPTR_EL2.set(CPTR | CPTR_TRAP_FP);
        }
    }
}
