//! Group 0x40: disks.
//!
//! A VM has the disks of its manifest and goes by their place there, counted from 0. A disk consists of sectors of
//! [`SECTOR_SIZE`] bytes. What has been written survives the end of the VM; a [`BLK_FLUSH`] makes it survive a loss
//! of power.

/// Returns the number of sectors of disk `x1`. `-`[`ENODEV`](super::ENODEV) if the VM has no such disk.
pub const BLK_INFO: u64 = 0x40;
/// Reads at most `x4` sectors of disk `x1`, from sector `x2` on, to address `x3`. Returns the sectors read.
pub const BLK_READ: u64 = 0x41;
/// Writes at most `x4` sectors of disk `x1`, from sector `x2` on, with what is at address `x3`. Returns the sectors
/// written. `-`[`EROFS`](super::EROFS) if the disk cannot be written.
pub const BLK_WRITE: u64 = 0x42;
/// Has disk `x1` keep for good what was written. Returns 0.
pub const BLK_FLUSH: u64 = 0x43;

/// Bytes of a sector.
pub const SECTOR_SIZE: u64 = 512;
/// Most sectors that one call reads or writes: a guest that wants more calls again, so that no call takes long.
pub const SECTORS_MAX: u64 = 64;
/// Most disks of a VM.
pub const DISKS_MAX: usize = 4;
