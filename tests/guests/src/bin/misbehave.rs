//! Does one thing that a guest must not do, or that must not harm anyone but itself.
//!
//! The argument says which. "before" is printed first; "after", and exit code 0, follow only if the VM
//! survives it.
#![no_std]
#![no_main]

use core::arch::asm;
use core::time::Duration;

use guest_rt::{abi, entry, hypercall, info, println};
use test_guests::{arg, stay_busy};

entry!(main);

fn main() -> u8 {
    let case = arg(1);
    println!("before");
    match case {
        "read-above-ram" => read(info::ram_size()),
        "read-hypervisor" => read(0x4008_0000),
        "write-hypervisor" => write(0x4008_0000),
        "write-uart" => write(0x0900_0000),
        "read-last-page" => read(0xFFFF_FFFF_F000),
        "read-last-address" => read(u64::MAX - 7),
        "read-across-end-of-ram" => read(info::ram_size() - 4),
        "read-after-rom" => read(abi::ROM_BASE + 0x20_0000),
        "write-info-page" => write(abi::INFO_PAGE_BASE),
        "write-vectors" => write(abi::VECTORS_BASE),
        "write-rom" => write(abi::ROM_BASE),
        "zero-rom" => zero_block(abi::ROM_BASE),
        "exclusive-info-page" => write_exclusive(abi::INFO_PAGE_BASE),
        "pair-across-end-of-ram" => write_pair(info::ram_size() - 8),
        "jump-nowhere" => jump(0x2000_0000),
        "jump-to-the-top" => jump(0xFFFF_FFFF_FFFF_FFF0),
        "jump-misaligned" => jump(abi::IMAGE_BASE + 2),
        "stack-nowhere" => stack_at(0x7000_0000),
        "frame-pointer-nowhere" => crash_with_frame_pointer(u64::MAX - 7),
        "frame-pointer-to-itself" => crash_with_frame_record(),
        "undefined" => undefined(),
        "breakpoint" => breakpoint(),
        "supervisor-call" => supervisor_call(),
        "hvc-immediate" => hvc_immediate(),
        "semihosting" => semihosting(),
        "secure-monitor-call" => secure_monitor_call(0),
        "psci-cpu-off" => secure_monitor_call(0x8400_0002),
        "psci-system-off" => secure_monitor_call(0x8400_0008),
        "wait-for-event" => wait_for_event(),
        "wait-for-ever" => wait_for_ever(),
        "loop-for-ever" => loop_for_ever(),
        "return-to-el0" => return_to_el0(),
        "return-to-el2" => return_to_el2(),
        "fault-in-a-loop" => fault_in_a_loop(),
        "hypercalls-for-ever" => hypercalls_for_ever(),
        "no-floating-point" => no_floating_point(),
        "virtual-timer-storm" => virtual_timer_storm(),
        "physical-timer-storm" => physical_timer_storm(),
        "own-page-tables-nowhere" => own_page_tables_nowhere(),
        _ => unreachable!("no such case: {case}"),
    }
    println!("after");
    0
}

fn read(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("ldr {value}, [{address}]", value = out(reg) _, address = in(reg) address) }
}

fn write(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("str xzr, [{address}]", address = in(reg) address) }
}

fn write_pair(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("stp xzr, xzr, [{address}]", address = in(reg) address) }
}

fn zero_block(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("dc zva, {address}", address = in(reg) address) }
}

fn write_exclusive(address: u64) {
    // SAFETY: none; that is the point.
    unsafe {
        asm!(
            "ldxr {value}, [{address}]",
            "stxr {status:w}, {value}, [{address}]",
            value = out(reg) _,
            status = out(reg) _,
            address = in(reg) address,
        );
    }
}

fn jump(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("blr {address}", address = in(reg) address, clobber_abi("C")) }
}

fn stack_at(address: u64) {
    // SAFETY: none; that is the point.
    unsafe {
        asm!(
            "mov {saved}, sp",
            "mov sp, {address}",
            "ldr xzr, [sp, #-16]",
            "mov sp, {saved}",
            saved = out(reg) _,
            address = in(reg) address,
        );
    }
}

/// A crash report with a backtrace has to survive what the guest calls its frames.
fn crash_with_frame_pointer(address: u64) {
    // SAFETY: none; that is the point.
    unsafe { asm!("mov x29, {address}", "udf #0", address = in(reg) address) }
}

/// A frame record that names itself as its caller's.
fn crash_with_frame_record() {
    let mut record = [0, 0x1_0000];
    let address = record.as_ptr().expose_provenance() as u64;
    record[0] = address;
    core::hint::black_box(&record);
    crash_with_frame_pointer(address);
}

