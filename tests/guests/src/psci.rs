//! PSCI calls.

use core::arch::asm;

/// Function identifiers, with 64-bit arguments where there are two.
pub const CPU_SUSPEND: u64 = 0xc400_0001;
/// Turns the calling vCPU off.
pub const CPU_OFF: u64 = 0x8400_0002;
/// Turns a vCPU on.
pub const CPU_ON: u64 = 0xc400_0003;
/// Tells whether a vCPU is on.
pub const AFFINITY_INFO: u64 = 0xc400_0004;
/// Turns the VM off.
pub const SYSTEM_OFF: u64 = 0x8400_0008;
/// Starts the VM anew.
pub const SYSTEM_RESET: u64 = 0x8400_0009;
/// The same, by a newer function.
pub const SYSTEM_RESET2: u64 = 0xc400_0012;

/// The bit by which the form with 64-bit arguments differs from the other.
pub const WIDE: u64 = 1 << 30;

/// What AFFINITY_INFO says of a vCPU that is off.
pub const OFF: i64 = 1;
/// What CPU_ON says of a vCPU that is on.
pub const ALREADY_ON: i64 = -4;

/// The instruction of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduit {
    /// `HVC`.
    Hypervisor,
    /// `SMC`.
    Secure,
}

/// Makes a call.
pub fn call(conduit: Conduit, [function, first, second, third]: [u64; 4]) -> i64 {
    let result;
    // SAFETY: PSCI changes X0 alone, and what it starts is the caller's.
    unsafe {
        match conduit {
            Conduit::Hypervisor => {
                asm!("hvc #0", inlateout("x0") function => result, in("x1") first, in("x2") second, in("x3") third);
            }
            Conduit::Secure => {
                asm!("smc #0", inlateout("x0") function => result, in("x1") first, in("x2") second, in("x3") third);
            }
        }
    }
    result
}
