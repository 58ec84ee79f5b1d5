//! The VM's disks.

use tinyvmm_abi::disks as abi;
pub use tinyvmm_abi::disks::SECTOR_SIZE;

use crate::hypercall::{Errno, address, checked, hvc_with, length};

/// A disk, by its place in the manifest.
#[derive(Debug, Clone, Copy)]
pub struct Disk(pub u64);

impl Disk {
    /// Number of sectors.
    pub fn sectors(self) -> Result<u64, Errno> {
        // SAFETY: the call takes no address.
        checked(unsafe { hvc_with(abi::BLK_INFO, [self.0, 0, 0, 0]) })
    }

    /// Reads whole sectors from `first` on, and returns how many: the buffer may be longer than what one call reads.
    pub fn read(self, first: u64, buffer: &mut [u8]) -> Result<u64, Errno> {
        let args = [self.0, first, address(buffer.as_mut_ptr()), length(buffer) / SECTOR_SIZE];
        // SAFETY: the hypervisor writes at most the length of the buffer, which is ours.
        checked(unsafe { hvc_with(abi::BLK_READ, args) })
    }

    /// Writes whole sectors from `first` on, and returns how many were taken.
    pub fn write(self, first: u64, data: &[u8]) -> Result<u64, Errno> {
        let args = [self.0, first, address(data.as_ptr()), length(data) / SECTOR_SIZE];
        // SAFETY: the hypervisor reads the bytes only.
        checked(unsafe { hvc_with(abi::BLK_WRITE, args) })
    }

    /// Has what was written survive a loss of power.
    pub fn flush(self) -> Result<(), Errno> {
        // SAFETY: the call takes no address.
        checked(unsafe { hvc_with(abi::BLK_FLUSH, [self.0, 0, 0, 0]) }).map(drop)
    }
}
