//! Group 0x20: files.

use super::{Errno, record::put};
use crate::{
    clock,
    files::{Error, FileSystem},
    memory::guest::GuestMemory,
    vm::Vm,
};
use spin::MutexGuard;
use tinyvmm_abi::{
    EINVAL, ENAMETOOLONG, ENOSYS,
    files::{
        Entry, FILE_CLOSE, FILE_MKDIR, FILE_OPEN, FILE_READ, FILE_READDIR, FILE_RENAME, FILE_SEEK,
        FILE_SPACE, FILE_STAT, FILE_SYNC, FILE_TRUNCATE, FILE_UNLINK, FILE_WRITE, PATH_MAX, TRANSFER_MAX,
    },
};

impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        Self(error.number())
    }
}

const PATH_SIZE: usize = 1024;
const _: () = assert!(PATH_SIZE as u64 == PATH_MAX);

/// Most paths are not longer. To clear or to move room for a longer one would cost more than most calls.
const SHORT_PATH: usize = 64;

/// The path that the guest names, read into a buffer that has room for as many bytes, or for the longest path.
fn path<'b>(
    memory: &GuestMemory,
    address: u64,
    length: u64,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let range = memory.check(address, length)?;
    if length > PATH_MAX {
        return Err(Errno(ENAMETOOLONG));
    }
    let length = memory.read(range, buffer);
    Ok(&buffer[..length])
}

fn done((): ()) -> u64 {
    0
}

/// Carries out a call of the group.
#[inline(never)]
pub(super) fn call(vm: &Vm, number: u64, args: [u64; 4]) -> Result<u64, Errno> {
    let [a1, a2, a3, _] = args;
    let files = || vm.files.lock();
    Ok(match number {
        FILE_OPEN | FILE_STAT | FILE_MKDIR | FILE_UNLINK | FILE_RENAME if a2 <= SHORT_PATH as u64 => {
            return on_path(vm, number, args, &mut [0; SHORT_PATH]);
        }
        FILE_OPEN | FILE_STAT | FILE_MKDIR | FILE_UNLINK | FILE_RENAME => {
            return on_path(vm, number, args, &mut [0; PATH_SIZE]);
        }
        FILE_CLOSE => files().close(a1).map(done)?,
        FILE_READ => return read(vm, files(), a1, a2, a3),
        FILE_WRITE => return write(vm, files(), a1, a2, a3),
        FILE_SEEK => files().seek(a1, a2.cast_signed(), a3)?,
        FILE_READDIR => return next_entry(vm, files(), a1, a2),
        FILE_TRUNCATE => files().truncate(a1, a2, clock::now()).map(done)?,
        FILE_SYNC => 0,
        FILE_SPACE => put(&vm.memory, a1, &files().space()).map(done)?,
        _ => return Err(Errno(ENOSYS)),
    })
}

/// A call that names a file, with a buffer for its name.
fn on_path(vm: &Vm, number: u64, args: [u64; 4], buffer: &mut [u8]) -> Result<u64, Errno> {
    let [address, length, a3, a4] = args;
    let path = path(&vm.memory, address, length, buffer)?;
    let mut files = vm.files.lock();
    Ok(match number {
        FILE_OPEN => files.open(path, a3, clock::now())?,
        FILE_STAT => put(&vm.memory, a3, &files.status(path)?).map(done)?,
        FILE_MKDIR => files.make_directory(path, clock::now()).map(done)?,
        FILE_UNLINK if a3 > 1 => return Err(Errno(EINVAL)),
        FILE_UNLINK => files.remove(path, a3 == 1).map(done)?,
        _ => rename(vm, &mut files, path, a3, a4).map(done)?,
    })
}

fn rename(vm: &Vm, files: &mut FileSystem, from: &[u8], address: u64, length: u64) -> Result<(), Errno> {
    let mut buffer = [0; PATH_SIZE];
    Ok(files.rename(from, path(&vm.memory, address, length, &mut buffer)?)?)
}

fn read(
    vm: &Vm,
    mut files: MutexGuard<'_, FileSystem>,
    file: u64,
    address: u64,
    len: u64,
) -> Result<u64, Errno> {
    let range = vm.memory.check(address, len)?.truncate(TRANSFER_MAX);
    Ok(files.read(file, range.len(), vm.memory.writer(range))?)
}

fn write(
    vm: &Vm,
    mut files: MutexGuard<'_, FileSystem>,
    file: u64,
    address: u64,
    len: u64,
) -> Result<u64, Errno> {
    let range = vm.memory.check(address, len)?.truncate(TRANSFER_MAX);
    Ok(files.write(file, range.len(), clock::now(), vm.memory.reader(range))?)
}

fn next_entry(
    vm: &Vm,
    mut files: MutexGuard<'_, FileSystem>,
    directory: u64,
    address: u64,
) -> Result<u64, Errno> {
    vm.memory.check(address, size_of::<Entry>() as u64)?;
    match files.next_entry(directory)? {
        Some(entry) => put(&vm.memory, address, &entry).map(|()| 1),
        None => Ok(0),
    }
}
