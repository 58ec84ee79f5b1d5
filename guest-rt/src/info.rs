//! What the guest reads about itself from the info page, without an exit to the hypervisor.

use core::ffi::CStr;

use tinyvmm_abi::{self as abi, InfoPage};

/// Size of the VM's RAM in bytes.
pub fn ram_size() -> u64 {
    // SAFETY: see `page`; the hypervisor never changes this field.
    unsafe { (*page()).ram_size }
}

/// Number of the VM's vCPUs.
pub fn vcpu_count() -> u32 {
    // SAFETY: see `page`; the hypervisor never changes this field.
    unsafe { (*page()).vcpu_count }
}

/// Whether console input waits to be read.
pub fn input_waits() -> bool {
    console_flags() & abi::CONSOLE_INPUT != 0
}

/// Whether there is a Ctrl-C in the input that waits to be read.
pub fn interrupt_waits() -> bool {
    console_flags() & abi::CONSOLE_INTERRUPT != 0
}

fn console_flags() -> u32 {
    // SAFETY: see `page`; the hypervisor changes this field at any time, so the read is volatile.
    unsafe { (&raw const (*page()).console_flags).read_volatile() }
}

/// The argument strings. The first is the name of the program.
pub fn args() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: see `page`; the hypervisor never changes this field once the VM runs.
    let mut rest: &'static [u8] = unsafe { &(*page()).args };
    (0..arg_count()).map_while(move |_| {
        let arg = CStr::from_bytes_until_nul(rest).ok()?;
        rest = &rest[arg.to_bytes_with_nul().len()..];
        Some(arg)
    })
}

fn arg_count() -> u32 {
    // SAFETY: see `page`; the hypervisor never changes this field.
    unsafe { (*page()).arg_count }
}

/// The ROM image: read-only data that the VM was given. Empty when there is none.
pub fn rom() -> &'static [u8] {
    // SAFETY: see `page`; the hypervisor never changes these fields.
    let (address, length) = unsafe { ((*page()).rom_address, (*page()).rom_length) };
    match usize::try_from(length) {
        // SAFETY: the hypervisor maps the image there for as long as the VM lives.
        Ok(length) if address != 0 => unsafe { core::slice::from_raw_parts(pointer(address), length) },
        _ => &[],
    }
}

/// The info page, which the hypervisor maps in every guest of the `tiny` machine for as long as it lives.
fn page() -> *const InfoPage {
    pointer(abi::INFO_PAGE_BASE)
}

/// A pointer to what the hypervisor put at a fixed address. Addresses have 64 bits on this machine.
fn pointer<T>(address: u64) -> *const T {
    core::ptr::with_exposed_provenance(usize::from_ne_bytes(address.to_ne_bytes()))
}
