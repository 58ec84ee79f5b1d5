//! From the first instruction to `main`.

use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicBool, Ordering},
};

use aarch64_cpu::registers::CPACR_EL1;

use crate::hypercall;

/// Makes a function the `main` of the guest: it takes nothing and returns the VM's exit code as `u8`.
///
/// A second function is what every other vCPU of the VM runs: it takes the vCPU's number and never returns. Without
/// one they sleep.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::entry!(@main $main);

        #[unsafe(no_mangle)]
        static GUEST_OTHER: Option<extern "C" fn(u64) -> !> = None;
    };
    ($main:path, $other:path) => {
        $crate::entry!(@main $main);

        extern "C" fn guest_other(vcpu: u64) -> ! {
            let other: fn(u64) -> ! = $other;
            other(vcpu)
        }

        #[unsafe(no_mangle)]
        static GUEST_OTHER: Option<extern "C" fn(u64) -> !> = Some(guest_other);
    };
    (@main $main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn guest_main() -> u8 {
            let main: fn() -> u8 = $main;
            main()
        }
    };
}

// The hypervisor enters with SP at the top of the stack, the vCPU's number in X2, and FP/SIMD trapped.
// vCPU 0 clears .bss; the others wait for that if they have something to do, and otherwise sleep.
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
    "    stp xzr, xzr, [x3], #16",
    "    stp xzr, xzr, [x3], #16",
    "    stp xzr, xzr, [x3], #16",
    "    b 1b",
    "2:  mov x29, xzr", // The frame record of `run` is the last of a backtrace.
    "    mov x30, xzr",
    "    b {run}",
    "3:  mov x3, {fpen}",
    "    msr cpacr_el1, x3",
    "    isb",
    "    mov x0, x2",
    "    mov x29, xzr",
    "    mov x30, xzr",
    "    b {run_other}",
    fpen = const CPACR_EL1::FPEN::TrapNothing.value,
    run = sym run,
    run_other = sym run_other,
);

unsafe extern "C" {
    /// Made by [`entry!`].
    safe fn guest_main() -> u8;
    /// Made by [`entry!`].
    safe static GUEST_OTHER: Option<extern "C" fn(u64) -> !>;
}

/// Whether .bss is clear. It is not part of .bss itself.
#[unsafe(link_section = ".data.ready")]
static READY: AtomicBool = AtomicBool::new(false);

extern "C" fn run() -> ! {
    READY.store(true, Ordering::Release);
    // SAFETY: only ends the waits of other vCPUs.
    unsafe { asm!("sev", options(nomem, nostack, preserves_flags)) };
    hypercall::exit(guest_main())
}

extern "C" fn run_other(vcpu: u64) -> ! {
    let Some(other) = GUEST_OTHER else { sleep() };
    while !READY.load(Ordering::Acquire) {
        // SAFETY: waits for the event that `run` sends.
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) };
    }
    other(vcpu)
}

fn sleep() -> ! {
    loop {
        // SAFETY: gives the core away.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) };
    }
}
