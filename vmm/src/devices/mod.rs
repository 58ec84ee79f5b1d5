//! Devices: what a guest sees at an address that is not RAM.
//!
//! A load or store that stage 2 does not map becomes an [`MmioAccess`](access::MmioAccess); the VM's
//! [`Bus`] says which device is at the address; the device sees an offset, never an address. No
//! model here knows of the hardware below it: time comes in as a number, bytes go out as a value, and an
//! interrupt is a level that the caller reads after each access.

pub mod access;
pub mod bus;
pub mod pl011;
pub mod pl031;
mod prime_cell;
pub mod vgic;
pub mod virtio;

pub use access::Width;
pub use bus::Bus;

/// Something with registers.
///
/// A guest may use any offset in its range with any width: there is always an answer.
pub trait Device {
    /// The value of what is at `offset`, in the low bits.
    fn read(&mut self, offset: u64, width: Width) -> u64;

    /// Changes what is at `offset` to the low bits of `value`.
    fn write(&mut self, offset: u64, width: Width, value: u64);
}