fn undefined() {
    // SAFETY: changes nothing.
    unsafe { asm!("udf #0x1234") }
}

fn breakpoint() {
    // SAFETY: changes nothing.
    unsafe { asm!("brk #0x42") }
}

fn supervisor_call() {
    // SAFETY: changes nothing.
    unsafe { asm!("svc #0x42") }
}

/// Only immediate 0 is a hypercall: this must not end the VM with code 99.
fn hvc_immediate() {
    // SAFETY: changes X0 at most.
    unsafe { asm!("hvc #1", inout("x0") abi::EXIT => _, in("x1") 99_u64) }
}

/// Asks for SYS_EXIT with code 0: with semihosting on, that would end QEMU.
fn semihosting() {
    let parameters: [u64; 2] = [0x2_0026, 0];
    // SAFETY: the parameters are read at most.
    unsafe { asm!("hlt #0xf000", inout("x0") 0x18_u64 => _, in("x1") parameters.as_ptr()) }
}

fn secure_monitor_call(function: u64) {
    // SAFETY: changes what the SMC calling convention lets it change.
    unsafe { asm!("smc #0", inout("x0") function => _, clobber_abi("C")) }
}

fn wait_for_event() {
    for _ in 0..1000 {
        // SAFETY: changes nothing.
        unsafe { asm!("wfe") }
    }
}

fn wait_for_ever() {
    loop {
        // SAFETY: changes nothing.
        unsafe { asm!("wfi") }
    }
}

fn loop_for_ever() {
    // SAFETY: changes nothing.
    unsafe { asm!("1: b 1b") }
}

fn hypercalls_for_ever() {
    loop {
        // SAFETY: the call takes no address.
        unsafe { hypercall::hvc(abi::VERSION, 0, 0) };
    }
}

/// Computes with floating-point numbers after it has turned them off.
fn no_floating_point() {
    // SAFETY: none; that is the point.
    unsafe { asm!("msr cpacr_el1, xzr", "isb", "fmov d0, xzr", out("d0") _) }
}

/// A timer that is always due, with interrupts on.
fn virtual_timer_storm() {
    // SAFETY: no interrupt is delivered to this program.
    unsafe {
        asm!("msr cntv_cval_el0, xzr", "msr cntv_ctl_el0, {on}", "msr daifclr, #15", on = in(reg) 1_u64)
    }
    stay_busy(Duration::from_millis(100));
}

/// A timer that is always due, with interrupts on.
fn physical_timer_storm() {
    // SAFETY: no interrupt is delivered to this program.
    unsafe {
        asm!("msr cntp_cval_el0, xzr", "msr cntp_ctl_el0, {on}", "msr daifclr, #15", on = in(reg) 1_u64)
    }
    stay_busy(Duration::from_millis(100));
}

/// The program goes on at EL0, where its next hypercall is undefined.
fn return_to_el0() {
    exception_return(0);
}

/// An illegal return: the level stays EL1, and the next instruction faults.
fn return_to_el2() {
    exception_return(0b1001);
}

fn exception_return(spsr: u64) {
    // SAFETY: the code after the return expects no other state.
    unsafe {
        asm!(
            "mov {scratch}, sp",
            "msr sp_el0, {scratch}",
            "adr {scratch}, 1f",
            "msr elr_el1, {scratch}",
            "msr spsr_el1, {spsr}",
            "isb",
            "eret",
            "1:",
            scratch = out(reg) _,
            spsr = in(reg) spsr,
        );
    }
}

/// Exception vectors in the middle of nowhere: each fault brings the next one, inside the guest.
fn fault_in_a_loop() {
    // SAFETY: none; that is the point.
    unsafe { asm!("msr vbar_el1, {vectors}", "isb", "udf #0", vectors = in(reg) 0x10_0000_u64) }
}

/// Turns the guest's own MMU on with tables where it has no memory.
fn own_page_tables_nowhere() {
    // SAFETY: none; that is the point.
    unsafe {
        asm!(
            "msr ttbr0_el1, {tables}",
            "msr tcr_el1, {control}",
            "isb",
            "mrs {scratch}, sctlr_el1",
            "orr {scratch}, {scratch}, #1",
            "msr sctlr_el1, {scratch}",
            "isb",
            tables = in(reg) 0x4000_0000_u64,
            control = in(reg) 25_u64,
            scratch = out(reg) _,
        );
    }
}
