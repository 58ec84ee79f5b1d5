//! A stand-in for the UART on the developer's machine: what is written is lost, and nothing is received.

use super::Sink;

/// No UART.
pub struct Device;

impl Sink for Device {
    fn put(&mut self, _byte: u8) {}
}

impl Device {
    /// No UART: what is written is lost.
    pub const NONE: Self = Self;

    /// Nothing is received.
    pub fn receive(&mut self, _has_room: impl Fn() -> bool, _accept: impl FnMut(u8)) {}
}
