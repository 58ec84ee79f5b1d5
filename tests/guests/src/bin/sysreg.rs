//! Accesses system registers that a guest has no business with. The argument names a group of them.
//!
//! Nothing is said about the outcome: the access may do nothing, or end the VM. What counts is that no
//! one else notices.
#![no_std]
#![no_main]

use core::arch::asm;

use guest_rt::{entry, println};
use test_guests::arg;

entry!(main);

/// A function that writes all ones to some registers, reads them, and writes back what they held.
macro_rules! access {
    ($function:ident: $($name:literal),* $(,)?) => {
        fn $function() {
            $(
                // SAFETY: nothing in this program depends on the register.
                unsafe {
                    asm!(
                        concat!("mrs {old}, ", $name),
                        concat!("msr ", $name, ", {ones}"),
                        concat!("mrs {new}, ", $name),
                        concat!("msr ", $name, ", {old}"),
                        "isb",
                        old = out(reg) _,
                        new = out(reg) _,
                        ones = in(reg) u64::MAX,
                    );
                }
                println!("accessed {}", $name);
            )*
        }
    };
}

access!(timers: "cntkctl_el1", "cntv_cval_el0", "cntp_cval_el0", "cntp_ctl_el0", "cntv_ctl_el0", "cntps_cval_el1");
access!(monitors: "pmcr_el0", "pmcntenset_el0", "pmuserenr_el0", "pmccntr_el0", "pmintenset_el1", "pmselr_el0");
access!(debug: "mdscr_el1", "dbgbvr0_el1", "dbgbcr0_el1", "dbgwvr0_el1", "dbgwcr0_el1", "osdlr_el1");
access!(interrupts: "icc_sre_el1", "icc_pmr_el1", "icc_igrpen1_el1", "icc_bpr1_el1", "icc_ctlr_el1");
access!(implementation: "actlr_el1", "afsr0_el1", "afsr1_el1", "s3_1_c15_c2_0", "s3_1_c15_c2_1", "s3_1_c11_c0_2");
access!(hypervisor: "hcr_el2", "vttbr_el2", "vbar_el2", "sctlr_el2", "tpidr_el2", "elr_el2", "sp_el1");
access!(secure: "scr_el3", "sctlr_el3", "vbar_el3");

fn main() -> u8 {
    match arg(1) {
        "timers" => timers(),
        "monitors" => monitors(),
        "debug" => debug(),
        "interrupts" => interrupts(),
        "implementation" => implementation(),
        "hypervisor" => hypervisor(),
        "secure" => secure(),
        "lock" => lock(),
        "interrupt-everyone" => interrupt_everyone(),
        "forget-translations" => forget_translations(),
        "forget-hypervisor-translations" => forget_hypervisor_translations(),
        "control" => control(),
        group => unreachable!("no such group: {group}"),
    }
    println!("after");
    0
}

/// The OS lock of the debug registers, which can only be written.
fn lock() {
    // SAFETY: nothing in this program depends on it.
    unsafe { asm!("msr oslar_el1, {}", in(reg) 1_u64) }
}

/// An interrupt to all other cores.
fn interrupt_everyone() {
    // SAFETY: nothing in this program depends on it.
    unsafe { asm!("msr icc_sgi1r_el1, {}", in(reg) 1_u64 << 40 | 0xFFFF) }
}

fn forget_translations() {
    // SAFETY: what is forgotten is looked up again.
    unsafe { asm!("tlbi vmalle1is", "dsb sy", "ic ialluis", "isb") }
}

fn forget_hypervisor_translations() {
    // SAFETY: what is forgotten is looked up again.
    unsafe { asm!("tlbi alle2is", "dsb sy", "isb") }
}

/// Everything on at once: MMU, big-endian data, alignment checks and all that is reserved.
fn control() {
    // SAFETY: none; that is the point.
    unsafe { asm!("msr sctlr_el1, {}", "isb", in(reg) u64::MAX) }
}
