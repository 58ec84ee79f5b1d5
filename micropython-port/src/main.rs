//! MicroPython as a guest of TinyVMM. Most of the port is in C, as upstream's ports are: this file
//! hands over to `main.c`.
#![no_std]
#![no_main]

mod float;

guest_rt::entry!(main, other);

unsafe extern "C" {
    /// Runs the program that the VM's arguments name, and returns its exit code.
    safe fn port_main() -> u8;
    /// Runs threads on a vCPU other than the first.
    safe fn port_other(vcpu: u64) -> !;
}

fn main() -> u8 {
    port_main()
}

fn other(vcpu: u64) -> ! {
    port_other(vcpu)
}
