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

/// A path that the guest named.
struct Path {
    bytes: [u8; PATH_SIZE],
    length: usize,
}

const PATH_SIZE: usize = 1024;
const _: () = assert!(PATH_SIZE as u64 == PATH_MAX);

impl Path {
    fn read(memory: &GuestMemory, address: u64, length: u64) -> Result<Self, Errno> {
        let range = memory.check(address, length)?;
        if length > PATH_MAX {
            return Err(Errno(ENAMETOOLONG));
        }
        let mut path = Self { bytes: [0; PATH_SIZE], length: 0 };
        path.length = memory.read(range, &mut path.bytes);
        Ok(path)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Carries out a call of the group.
#[inline(never)]
pub(super) fn call(vm: &Vm, number: u64, args: [u64; 4]) -> Result<u64, Errno> {
    let [a1, a2, a3, a4] = args;
    let path = || Path::read(&vm.memory, a1, a2);
    let files = || vm.files.lock();
    let done = |()| 0;
    Ok(match number {
        FILE_OPEN => files().open(path()?.bytes(), a3, clock::now())?,
        FILE_CLOSE => files().close(a1).map(done)?,
        FILE_READ => return read(vm, files(), a1, a2, a3),
        FILE_WRITE => return write(vm, files(), a1, a2, a3),
        FILE_SEEK => files().seek(a1, a2.cast_signed(), a3)?,
        FILE_STAT => put(&vm.memory, a3, &files().status(path()?.bytes())?).map(done)?,
        FILE_READDIR => return next_entry(vm, files(), a1, a2),
        FILE_MKDIR => files().make_directory(path()?.bytes(), clock::now()).map(done)?,
        FILE_UNLINK if a3 > 1 => return Err(Errno(EINVAL)),
        FILE_UNLINK => files().remove(path()?.bytes(), a3 == 1).map(done)?,
        FILE_RENAME => {
            let to = Path::read(&vm.memory, a3, a4)?;
            files().rename(path()?.bytes(), to.bytes()).map(done)?
        }
        FILE_TRUNCATE => files().truncate(a1, a2, clock::now()).map(done)?,
        FILE_SYNC => 0,
        FILE_SPACE => put(&vm.memory, a1, &files().space()).map(done)?,
        _ => return Err(Errno(ENOSYS)),
    })
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
