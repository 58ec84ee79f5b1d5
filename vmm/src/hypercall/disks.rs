//! Group 0x40: disks.

use super::Errno;
use crate::{
    disks::{Disk, Error, OutOfRange},
    vm::Vm,
};
use tinyvmm_abi::{
    EINVAL, EIO, ENODEV, ENOSPC, ENOSYS, EROFS,
    disks::{BLK_FLUSH, BLK_INFO, BLK_READ, BLK_WRITE, SECTOR_SIZE},
};

impl From<OutOfRange> for Errno {
    fn from(_: OutOfRange) -> Self {
        Self(EINVAL)
    }
}

/// Carries out a call of the group.
#[inline(never)]
pub(super) fn call(vm: &Vm, number: u64, [disk, first, address, count]: [u64; 4]) -> Result<u64, Errno> {
    let index = usize::try_from(disk).map_err(|_| Errno(ENODEV))?;
    let disk = vm.disks.get(index).ok_or(Errno(ENODEV))?;
    match number {
        BLK_INFO => Ok(disk.sectors()),
        BLK_READ => read(vm, disk, first, address, count),
        BLK_WRITE => write(vm, disk, first, address, count),
        BLK_FLUSH => finish(vm, disk, disk.flush()).map(|()| 0),
        _ => Err(Errno(ENOSYS)),
    }
}

fn read(vm: &Vm, disk: &Disk, first: u64, address: u64, count: u64) -> Result<u64, Errno> {
    let extent = disk.check(first, count)?;
    let range = vm.memory.check(address, size(count)?)?;
    finish(vm, disk, disk.read(extent, vm.memory.writer(range))).map(|()| extent.sectors())
}

fn write(vm: &Vm, disk: &Disk, first: u64, address: u64, count: u64) -> Result<u64, Errno> {
    let extent = disk.check(first, count)?;
    let range = vm.memory.check(address, size(count)?)?;
    finish(vm, disk, disk.write(extent, vm.memory.reader(range))).map(|()| extent.sectors())
}

/// Bytes of so many sectors.
fn size(sectors: u64) -> Result<u64, Errno> {
    sectors.checked_mul(SECTOR_SIZE).ok_or(Errno(EINVAL))
}

/// What the guest is told of the end of a request, and the log if it has failed.
fn finish(vm: &Vm, disk: &Disk, result: Result<(), Error>) -> Result<(), Errno> {
    result.map_err(|error| {
        disk.complain(&vm.name, error);
        Errno(match error {
            Error::ReadOnly => EROFS,
            Error::Full => ENOSPC,
            Error::Failed | Error::Gone => EIO,
        })
    })
}
