//! Turns vCPUs and the VM on and off, in good order and wildly. The argument says what is done. Prints a line for
//! each check that fails; their number is the exit code.
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_rt::{entry, info, memory, println, time};
use test_guests::psci::{self, Conduit};
use test_guests::random::Random;
use test_guests::{arg, check, failures};

entry!(main, off);

/// Wild calls.
const WILD_CALLS: u64 = 4000;

fn main() -> u8 {
    match arg(1) {
        "cycles" => cycles(arg(2).parse().expect("a number")),
        "wild" => wild(),
        "off" => off(0),
        "reset" => reset(),
        "reset-at-once" => drop(psci::call(Conduit::Secure, [psci::SYSTEM_RESET2, 0, 0, 0])),
        "system-off" => drop(psci::call(Conduit::Hypervisor, [psci::SYSTEM_OFF, 0, 0, 0])),
        mode => unreachable!("no such mode: {mode}"),
    }
    println!("checked");
    failures()
}

/// What every other vCPU does first. It is on again only if it is turned on.
fn off(_vcpu: u64) -> ! {
    psci::call(Conduit::Hypervisor, [psci::CPU_OFF, 0, 0, 0]);
    unreachable!("a vCPU is off and goes on")
}

/// What a vCPU that was turned on leaves: how often, and a bit for each register that was not as after a reset.
#[repr(C)]
struct Visits {
    count: AtomicU64,
    leftovers: AtomicU64,
}

static VISITS: Visits = Visits { count: AtomicU64::new(0), leftovers: AtomicU64::new(0) };

unsafe extern "C" {
    /// Where a vCPU is turned on: it has no stack, and [`VISITS`] in X0. Spoils its registers, and turns itself off.
    static visit: u8;
}

global_asm!(
    ".altmacro",
    ".macro gather n",
    "    orr x1, x1, x\\n",
    ".endm",
    ".macro spoil n",
    "    mov x\\n, #-1",
    ".endm",
    ".macro for_registers operation, from, to",
    "    .set n, \\from",
    "    .rept \\to - \\from + 1",
    "    \\operation %n",
    "    .set n, n + 1",
    "    .endr",
    ".endm",
    ".global visit",
    "visit:",
    "    for_registers gather, 2, 30",
    "    mov x2, sp",
    "    orr x1, x1, x2",
    "    mrs x2, vbar_el1",
    "    orr x1, x1, x2",
    "    mrs x2, tpidr_el0",
    "    orr x1, x1, x2",
    "    mrs x2, daif", // All of them are masked.
    "    eor x2, x2, #0x3c0",
    "    orr x1, x1, x2",
    "    ldr x2, [x0, #8]",
    "    orr x1, x1, x2",
    "    str x1, [x0, #8]",
    "    ldr x2, [x0]",
    "    add x2, x2, #1",
    "    stlr x2, [x0]",
    "    and x3, x2, #1",
    "    for_registers spoil, 4, 30",
    "    mov sp, x4",
    "    msr tpidr_el0, x4",
    "    msr vbar_el1, x0",
    "    mov w0, #{off} & 0xffff",
    "    movk w0, #{off} >> 16, lsl #16",
    "    cbz x3, 1f",
    "    hvc #0",
    "1:  smc #0",
    ".noaltmacro",
    off = const psci::CPU_OFF,
);

/// Turns each of the other vCPUs on so that it turns itself off, many times.
fn cycles(count: u64) {
    let others = u64::from(info::vcpu_count()) - 1;
    (1..=others).for_each(wait_until_off);
    for n in 0..count {
        let target = 1 + n % others;
        let conduit = if n % 3 == 0 { Conduit::Secure } else { Conduit::Hypervisor };
        let function = if n % 2 == 0 { psci::CPU_ON } else { psci::CPU_ON & !psci::WIDE };
        let result =
            psci::call(conduit, [function, target, address(&raw const visit), address(&raw const VISITS)]);
        check("a vCPU that is off is turned on", result == 0);
        wait_until_off(target);
        check("it ran once", VISITS.count.load(Ordering::Acquire) == n + 1);
    }
    check("it started with clean registers", VISITS.leftovers.load(Ordering::Acquire) == 0);
    let result = psci::call(Conduit::Hypervisor, [psci::CPU_ON, 0, address(&raw const visit), 0]);
    check("a vCPU that is on is not turned on", result == psci::ALREADY_ON);
}

