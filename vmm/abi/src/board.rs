//! Group 0x90: the board itself, for VMs with [`CAPABILITY_BOARD`].
//!
//! A call without the capability returns `-`[`EPERM`](super::EPERM), one for a device that the board does not have
//! `-`[`ENODEV`](super::ENODEV).

/// Switches the board's activity LED off if `x1` is 0, on if it is 1. Returns 0.
pub const BOARD_LED: u64 = 0x90;
/// Returns the temperature of the processor in millikelvins.
pub const BOARD_TEMPERATURE: u64 = 0x91;

/// May use the board's devices.
pub const CAPABILITY_BOARD: u32 = 1 << 3;
