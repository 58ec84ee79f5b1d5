//! Exceptions for guests that take interrupts when they come, rather than poll for them.

use core::arch::{asm, global_asm};

use aarch64_cpu::registers::{ELR_EL1, ESR_EL1, Readable};
use guest_rt::{hypercall, println};
use spin::Once;

use crate::gic;

static HANDLER: Once<fn(u32)> = Once::new();

unsafe extern "C" {
    /// The table, of which only the address counts.
    static test_guests_vectors: u8;
}

// An interrupt saves what the procedure call standard does not, with ELR and SPSR, so that the handler may let
// others in.
global_asm!(
    ".macro each_pair operation",
    "    \\operation x0, x1, [sp, #0]",
    "    \\operation x2, x3, [sp, #16]",
    "    \\operation x4, x5, [sp, #32]",
    "    \\operation x6, x7, [sp, #48]",
    "    \\operation x8, x9, [sp, #64]",
    "    \\operation x10, x11, [sp, #80]",
    "    \\operation x12, x13, [sp, #96]",
    "    \\operation x14, x15, [sp, #112]",
    "    \\operation x16, x17, [sp, #128]",
    "    \\operation x18, x29, [sp, #144]",
    "    \\operation q0, q1, [sp, #192]",
    "    \\operation q2, q3, [sp, #224]",
    "    \\operation q4, q5, [sp, #256]",
    "    \\operation q6, q7, [sp, #288]",
    "    \\operation q16, q17, [sp, #320]",
    "    \\operation q18, q19, [sp, #352]",
    "    \\operation q20, q21, [sp, #384]",
    "    \\operation q22, q23, [sp, #416]",
    "    \\operation q24, q25, [sp, #448]",
    "    \\operation q26, q27, [sp, #480]",
    "    \\operation q28, q29, [sp, #512]",
    "    \\operation q30, q31, [sp, #544]",
    ".endm",
    ".balign 0x800",
    ".global test_guests_vectors",
    "test_guests_vectors:",
    ".rept 5",
    "    .balign 0x80",
    "    b {unexpected}",
    ".endr",
    "    .balign 0x80", // The fifth from 0 on: an IRQ at the current level, with its own stack pointer.
    "    b 2f",
    ".rept 10",
    "    .balign 0x80",
    "    b {unexpected}",
    ".endr",
    "2:  sub sp, sp, #576",
    "    each_pair stp",
    "    mrs x0, elr_el1",
    "    mrs x1, spsr_el1",
    "    stp x30, x0, [sp, #160]",
    "    str x1, [sp, #176]",
    "    bl {handle}",
    "    ldp x30, x0, [sp, #160]",
    "    ldr x1, [sp, #176]",
    "    msr elr_el1, x0",
    "    msr spsr_el1, x1",
    "    each_pair ldp",
    "    add sp, sp, #576",
    "    eret",
    unexpected = sym unexpected,
    handle = sym handle,
);

/// Calls `handler` with each interrupt that this vCPU acknowledges from now on, and unmasks interrupts. The
/// handler ends them. All vCPUs have the same handler, that of the first call.
pub fn start(handler: fn(u32)) {
    HANDLER.call_once(|| handler);
    // SAFETY: the table handles interrupts, which is all that this program expects.
    unsafe { asm!("msr vbar_el1, {}", "isb", in(reg) &raw const test_guests_vectors) };
    set_masked(false);
}

/// Masks interrupts, or lets them in.
pub fn set_masked(masked: bool) {
    if masked {
        // SAFETY: no interrupt comes.
        unsafe { asm!("msr daifset, #2") }
    } else {
        // SAFETY: `start` has set the vectors.
        unsafe { asm!("msr daifclr, #2") }
    }
}

extern "C" fn handle() {
    // The interrupt may have gone away in the meantime.
    if let (Some(acknowledged), Some(handler)) = (gic::acknowledge(), HANDLER.get()) {
        handler(acknowledged);
    }
}

extern "C" fn unexpected() -> ! {
    println!("FAIL: unexpected exception, ESR {:#x} at {:#x}", ESR_EL1.get(), ELR_EL1.get());
    hypercall::exit(guest_rt::PANIC_EXIT_CODE)
}
