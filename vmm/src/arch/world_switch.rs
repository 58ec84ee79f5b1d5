//! Into a guest and back: the world switch and the exception vectors of EL2.
//!
//! `enter` looks like a function call: it saves the hypervisor's callee-saved registers, loads the
//! guest's and leaves by `ERET`. The guest's next exception to EL2 saves the guest's registers and *returns*
//! from that call. EL2's stack pointer does not change in between, so what the call put on the stack
//! is found there again:
//!
//! ```text
//!   SP + 96   address of the GuestRegisters
//!   SP + 0    x29, x30, x27, x28, ... x19, x20 of the hypervisor
//! ```
//!
//! The FP/SIMD registers are not touched (the hypervisor is built without them), nor are the EL1
//! registers: a guest's stay in the core until another vCPU is loaded.

use super::{
    context::{FpRegisters, GuestRegisters},
    entry::{GuardedStack, PANIC_STACK, PANIC_STACK_SIZE},
    exceptions::report_exception,
};
use core::{arch::global_asm, mem::offset_of};

/// Which vector brought the core back to EL2.
#[repr(u64)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vector {
    /// A synchronous exception: `ESR_EL2` tells which.
    Synchronous = 0,
    /// A physical interrupt.
    Irq = 1,
    /// A physical fast interrupt. None is configured.
    Fiq = 2,
    /// A system error.
    SError = 3,
}

unsafe extern "C" {
    /// Runs the guest until its next exception to EL2.
    ///
    /// # Safety
    /// The vCPU's EL1 registers and stage 2 tables are loaded on this core.
    #[link_name = "enter_guest"]
    pub(super) fn enter(registers: *mut GuestRegisters) -> Vector;

    /// Stores the FP/SIMD registers.
    ///
    /// # Safety
    /// FP/SIMD accesses are not trapped (`CPTR_EL2`).
    #[link_name = "save_fp"]
    pub(super) fn save_fp(registers: *mut FpRegisters);

    /// Loads the FP/SIMD registers.
    ///
    /// # Safety
    /// As for `save_fp`.
    #[link_name = "restore_fp"]
    pub(super) fn restore_fp(registers: *const FpRegisters);
}

