//! Group 0x90: the board itself, for VMs with [`CAPABILITY_BOARD`].
//!
//! A call without the capability returns `-`[`EPERM`](super::EPERM), one for a device that the board does not have
//! `-`[`ENODEV`](super::ENODEV).

/// Switches the board's activity LED off if `x1` is 0, on if it is 1. Returns 0.
pub const BOARD_LED: u64 = 0x90;
/// Returns the temperature of the processor in millikelvins.
pub const BOARD_TEMPERATURE: u64 = 0x91;
/// Ends all VMs, and then switches the machine off if `x1` is 0, or starts it anew if it is 1. Returns 0, if the caller
/// goes on for so long.
pub const BOARD_POWER: u64 = 0x92;

/// May use the board's devices, and switch it off.
pub const CAPABILITY_BOARD: u32 = 1 << 3;
