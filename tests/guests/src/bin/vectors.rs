//! Each vCPU keeps FP/SIMD registers with values of its own and looks at them all the time, while others get the core.
//! The first argument is a number that makes the values different, the second one how many milliseconds it lasts.
//! Every other round gives the core away. Exit code 1 if a register has changed.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use guest_rt::{entry, info, println, time};
use test_guests::{arg, gic};

entry!(main, other);

/// Looks at all registers before the core is given away.
const LOOKS: u64 = 2000;

/// vCPUs that are at it no more.
static DONE: AtomicU32 = AtomicU32::new(0);
/// The check that failed, if one did.
static WRONG: AtomicU32 = AtomicU32::new(0);

fn main() -> u8 {
    keep(0);
    while DONE.load(Ordering::Acquire) < info::vcpu_count() {
        time::wait_until(time::counter() + time::frequency() / 1000);
    }
    match WRONG.load(Ordering::Relaxed) {
        0 => println!("vectors kept"),
        wrong => println!("FAIL: register {wrong}"),
    }
    u8::from(WRONG.load(Ordering::Relaxed) != 0)
}

fn other(vcpu: u64) -> ! {
    keep(vcpu);
    loop {
        gic::wait();
    }
}

fn keep(vcpu: u64) {
    let number = |index| arg(index).parse::<u64>().expect("a number");
    let seed = (number(1) * 8 + vcpu).wrapping_mul(0x0123_4567_89ab_cdef);
    let end = time::uptime() + Duration::from_millis(number(2));
    for round in 0_u64.. {
        let sleep = if round % 2 == 0 { 0 } else { time::frequency() / 10_000 };
        // SAFETY: the function keeps to the procedure call standard.
        let wrong = unsafe { keep_vectors(seed.wrapping_add(round), LOOKS, sleep) };
        WRONG.fetch_max(wrong, Ordering::Relaxed);
        if wrong != 0 || time::uptime() > end {
            break;
        }
    }
    DONE.fetch_add(1, Ordering::Release);
}

unsafe extern "C" {
    /// Fills V0 to V31, FPCR and FPSR from `seed`, waits for the virtual timer if `sleep` ticks of it are asked for, and
    /// compares them `looks` times. Returns 0, or the number of the check that failed.
    fn keep_vectors(seed: u64, looks: u64, sleep: u64) -> u32;
}

// The lower half of each register holds seed + its number, the upper half the same inverted. They are compared in
// general registers, so that no vector register is needed for it.
global_asm!(
    ".altmacro",
    ".macro vector_fill n",
    "    add x3, x0, #\\n",
    "    mvn x4, x3",
    "    fmov d\\n, x3",
    "    mov v\\n\\().d[1], x4",
    ".endm",
    ".macro vector_compare n",
    "    mov w5, #(1 + \\n)",
    "    add x3, x0, #\\n",
    "    umov x4, v\\n\\().d[0]",
    "    cmp x3, x4",
    "    b.ne 9f",
    "    mvn x3, x3",
    "    umov x4, v\\n\\().d[1]",
    "    cmp x3, x4",
    "    b.ne 9f",
    ".endm",
    ".macro for_vectors operation",
    "    .set n, 0",
    "    .rept 32",
    "    \\operation %n",
    "    .set n, n + 1",
    "    .endr",
    ".endm",
    ".global keep_vectors",
    "keep_vectors:",
    "    stp d8, d9, [sp, #-64]!",
    "    stp d10, d11, [sp, #16]",
    "    stp d12, d13, [sp, #32]",
    "    stp d14, d15, [sp, #48]",
    "    for_vectors vector_fill",
    "    and x6, x0, #0x1f", // The exception flags.
    "    msr fpsr, x6",
    "    ubfiz x7, x0, #22, #2", // The rounding mode.
    "    msr fpcr, x7",
    "    cbz x2, 1f",
    "    mrs x3, cntvct_el0",
    "    add x3, x3, x2",
    "    msr cntv_cval_el0, x3",
    "    mov x3, #1",
    "    msr cntv_ctl_el0, x3",
    "    wfi",
    "    msr cntv_ctl_el0, xzr",
    "1:  for_vectors vector_compare",
    "    mov w5, #40",
    "    mrs x3, fpsr",
    "    cmp x3, x6",
    "    b.ne 9f",
    "    mov w5, #41",
    "    mrs x3, fpcr",
    "    cmp x3, x7",
    "    b.ne 9f",
    "    subs x1, x1, #1",
    "    b.ne 1b",
    "    mov w5, #0",
    "9:  msr fpcr, xzr",
    "    mov w0, w5",
    "    ldp d10, d11, [sp, #16]",
    "    ldp d12, d13, [sp, #32]",
    "    ldp d14, d15, [sp, #48]",
    "    ldp d8, d9, [sp], #64",
    "    ret",
    ".noaltmacro",
);