/// Lets others have the core until a vCPU is off.
fn wait_until_off(vcpu: u64) {
    while affinity_info(vcpu) != psci::OFF {
        time::wait_until(time::counter() + time::frequency() / 100_000);
    }
}

fn affinity_info(vcpu: u64) -> i64 {
    psci::call(Conduit::Hypervisor, [psci::AFFINITY_INFO, vcpu, 0, 0])
}

/// Addresses have 64 bits on this machine.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// No wild call does anything.
fn wild() {
    (1..u64::from(info::vcpu_count())).for_each(wait_until_off);
    let mut random = Random::new(5);
    for _ in 0..WILD_CALLS {
        let conduit = random.one_of(&[Conduit::Hypervisor, Conduit::Secure]);
        let registers = [function(&mut random), affinity(&mut random), nowhere(&mut random), random.number()];
        let result = psci::call(conduit, registers);
        if !(-9..=0x1_0001).contains(&result) {
            println!("FAIL: {registers:#x?} gave {result}");
            check("a result of PSCI", false);
        }
    }
    check(
        "others are still off",
        (1..u64::from(info::vcpu_count())).all(|vcpu| affinity_info(vcpu) == psci::OFF),
    );
}

/// A function of PSCI, but none that turns something off; or another one of Arm's calling convention.
fn function(random: &mut Random) -> u64 {
    const LEFT_OUT: [u64; 5] =
        [psci::CPU_SUSPEND, psci::CPU_OFF, psci::SYSTEM_OFF, psci::SYSTEM_RESET, psci::SYSTEM_RESET2];
    let any = 0x8000_0000 | random.number() >> 33;
    let near = 0x8400_0000 | random.below(0x20);
    let id = random.one_of(&[psci::CPU_ON, psci::AFFINITY_INFO, near, near, any])
        ^ random.one_of(&[0, psci::WIDE]);
    if LEFT_OUT.iter().any(|left_out| (left_out ^ id) & !psci::WIDE == 0) { psci::CPU_ON } else { id }
}

/// A vCPU, or none.
fn affinity(random: &mut Random) -> u64 {
    let wild = random.number();
    random.one_of(&[0, 1, 2, 1 << 8 | 1, 1 << 16, 1 << 31 | 1, 1 << 32 | 1, u64::MAX, wild])
}

/// An address where no vCPU can start.
fn nowhere(random: &mut Random) -> u64 {
    let wild = random.number();
    let end = info::ram_size();
    random.one_of(&[
        1,
        0x1_0002,
        end,
        end - 2,
        0x4008_0000,
        0x8000_0000,
        0x9000_0000,
        u64::MAX,
        wild | 1,
        wild | 1 << 63 | 1 << 31,
    ])
}

/// Each start finds memory that is zero, and leaves it full.
fn reset() {
    let free = memory::free();
    let start: *mut u64 = core::ptr::with_exposed_provenance_mut(free.start.next_multiple_of(8));
    // SAFETY: the range is RAM, and this program has no heap that would use it.
    let words = unsafe { core::slice::from_raw_parts_mut(start, free.len() / 8 - 1) };
    check("memory is zero", words.iter().all(|word| *word == 0));
    words.fill(u64::MAX);
    println!("started");
    if failures() == 0 {
        psci::call(Conduit::Hypervisor, [psci::SYSTEM_RESET, 0, 0, 0]);
    }
}
