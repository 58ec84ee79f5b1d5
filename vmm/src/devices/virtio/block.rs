//! A disk (Virtual I/O Device 1.2, 5.2).

use super::{
    Kind,
    chain::{Chain, Cursor},
    queue::{Served, Violation},
    transport::Identity,
};
use crate::{
    disks::{Disk, Error, Extent},
    memory::guest::GuestMemory,
    word::low_word,
};
use bitflags::bitflags;
use tinyvmm_abi::disks::{SECTOR_SIZE, SECTORS_MAX};

bitflags! {
    /// 5.2.3.
    struct Features: u64 {
        const SIZE_MAX = 1 << 1;
        const SEG_MAX = 1 << 2;
        const READ_ONLY = 1 << 5;
        const FLUSH = 1 << 9;
    }
}

/// `type` of a request (5.2.6).
mod kind {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
}

/// `status` of a request that succeeded (5.2.6).
const OK: u8 = 0;

/// What GET_ID tells, in 20 bytes.
const ID: &[u8; 20] = b"tinyvmm\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Largest buffer of a request, in bytes; and how many of them are as much as a disk does at a time.
const SEGMENT_SIZE: u32 = 4096;
const SEGMENTS: u32 = low_word(SECTORS_MAX * SECTOR_SIZE) / SEGMENT_SIZE;

/// What the driver sees of a disk.
#[must_use]
pub fn identity(disk: &Disk) -> Identity {
    let mut features = Features::SIZE_MAX | Features::SEG_MAX | Features::FLUSH;
    features.set(Features::READ_ONLY, disk.is_read_only());
    // `capacity`, `size_max`, `seg_max` (5.2.4).
    let mut config = [0; 16];
    config[..8].copy_from_slice(&disk.sectors().to_le_bytes());
    config[8..12].copy_from_slice(&SEGMENT_SIZE.to_le_bytes());
    config[12..].copy_from_slice(&SEGMENTS.to_le_bytes());
    Identity::new(Kind::Block, features.bits(), 1, &config)
}

/// Why a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// There is no such request.
    Unsupported,
    /// The disk has no such sectors, or they are too many, or not whole.
    OutOfRange,
    /// The disk cannot.
    Disk(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl Failure {
    /// `status` of the request (5.2.6).
    const fn status(self) -> u8 {
        match self {
            Self::OutOfRange | Self::Disk(_) => 1,
            Self::Unsupported => 2,
        }
    }
}

/// Carries out a request. What the disk cannot do, the driver is told, and so is `failed`.
///
/// # Errors
/// It is no request.
pub fn request(
    memory: &GuestMemory,
    chain: &Chain,
    disk: &Disk,
    failed: impl FnOnce(Error),
) -> Result<Served, Violation> {
    let mut header = [[0; size_of::<u64>()]; 2];
    let mut input = chain.to_read();
    let output = chain.to_write();
    if input.read(memory, header.as_flattened_mut()) < size_of_val(&header) || output.is_empty() {
        return Err(Violation::Incomplete);
    }
    let [kind, sector] = header.map(u64::from_le_bytes);
    // The status is the last byte, wherever that is.
    let room = output.len() - 1;
    let (data, mut status) = output.split_at(room);
    let result = match low_word(kind) {
        kind::IN => read(memory, disk, sector, data),
        kind::OUT => write(memory, disk, sector, input),
        kind::FLUSH => disk.flush().map_err(Failure::Disk),
        kind::GET_ID => identify(memory, data),
        _ => Err(Failure::Unsupported),
    };
    if let Err(Failure::Disk(error)) = result {
        failed(error);
    }
    status.write(memory, &[result.map_or_else(Failure::status, |()| OK)]);
    Ok(Served::Whole { written: u32::try_from(room + 1).unwrap_or(u32::MAX) })
}

/// The sectors of a request with so many bytes of data.
fn extent(disk: &Disk, sector: u64, length: u64) -> Result<Extent, Failure> {
    let count = length / SECTOR_SIZE;
    let extent = disk.check(sector, count).map_err(|_| Failure::OutOfRange)?;
    let is_all = extent.sectors() == count && length.is_multiple_of(SECTOR_SIZE);
    if is_all { Ok(extent) } else { Err(Failure::OutOfRange) }
}

fn read(memory: &GuestMemory, disk: &Disk, sector: u64, mut data: Cursor<'_>) -> Result<(), Failure> {
    let extent = extent(disk, sector, data.len())?;
    disk.read(extent, |bytes| {
        data.write(memory, bytes);
    })?;
    Ok(())
}

fn write(memory: &GuestMemory, disk: &Disk, sector: u64, mut data: Cursor<'_>) -> Result<(), Failure> {
    let extent = extent(disk, sector, data.len())?;
    disk.write(extent, |bytes| {
        data.read(memory, bytes);
    })?;
    Ok(())
}

fn identify(memory: &GuestMemory, mut data: Cursor<'_>) -> Result<(), Failure> {
    data.write(memory, ID);
    Ok(())
}
