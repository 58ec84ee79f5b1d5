//! Prints what the guest can read about itself.
#![no_std]
#![no_main]

use guest_rt::{abi, entry, hypercall, info, println};

entry!(main);

fn main() -> u8 {
    println!("memory {}", info::ram_size());
    println!("vcpus {}", info::vcpu_count());
    for arg in info::args() {
        println!("argument {:?}", arg.to_bytes());
    }
    println!("input {} {}", info::input_waits(), info::interrupt_waits());
    println!("rom {:?}", info::rom().get(..3));
    println!("version {:?}", hypercall::version());
    println!("screen {}x{}", screen() >> 16, screen() & 0xFFFF);
    0
}

fn screen() -> i64 {
    // SAFETY: the call takes no address.
    unsafe { hypercall::hvc(abi::CONSOLE_SIZE, 0, 0) }
}
