//! Group 0x20: files.
//!
//! A VM has a file system of its own in memory, which ends with the VM: what it writes takes from the quota of
//! its manifest. The files that the manifest gives it are there too, and cannot be changed.
//!
//! A path is absolute, at most [`PATH_MAX`] bytes long and has no `.` or `..`; it is passed as address and
//! length. Sizes and positions are in bytes, times in nanoseconds as [`WALL_CLOCK`](super::WALL_CLOCK) has them.
//! Errors are those of POSIX.

/// Opens the file with the path `x1`, `x2` as the bits `x3` say ([`OPEN_READ`] and the following), or a
/// directory for [`FILE_READDIR`] with [`OPEN_READ`] alone. Returns its number.
pub const FILE_OPEN: u64 = 0x20;
/// Closes the open file `x1`. Returns 0.
pub const FILE_CLOSE: u64 = 0x21;
/// Reads at most `x3` bytes of the open file `x1` to address `x2`, and moves its position. Returns the bytes
/// read, at most [`TRANSFER_MAX`], and 0 at the end.
pub const FILE_READ: u64 = 0x22;
/// Writes `x3` bytes from address `x2` to the open file `x1`, and moves its position. Returns the bytes
/// written, at most [`TRANSFER_MAX`].
pub const FILE_WRITE: u64 = 0x23;
/// Moves the position of the open file `x1` to the signed offset `x2` from [`SEEK_SET`], [`SEEK_CUR`] or
/// [`SEEK_END`], which `x3` names. Returns the position.
pub const FILE_SEEK: u64 = 0x24;
/// Writes the [`Status`] of what has the path `x1`, `x2` to address `x3`. Returns 0.
pub const FILE_STAT: u64 = 0x25;
/// Writes the next [`Entry`] of the open directory `x1` to address `x2`. Returns 1, or 0 after the last one.
pub const FILE_READDIR: u64 = 0x26;
/// Makes a directory with the path `x1`, `x2`. Returns 0.
pub const FILE_MKDIR: u64 = 0x27;
/// Removes what has the path `x1`, `x2`: a file, or if `x3` is 1 an empty directory. A file that is open lives
/// on until it is closed. Returns 0.
pub const FILE_UNLINK: u64 = 0x28;
/// Gives what has the path `x1`, `x2` the path `x3`, `x4`, in place of a file or an empty directory that is
/// there. Returns 0.
pub const FILE_RENAME: u64 = 0x29;
/// Cuts the open file `x1` to `x2` bytes, or fills it up with zeros. Returns 0.
pub const FILE_TRUNCATE: u64 = 0x2a;
/// Makes what was written durable, as far as that goes for memory. Returns 0.
pub const FILE_SYNC: u64 = 0x2b;
/// Writes the [`Space`] of the file system to address `x1`. Returns 0.
pub const FILE_SPACE: u64 = 0x2c;

/// Bit of [`FILE_OPEN`]: for reading.
pub const OPEN_READ: u64 = 1 << 0;
/// Bit of [`FILE_OPEN`]: for writing.
pub const OPEN_WRITE: u64 = 1 << 1;
/// Bit of [`FILE_OPEN`], for writing: each write goes to the end.
pub const OPEN_APPEND: u64 = 1 << 2;
/// Bit of [`FILE_OPEN`], for writing: makes the file if it is not there.
pub const OPEN_CREATE: u64 = 1 << 3;
/// Bit of [`FILE_OPEN`], for writing: empties the file.
pub const OPEN_TRUNCATE: u64 = 1 << 4;
/// Bit of [`FILE_OPEN`], with [`OPEN_CREATE`]: the file must not be there.
pub const OPEN_EXCLUSIVE: u64 = 1 << 5;

/// [`FILE_SEEK`] from the start.
pub const SEEK_SET: u64 = 0;
/// [`FILE_SEEK`] from where the position is.
pub const SEEK_CUR: u64 = 1;
/// [`FILE_SEEK`] from the end.
pub const SEEK_END: u64 = 2;

/// Longest path in bytes.
pub const PATH_MAX: u64 = 1024;
/// Longest name in bytes.
pub const NAME_MAX: usize = 255;
/// Room for a name and at least one NUL, in bytes.
pub const NAME_SIZE: usize = NAME_MAX + 1;
/// Most bytes that one call reads or writes: call again for the rest.
pub const TRANSFER_MAX: u64 = 64 << 10;
/// Most files and directories that can be open at a time.
pub const OPEN_MAX: usize = 32;
/// Largest file in bytes.
pub const SIZE_MAX: u64 = 1 << 32;

/// What [`Status::kind`] and [`Entry::kind`] say of a directory.
pub const KIND_DIRECTORY: u32 = 1;
/// What they say of a file.
pub const KIND_FILE: u32 = 2;

/// What there is to know about a file or a directory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// [`KIND_DIRECTORY`] or [`KIND_FILE`].
    pub kind: u32,
    /// 1 if it cannot be changed.
    pub read_only: u32,
    /// Size of a file in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: u64,
    /// A number that no other file or directory has at the same time.
    pub inode: u64,
}

/// An entry of a directory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// [`KIND_DIRECTORY`] or [`KIND_FILE`].
    pub kind: u32,
    /// Length of the name in bytes.
    pub name_length: u32,
    /// Size of a file in bytes.
    pub size: u64,
    /// As in [`Status`].
    pub inode: u64,
    /// The name, then NULs.
    pub name: [u8; NAME_SIZE],
}

/// How much room there is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the units that room is given in, in bytes.
    pub block_size: u64,
    /// Units that there are.
    pub blocks: u64,
    /// Units that are free.
    pub blocks_free: u64,
    /// Files and directories that there can be.
    pub nodes: u64,
    /// How many more of them there can be.
    pub nodes_free: u64,
}
