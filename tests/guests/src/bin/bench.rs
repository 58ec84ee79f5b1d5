//! Measures hypercalls, device registers and interrupts from inside a VM. Prints the counter's frequency as `counter HZ`, and for each kind of call
//! `figure NAME TICKS COUNT`: how long that many of them took, in ticks of the virtual counter.
#![no_std]
#![no_main]

use core::arch::asm;
use guest_rt::{abi, entry, println, time};
use test_guests::gic;

entry!(main);

/// Enough to make a tick of the counter more or less unimportant.
const CALLS: u64 = 4096;
/// Fewer, because each one is a line on the console.
const LINES: u64 = 64;
/// A line of 80 characters, its end included.
const LINE: &core::ffi::CStr =
    c"Eighty characters make an ordinary line of console output, the line feed too...\n";
const _: () = assert!(LINE.count_bytes() == 80);

/// `PSCI_VERSION`.
const PSCI_VERSION: u64 = 0x8400_0000;
/// `GICD_IIDR`.
const GICD_IIDR: u64 = abi::virt::GICD_BASE + 8;
/// An SGI.
const SGI: u32 = 3;

fn main() -> u8 {
    // The first calls find caches and translations cold.
    ticks(abi::VERSION, 0, CALLS);
    let null = ticks(abi::VERSION, 0, CALLS);
    let puts = ticks(abi::PUTS, LINE.as_ptr().expose_provenance() as u64, LINES);
    println!("counter {}", time::frequency());
    println!("figure null_hypercall {null} {CALLS}");
    println!("figure puts_80 {puts} {LINES}");
    println!("figure psci_version {} {CALLS}", ticks(PSCI_VERSION, 0, CALLS));
    println!("figure gicd_read {} {CALLS}", register_ticks(GICD_IIDR, CALLS));
    println!("figure sgi_self {} {CALLS}", sgi_ticks(CALLS));
    0
}

/// How long a loop of three instructions takes that reads a device register `count` times.
fn register_ticks(address: u64, count: u64) -> u64 {
    let start = time::counter();
    // SAFETY: reading the register has no side effect.
    unsafe {
        asm!(
            "2: ldr w0, [{address}]",
            "subs {count}, {count}, #1",
            "b.ne 2b",
            address = in(reg) address,
            count = inout(reg) count => _,
            out("x0") _,
            options(nostack),
        );
    }
    time::counter() - start
}

/// How long it takes to send an SGI to itself, acknowledge and end it, `count` times.
fn sgi_ticks(count: u64) -> u64 {
    gic::init();
    gic::enable(SGI, 0x80);
    let start = time::counter();
    for _ in 0..count {
        gic::send_to(0, SGI);
        let acknowledged = loop {
            if let Some(acknowledged) = gic::acknowledge() {
                break acknowledged;
            }
        };
        gic::end(acknowledged);
    }
    time::counter() - start
}

/// How long a loop of five instructions takes that makes `count` hypercalls.
fn ticks(number: u64, argument: u64, count: u64) -> u64 {
    let (start, end): (u64, u64);
    // SAFETY: the calls read at most a constant string, and change X0 only.
    unsafe {
        asm!(
            "isb",
            "mrs {start}, cntvct_el0",
            "2: mov x0, {number}",
            "mov x1, {argument}",
            "hvc #0",
            "subs {count}, {count}, #1",
            "b.ne 2b",
            "isb",
            "mrs {end}, cntvct_el0",
            start = out(reg) start,
            end = out(reg) end,
            number = in(reg) number,
            argument = in(reg) argument,
            count = inout(reg) count => _,
            out("x0") _,
            out("x1") _,
            options(nostack),
        );
    }
    end - start
}
