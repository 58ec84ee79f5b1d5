//! The VM's files.

use core::mem::MaybeUninit;

use tinyvmm_abi::files as abi;
pub use tinyvmm_abi::files::{
    Entry, OPEN_APPEND, OPEN_CREATE, OPEN_EXCLUSIVE, OPEN_READ, OPEN_TRUNCATE, OPEN_WRITE, SEEK_CUR,
    SEEK_END, SEEK_SET, Space, Status,
};

use crate::hypercall::{Errno, address, checked, count, hvc_with, length};

/// An open file or directory. It is closed when it is dropped.
#[derive(Debug)]
pub struct File(u64);

impl File {
    /// Opens what has this path, as the bits `OPEN_*` say.
    pub fn open(path: &str, flags: u64) -> Result<Self, Errno> {
        path_call(abi::FILE_OPEN, path, flags, 0).map(Self)
    }

    /// Reads into the buffer, and returns how many bytes: 0 at the end of the file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let args = [self.0, address(buffer.as_mut_ptr()), length(buffer), 0];
        // SAFETY: the hypervisor writes at most the length of the buffer, which is ours.
        count(unsafe { hvc_with(abi::FILE_READ, args) })
    }

    /// Writes bytes, and returns how many were taken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        // SAFETY: the hypervisor reads the bytes only.
        count(unsafe { hvc_with(abi::FILE_WRITE, [self.0, address(bytes.as_ptr()), length(bytes), 0]) })
    }

    /// Moves the position, and returns it.
    pub fn seek(&mut self, offset: i64, whence: u64) -> Result<u64, Errno> {
        // SAFETY: the call takes no address.
        checked(unsafe { hvc_with(abi::FILE_SEEK, [self.0, offset.cast_unsigned(), whence, 0]) })
    }

    /// Gives the file another size.
    pub fn truncate(&mut self, size: u64) -> Result<(), Errno> {
        // SAFETY: the call takes no address.
        checked(unsafe { hvc_with(abi::FILE_TRUNCATE, [self.0, size, 0, 0]) }).map(drop)
    }

    /// The next entry of a directory.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Errno> {
        let mut entry = MaybeUninit::uninit();
        // SAFETY: the hypervisor writes an entry.
        let found =
            checked(unsafe { hvc_with(abi::FILE_READDIR, [self.0, address(entry.as_mut_ptr()), 0, 0]) })?;
        // SAFETY: it has written one.
        Ok((found != 0).then(|| unsafe { entry.assume_init() }))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the call takes no address. It cannot fail.
        let _ = unsafe { hvc_with(abi::FILE_CLOSE, [self.0, 0, 0, 0]) };
    }
}

/// What there is to know about what has this path.
pub fn status(path: &str) -> Result<Status, Errno> {
    let mut status = MaybeUninit::uninit();
    path_call(abi::FILE_STAT, path, address(status.as_mut_ptr()), 0)?;
    // SAFETY: the hypervisor has written it.
    Ok(unsafe { status.assume_init() })
}

/// Makes a directory.
pub fn make_directory(path: &str) -> Result<(), Errno> {
    path_call(abi::FILE_MKDIR, path, 0, 0).map(drop)
}

/// Removes a file.
pub fn remove_file(path: &str) -> Result<(), Errno> {
    path_call(abi::FILE_UNLINK, path, 0, 0).map(drop)
}

/// Removes an empty directory.
pub fn remove_directory(path: &str) -> Result<(), Errno> {
    path_call(abi::FILE_UNLINK, path, 1, 0).map(drop)
}

/// Gives a file or directory another path.
pub fn rename(from: &str, to: &str) -> Result<(), Errno> {
    path_call(abi::FILE_RENAME, from, address(to.as_ptr()), length(to.as_bytes())).map(drop)
}

/// How much room there is.
pub fn space() -> Result<Space, Errno> {
    let mut space = MaybeUninit::uninit();
    // SAFETY: the hypervisor writes it.
    checked(unsafe { hvc_with(abi::FILE_SPACE, [address(space.as_mut_ptr()), 0, 0, 0]) })?;
    // SAFETY: it has.
    Ok(unsafe { space.assume_init() })
}

/// A call with a path. What else it takes is no buffer, or one of ours.
fn path_call(number: u64, path: &str, third: u64, fourth: u64) -> Result<u64, Errno> {
    let args = [address(path.as_ptr()), length(path.as_bytes()), third, fourth];
    // SAFETY: the callers pass what the call may write to.
    checked(unsafe { hvc_with(number, args) })
}
