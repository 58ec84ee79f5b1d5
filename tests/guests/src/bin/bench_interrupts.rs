//! Measures interrupts of a VM with two vCPUs on a board with two cores: from the virtual timer, and from one vCPU to the other.
//! Prints `figure NAME TICKS COUNT` for each figure: how long that many of them took, in ticks of the virtual counter.
#![no_std]
#![no_main]

use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, DAIF, Readable, VBAR_EL1, Writeable};
use guest_rt::{abi, entry, println, time};
use test_guests::gic::{self, TIMER};

entry!(main, other);

/// The interrupt that the vCPUs send each other.
const CALL: u32 = 5;
const CALLS: u64 = 1024;
const ALARMS: u64 = 256;

/// Interrupts that [`handle`] has taken.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// From when the timer was due to the first instruction of the handler, all together.
static LATE: AtomicU64 = AtomicU64::new(0);
/// The second vCPU can be called.
static READY: AtomicBool = AtomicBool::new(false);
/// The second vCPU computes, and takes calls with its handler.
static AT_WORK: AtomicBool = AtomicBool::new(true);

// An IRQ calls `handle` with the time of its second instruction; the first saves the register for that. Any other exception
// ends the VM with its vector's offset, in units of 128 bytes.
global_asm!(
    ".section .text.vectors, \"ax\"",
    ".balign 2048",
    "vectors:",
    ".irp vector, 0, 1, 2, 3, 4",
    "    mov x0, {exit}",
    "    mov x1, #0x40 + \\vector",
    "    hvc #0",
    ".balign 128",
    ".endr",
    "    stp x0, x1, [sp, #-16]!",
    "    mrs x0, cntvct_el0",
    "    stp x2, x3, [sp, #-16]!",
    "    stp x4, x5, [sp, #-16]!",
    "    stp x6, x7, [sp, #-16]!",
    "    stp x8, x9, [sp, #-16]!",
    "    stp x10, x11, [sp, #-16]!",
    "    stp x12, x13, [sp, #-16]!",
    "    stp x14, x15, [sp, #-16]!",
    "    stp x16, x17, [sp, #-16]!",
    "    stp x18, x30, [sp, #-16]!",
    "    bl {handle}",
    "    ldp x18, x30, [sp], #16",
    "    ldp x16, x17, [sp], #16",
    "    ldp x14, x15, [sp], #16",
    "    ldp x12, x13, [sp], #16",
    "    ldp x10, x11, [sp], #16",
    "    ldp x8, x9, [sp], #16",
    "    ldp x6, x7, [sp], #16",
    "    ldp x4, x5, [sp], #16",
    "    ldp x2, x3, [sp], #16",
    "    ldp x0, x1, [sp], #16",
    "    eret",
    ".balign 128",
    ".irp vector, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "    mov x0, {exit}",
    "    mov x1, #0x40 + \\vector",
    "    hvc #0",
    ".balign 128",
    ".endr",
    exit = const abi::EXIT,
    handle = sym handle,
);

unsafe extern "C" {
    safe static vectors: u8;
}

fn main() -> u8 {
    gic::init();
    set_up_vcpu();
    while !READY.load(Ordering::Acquire) {
        give_way();
    }
    println!("figure timer_latency {} {ALARMS}", timer());
    println!("figure sgi_cross {} {CALLS}", cross());
    println!("figure sgi_pingpong {} {CALLS}", ping_pong());
    0
}

/// What the second vCPU does: sleep until it is called, then take calls with its handler, then answer them.
fn other(_vcpu: u64) -> ! {
    gic::init_vcpu();
    set_up_vcpu();
    READY.store(true, Ordering::Release);
    take();
    allow_interrupts(true);
    while AT_WORK.load(Ordering::Acquire) {
        give_way();
    }
    allow_interrupts(false);
    loop {
        take();
        gic::send_to(0, CALL);
    }
}

fn set_up_vcpu() {
    VBAR_EL1.set((&raw const vectors).addr() as u64);
    aarch64_cpu::asm::barrier::isb(aarch64_cpu::asm::barrier::SY);
    gic::enable(CALL, 0x80);
}

/// The alarm goes off while the vCPU computes. How late it is, is known to the tick before: one is added.
fn timer() -> u64 {
    gic::enable(TIMER, 0x80);
    allow_interrupts(true);
    for count in 1..=ALARMS {
        CNTV_CVAL_EL0.set(time::counter() + time::frequency() / 50_000);
        CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
        while TAKEN.load(Ordering::Relaxed) < count {}
    }
    allow_interrupts(false);
    LATE.load(Ordering::Relaxed) + ALARMS
}

/// Calls a vCPU that computes, and waits until its handler says that it was called.
fn cross() -> u64 {
    // Wakes it: what it does from then on is to compute.
    gic::send_to(1, CALL);
    pause();
    let taken = TAKEN.load(Ordering::Relaxed);
    let start = time::counter();
    for count in 1..=CALLS {
        gic::send_to(1, CALL);
        while TAKEN.load(Ordering::Acquire) < taken + count {
            give_way();
        }
    }
    let ticks = time::counter() - start;
    AT_WORK.store(false, Ordering::Release);
    pause();
    ticks
}

/// Calls a vCPU that waits, and waits for its answer.
fn ping_pong() -> u64 {
    let start = time::counter();
    for _ in 0..CALLS {
        gic::send_to(1, CALL);
        take();
    }
    time::counter() - start
}

/// Waits for an interrupt, and takes it without a handler.
fn take() {
    loop {
        if let Some(acknowledged) = gic::acknowledge() {
            return gic::end(acknowledged);
        }
        gic::wait();
    }
}

/// What the vectors call for an IRQ. Only general registers are saved.
extern "C" fn handle(now: u64) {
    let Some(acknowledged) = gic::acknowledge() else { return };
    if acknowledged & 0x3ff == TIMER {
        CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
        LATE.fetch_add(now - CNTV_CVAL_EL0.get(), Ordering::Relaxed);
    }
    gic::end(acknowledged);
    TAKEN.fetch_add(1, Ordering::Release);
}

fn allow_interrupts(allowed: bool) {
    DAIF.write(if allowed { DAIF::I::Unmasked } else { DAIF::I::Masked });
}

/// Lets the other vCPU come to where it then stays.
fn pause() {
    let end = time::counter() + time::frequency() / 1000;
    while time::counter() < end {
        give_way();
    }
}

/// Computes on. QEMU, which emulates all cores in one thread, goes on with another one.
fn give_way() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
}
