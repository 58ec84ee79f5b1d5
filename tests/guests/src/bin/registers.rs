//! Fills all registers with values of its own and checks that they stay, over hypercalls and while another
//! VM does the same with other values. The argument is a number that makes the values different.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

use guest_rt::{abi, entry, println};
use test_guests::arg;

entry!(main);

/// Long enough for many turns of two VMs on one core, also with many exits.
const ROUNDS: u64 = 300;
/// Loops between two checks without a hypercall.
const SPINS: u64 = 100_000;

fn main() -> u8 {
    let seed: u64 = arg(1).parse().expect("a number");
    set_system_registers(seed);
    for round in 0..ROUNDS {
        // SAFETY: the function keeps to the procedure call standard.
        let wrong = unsafe {
            check_general_and_vector_registers(seed.wrapping_mul(0x0101_0101), SPINS * (round % 2))
        };
        if wrong != 0 {
            println!("FAIL register check {wrong} in round {round}");
            return 1;
        }
        if let Some(name) = wrong_system_register(seed) {
            println!("FAIL {name} changed in round {round}");
            return 2;
        }
    }
    println!("registers kept");
    0
}

unsafe extern "C" {
    /// Fills X1 to X30, V0 to V31, FPCR, FPSR and the flags from `seed`, makes a hypercall, loops `spins`
    /// times and compares. Returns 0, or the number of the check that failed.
    fn check_general_and_vector_registers(seed: u64, spins: u64) -> u64;
}

// Every register holds seed + its number; X0 is the hypercall's, X29 and X30 are checked like the rest.
global_asm!(
    ".altmacro",
    ".macro fill_x n",
    "    add x\\n, x0, #\\n",
    ".endm",
    ".macro fill_v n",
    "    add x1, x0, #\\n",
    "    dup v\\n\\().2d, x1",
    ".endm",
    ".macro check_x n",
    "    sub x\\n, x\\n, x0",
    "    cmp x\\n, #\\n",
    "    mov x1, #\\n",
    "    b.ne 9f",
    ".endm",
    ".macro check_v n",
    "    add x1, x0, #\\n",
    "    dup v0.2d, x1",
    "    cmeq v0.2d, v0.2d, v\\n\\().2d",
    "    uminv s0, v0.4s",
    "    umov w2, v0.s[0]",
    "    mov x1, #(100 + \\n)",
    "    cbz w2, 9f",
    ".endm",
    ".macro repeat operation, from, to",
    "    .set n, \\from",
    "    .rept \\to - \\from + 1",
    "    \\operation %n",
    "    .set n, n + 1",
    "    .endr",
    ".endm",
    ".global check_general_and_vector_registers",
    "check_general_and_vector_registers:",
    "    stp x29, x30, [sp, #-192]!",
    "    stp x19, x20, [sp, #16]",
    "    stp x21, x22, [sp, #32]",
    "    stp x23, x24, [sp, #48]",
    "    stp x25, x26, [sp, #64]",
    "    stp x27, x28, [sp, #80]",
    "    stp d8, d9, [sp, #96]",
    "    stp d10, d11, [sp, #112]",
    "    stp d12, d13, [sp, #128]",
    "    stp d14, d15, [sp, #144]",
    "    stp x0, x1, [sp, #160]",
    "    repeat fill_v, 0, 31",
    "    repeat fill_x, 1, 30",
    // The exception flags of FPSR, and the rounding mode of FPCR, from the seed.
    "    and x1, x0, #0x1f",
    "    msr fpsr, x1",
    "    and x1, x0, #0x3",
    "    lsl x1, x1, #22",
    "    msr fpcr, x1",
    "    add x1, x0, #1",
    // A hypercall with all flags clear but C and Z.
    "    mov x0, #0x60000000",
    "    msr nzcv, x0",
    "    mov x0, #{version}",
    "    hvc #0",
    "    mrs x0, nzcv",
    "    lsr x0, x0, #28",
    "    cmp x0, #0b0110",
    "    ldr x0, [sp, #160]",
    "    b.ne 8f",
    "    repeat check_x, 1, 30",
    // The loop leaves the vector registers alone: only a switch of VMs can change them.
    "    ldr x1, [sp, #168]",
    "1:  cbz x1, 2f",
    "    sub x1, x1, #1",
    "    b 1b",
    "2:  mrs x2, fpsr",
    "    and x3, x0, #0x1f",
    "    mov x1, #200",
    "    cmp x2, x3",
    "    b.ne 9f",
    "    mrs x2, fpcr",
    "    and x3, x0, #0x3",
    "    lsl x3, x3, #22",
    "    mov x1, #201",
    "    cmp x2, x3",
    "    b.ne 9f",
    "    msr fpcr, xzr",
    "    repeat check_v, 1, 31",
    "    mov x1, #0",
    "    b 9f",
    "8:  mov x1, #202",
    "9:  msr fpcr, xzr",
    "    mov x0, x1",
    "    ldp x19, x20, [sp, #16]",
    "    ldp x21, x22, [sp, #32]",
    "    ldp x23, x24, [sp, #48]",
    "    ldp x25, x26, [sp, #64]",
    "    ldp x27, x28, [sp, #80]",
    "    ldp d8, d9, [sp, #96]",
    "    ldp d10, d11, [sp, #112]",
    "    ldp d12, d13, [sp, #128]",
    "    ldp d14, d15, [sp, #144]",
    "    ldp x29, x30, [sp], #192",
    "    ret",
    ".noaltmacro",
    version = const abi::VERSION,
);

/// The functions that set and check system registers of EL0 and EL1, each with the bits of it that may
/// hold anything while the MMU is off.
macro_rules! system_registers {
    ($($name:literal: $mask:literal,)*) => {
        fn set_system_registers(seed: u64) {
            $(
                let value = pattern(seed, $mask);
                // SAFETY: nothing in this program depends on the register.
                unsafe { asm!(concat!("msr ", $name, ", {}"), in(reg) value) };
            )*
        }

        /// The name of a register that is not as it was set.
        fn wrong_system_register(seed: u64) -> Option<&'static str> {
            $(
                let value: u64;
                // SAFETY: only reads.
                unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value) };
                if value != pattern(seed, $mask) {
                    return Some($name);
                }
            )*
            None
        }
    };
}

fn pattern(seed: u64, mask: u64) -> u64 {
    seed.wrapping_mul(0x0123_4567_89AB_CDEF) & mask
}

system_registers! {
    "tpidr_el0": 0xFFFF_FFFF_FFFF_FFFF,
    "tpidrro_el0": 0xFFFF_FFFF_FFFF_FFFF,
    "tpidr_el1": 0xFFFF_FFFF_FFFF_FFFF,
    "sp_el0": 0xFFFF_FFFF_FFFF_FFFF,
    "elr_el1": 0xFFFF_FFFF_FFFF_FFFF,
    "far_el1": 0xFFFF_FFFF_FFFF_FFFF,
    "mair_el1": 0xFFFF_FFFF_FFFF_FFFF,
    "ttbr0_el1": 0x0000_FFFF_FFFF_F000,
    "ttbr1_el1": 0x0000_FFFF_FFFF_F000,
    "vbar_el1": 0x0000_FFFF_FFFF_F800,
    "contextidr_el1": 0xFFFF_FFFF,
    "esr_el1": 0xFFFF_FFFF,
    "spsr_el1": 0xF000_03C0,
    "tcr_el1": 0x3F,
    "cntkctl_el1": 0x3,
    "csselr_el1": 0x3,
    "cntv_cval_el0": 0xFFFF_FFFF_FFFF_FFFF,
}
