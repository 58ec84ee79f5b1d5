//! System registers that the `aarch64-cpu` crate does not have.

use core::arch::asm;

/// Reads a system register by its assembler name.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading one of the registers named in `arch` has no side effect.
        unsafe { core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// Writes a system register by its assembler name.
///
/// The caller vouches that the value does not break the hypervisor's own world.
macro_rules! write_register {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags))
    }};
}

pub(super) use {read_register, write_register};

/// Synchronises this core's context: earlier system register writes take effect for what follows.
#[inline]
pub(super) fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// Waits until all earlier memory accesses and maintenance are complete for the inner shareable domain.
#[inline]
pub(super) fn dsb_ish() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
}

/// Waits until all earlier memory accesses are complete for the whole system.
#[inline]
pub(super) fn dsb_sy() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