global_asm!(
    r#"
    .section .text.enter_guest, "ax"
    .global enter_guest
enter_guest:
    stp     x29, x30, [sp, #-112]!
    stp     x27, x28, [sp, #16]
    stp     x25, x26, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x21, x22, [sp, #64]
    stp     x19, x20, [sp, #80]
    str     x0, [sp, #96]
    ldp     x2, x3, [x0, #{pc}]
    msr     elr_el2, x2
    msr     spsr_el2, x3
    ldr     x30, [x0, #{x} + 240]
    ldp     x28, x29, [x0, #{x} + 224]
    ldp     x26, x27, [x0, #{x} + 208]
    ldp     x24, x25, [x0, #{x} + 192]
    ldp     x22, x23, [x0, #{x} + 176]
    ldp     x20, x21, [x0, #{x} + 160]
    ldp     x18, x19, [x0, #{x} + 144]
    ldp     x16, x17, [x0, #{x} + 128]
    ldp     x14, x15, [x0, #{x} + 112]
    ldp     x12, x13, [x0, #{x} + 96]
    ldp     x10, x11, [x0, #{x} + 80]
    ldp     x8, x9, [x0, #{x} + 64]
    ldp     x6, x7, [x0, #{x} + 48]
    ldp     x4, x5, [x0, #{x} + 32]
    ldp     x2, x3, [x0, #{x} + 16]
    ldp     x0, x1, [x0, #{x}]
    eret
    dsb     nsh                     // no speculation past ERET
    isb

    // The vectors of the lower exception level, AArch64, land here.
    .macro  leave_guest vector
    stp     x0, x1, [sp, #-16]!
    ldr     x0, [sp, #112]
    stp     x2, x3, [x0, #{x} + 16]
    mov     x1, #\vector
    b       leave_guest
    .endm

leave_guest:
    stp     x4, x5, [x0, #{x} + 32]
    stp     x6, x7, [x0, #{x} + 48]
    stp     x8, x9, [x0, #{x} + 64]
    stp     x10, x11, [x0, #{x} + 80]
    stp     x12, x13, [x0, #{x} + 96]
    stp     x14, x15, [x0, #{x} + 112]
    stp     x16, x17, [x0, #{x} + 128]
    stp     x18, x19, [x0, #{x} + 144]
    stp     x20, x21, [x0, #{x} + 160]
    stp     x22, x23, [x0, #{x} + 176]
    stp     x24, x25, [x0, #{x} + 192]
    stp     x26, x27, [x0, #{x} + 208]
    stp     x28, x29, [x0, #{x} + 224]
    str     x30, [x0, #{x} + 240]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0, #{x}]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    stp     x2, x3, [x0, #{pc}]
    mov     x0, x1
    ldp     x19, x20, [sp, #80]
    ldp     x21, x22, [sp, #64]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #32]
    ldp     x27, x28, [sp, #16]
    ldp     x29, x30, [sp], #112
    ret

    // Exceptions taken in EL2 itself: never expected. The guest's SP_EL0 and TPIDR_EL0 are lost, which
    // no longer matters; what is reported is saved on a stack of its own, for the other may have run over.
    .macro  panic_exception vector
    msr     sp_el0, x0
    msr     tpidr_el0, x1
    mov     x1, #\vector
    b       panic_exception
    .endm

panic_exception:
    mov     x0, sp
    msr     tpidrro_el0, x2
    adrp    x2, {panic_stack}
    add     x2, x2, :lo12:{panic_stack}
    add     x2, x2, #{panic_stack_end}, lsl #12
    mov     sp, x2
    sub     sp, sp, #272
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    stp     x30, x0, [sp, #240]
    mrs     x2, sp_el0
    mrs     x3, tpidr_el0
    stp     x2, x3, [sp]
    mrs     x2, tpidrro_el0
    str     x2, [sp, #16]
    mov     x0, sp
    bl      {exception}

    .macro  vector name, operand
    .balign 0x80
    \name   \operand
    .endm

    .section .text.vectors, "ax"
    .balign 0x800
    .global exception_vectors
exception_vectors:
    // From EL2 with SP_EL0, which EL2 never uses.
    vector  panic_exception, 0
    vector  panic_exception, 1
    vector  panic_exception, 2
    vector  panic_exception, 3
    // From EL2.
    vector  panic_exception, 0
    vector  panic_exception, 1
    vector  panic_exception, 2
    vector  panic_exception, 3
    // From a guest.
    vector  leave_guest, 0
    vector  leave_guest, 1
    vector  leave_guest, 2
    vector  leave_guest, 3
    // From a guest's EL0 in AArch32.
    vector  leave_guest, 0
    vector  leave_guest, 1
    vector  leave_guest, 2
    vector  leave_guest, 3
    "#,
    x = const offset_of!(GuestRegisters, x),
    pc = const offset_of!(GuestRegisters, pc),
    panic_stack = sym PANIC_STACK,
    panic_stack_end = const size_of::<GuardedStack<PANIC_STACK_SIZE>>() >> 12,
    exception = sym report_exception,
);

/// The FP/SIMD registers in pairs, stored or loaded at `X0`.
macro_rules! fp_pairs {
    ($instruction:literal) => {
        concat!(
            $instruction,
            " q0, q1, [x0, #0]\n",
            $instruction,
            " q2, q3, [x0, #32]\n",
            $instruction,
            " q4, q5, [x0, #64]\n",
            $instruction,
            " q6, q7, [x0, #96]\n",
            $instruction,
            " q8, q9, [x0, #128]\n",
            $instruction,
            " q10, q11, [x0, #160]\n",
            $instruction,
            " q12, q13, [x0, #192]\n",
            $instruction,
            " q14, q15, [x0, #224]\n",
            $instruction,
            " q16, q17, [x0, #256]\n",
            $instruction,
            " q18, q19, [x0, #288]\n",
            $instruction,
            " q20, q21, [x0, #320]\n",
            $instruction,
            " q22, q23, [x0, #352]\n",
            $instruction,
            " q24, q25, [x0, #384]\n",
            $instruction,
            " q26, q27, [x0, #416]\n",
            $instruction,
            " q28, q29, [x0, #448]\n",
            $instruction,
            " q30, q31, [x0, #480]\n",
        )
    };
}

global_asm!(
    ".arch_extension simd",
    ".section .text.switch_fp, \"ax\"",
    ".global save_fp",
    "save_fp:",
    fp_pairs!("stp"),
    "mrs x1, fpcr",
    "mrs x2, fpsr",
    "add x0, x0, #512",
    "stp x1, x2, [x0]",
    "ret",
    ".global restore_fp",
    "restore_fp:",
    fp_pairs!("ldp"),
    "add x0, x0, #512",
    "ldp x1, x2, [x0]",
    "msr fpcr, x1",
    "msr fpsr, x2",
    "ret",
    ".arch_extension nosimd",
);

const _: () = assert!(offset_of!(GuestRegisters, pstate) == offset_of!(GuestRegisters, pc) + 8);
const _: () = assert!(offset_of!(FpRegisters, fpcr) == 512 && offset_of!(FpRegisters, fpsr) == 520);
