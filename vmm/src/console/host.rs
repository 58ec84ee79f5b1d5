//! A stand-in for the UART on the developer's machine: what is written is lost, and nothing is received.

use super::Sink;

/// No UART.
pub(super) struct Device;

impl Sink for Device {
    fn put(&mut self, _byte: u8) {}
}

impl Device {
    /// No UART: what is written is lost.
    pub(super) const NONE: Self = Self;

    /// Nothing is received.
    pub(super) fn receive(&mut self, _bytes: &mut [u8]) -> usize {
        0
    }

    /// Nothing is received anyway.
    pub(super) fn hold(&mut self) {}
}
