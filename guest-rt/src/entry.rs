//! From the first instruction to `main`.

use core::arch::global_asm;

use aarch64_cpu::registers::CPACR_EL1;

use crate::hypercall;

/// Makes a function the `main` of the guest: it takes nothing and returns the VM's exit code as `u8`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn guest_main() -> u8 {
            let main: fn() -> u8 = $main;
            main()
        }
    };
}

// The hypervisor enters with SP at the top of the stack, the vCPU's number in X2, and FP/SIMD trapped.
// The image is one program for one vCPU: any other sleeps.
global_asm!(
    ".section .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    "    cbnz x2, 3f",
    "    mov x3, {fpen}",
    "    msr cpacr_el1, x3",
    "    isb",
    "    adrp x3, __bss_start",
    "    add x3, x3, :lo12:__bss_start",
    "    adrp x4, __bss_end",
    "    add x4, x4, :lo12:__bss_end",
    "1:  cmp x3, x4",
    "    b.hs 2f",
    "    stp xzr, xzr, [x3], #16",
    "    b 1b",
    "2:  mov x29, xzr", // The frame record of `run` is the last of a backtrace.
    "    mov x30, xzr",
    "    b {run}",
    "3:  wfi",
    "    b 3b",
    fpen = const CPACR_EL1::FPEN::TrapNothing.value,
    run = sym run,
);

unsafe extern "C" {
    /// Made by [`entry!`].
    safe fn guest_main() -> u8;
}

extern "C" fn run() -> ! {
    hypercall::exit(guest_main())
}
