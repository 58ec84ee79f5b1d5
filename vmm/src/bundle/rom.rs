//! The ROM image of a VM: its files as a file system in MicroPython's ROMFS format, which a guest reads
//! in place.
//!
//! A ROMFS is a tree of records: kind, length of the payload, payload. Numbers are big-endian groups of
//! seven bits, each but the last with bit 7 set; leading groups of zero are allowed. All lengths here
//! have four groups, so that one pass over the files lays out everything, and a file's length gets some
//! more, so that its data is aligned. The format is described at the head of `extmod/vfs_rom.c` in
//! MicroPython 1.25.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use tinyvmm_abi as abi;

const FILE_SYSTEM: [u8; 3] = [0x80 | b'R', 0x80 | b'M', b'1'];
const PADDING: u8 = 1;
const DATA: u8 = 2;
const DIRECTORY: u8 = 4;
const FILE: u8 = 5;

/// Bytes of a number; four groups of seven bits can hold any length up to [`abi::ROM_MAX`].
const NUMBER_SIZE: usize = 4;
const DATA_ALIGNMENT: usize = 8;

/// A read-only file system, ready to be written to memory.
#[derive(Debug)]
pub struct RomFs<'a> {
    files: Vec<(&'a str, &'a [u8])>,
    length: usize,
}

impl<'a> RomFs<'a> {
    /// Plans an image with these files, each with its absolute, normalised path, in the order of
    /// [`VmConfig::files`](super::manifest::VmConfig::files): what is in one directory must stand
    /// together, because a reader looks into the first directory of a name only.
    ///
    /// # Errors
    /// The image would be longer than [`abi::ROM_MAX`].
    pub fn new(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, RomError> {
        let files: Vec<_> = files.into_iter().collect();
        let length = emit(&files, &mut [], |_| {});
        match u64::try_from(length) {
            Ok(size) if size <= abi::ROM_MAX => Ok(Self { files, length }),
            _ => Err(RomError { length }),
        }
    }

    /// Length of the image in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no image is empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Writes the image to the start of `out`, which has room for [`RomFs::len`] bytes; what does not fit
    /// is left out. Calls `each` with the place of each file's data.
    pub fn write_to(&self, out: &mut [u8], each: impl FnMut(usize)) {
        emit(&self.files, out, each);
    }
}

/// Writes what fits of the image to `out`, and returns the length of the whole.
fn emit(files: &[(&str, &[u8])], out: &mut [u8], mut each: impl FnMut(usize)) -> usize {
    let mut writer = Writer { out, position: 0 };
    writer.put(&FILE_SYSTEM);
    let root = writer.open();
    let mut directories: Vec<(&str, Record)> = Vec::new();
    for (path, data) in files {
        while let Some((_, record)) = directories.pop_if(|(prefix, _)| !path.starts_with(*prefix)) {
            writer.close(record);
        }
        let known = directories.last().map_or(1, |(prefix, _)| prefix.len());
        for (prefix, name) in directories_below(path, known) {
            directories.push((prefix, writer.open_named(DIRECTORY, name)));
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        each(writer.file(name, data));
    }
    while let Some((_, record)) = directories.pop() {
        writer.close(record);
    }
    writer.pad_to_even();
    writer.close(root);
    writer.position
}

/// The directories on the way to `path` from its first `known` bytes on: each one's path with a slash at
/// its end, and its name.
fn directories_below(path: &str, known: usize) -> impl Iterator<Item = (&str, &str)> {
    let ends = path.match_indices('/').map(|(slash, _)| slash).filter(move |slash| *slash >= known);
    ends.filter_map(|slash| {
        let name = path.get(..slash)?.rsplit('/').next()?;
        Some((path.get(..=slash)?, name))
    })
}

/// A record whose length is not known yet: where the length belongs.
struct Record {
    length_at: usize,
}

/// Writes one byte after another. What is past the end of `out` is counted but not written, so that the
/// same code measures and writes.
struct Writer<'o> {
    out: &'o mut [u8],
    position: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.position.saturating_add(bytes.len());
        self.put_at(self.position, bytes);
        self.position = end;
    }

    fn put_at(&mut self, position: usize, bytes: &[u8]) {
        let end = position.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(position..end) {
            place.copy_from_slice(bytes);
        }
    }

    fn open(&mut self) -> Record {
        let length_at = self.position;
        self.put(&[0; NUMBER_SIZE]);
        Record { length_at }
    }

    fn open_named(&mut self, kind: u8, name: &str) -> Record {
        self.put(&[kind]);
        let record = self.open();
        self.put(&number(name.len()));
        self.put(name.as_bytes());
        record
    }

    fn close(&mut self, record: Record) {
        let payload = record.length_at.saturating_add(NUMBER_SIZE);
        self.put_at(record.length_at, &number(self.position.saturating_sub(payload)));
    }

    /// Returns where the data is.
    fn file(&mut self, name: &str, data: &[u8]) -> usize {
        let record = self.open_named(FILE, name);
        self.put(&[DATA]);
        while !self.position.saturating_add(NUMBER_SIZE).is_multiple_of(DATA_ALIGNMENT) {
            self.put(&[0x80]);
        }
        self.put(&number(data.len()));
        let start = self.position;
        self.put(data);
        self.close(record);
        start
    }

    /// The format wants an image of even length.
    fn pad_to_even(&mut self) {
        if !self.position.is_multiple_of(2) {
            self.put(&[PADDING, 1, 0]);
        }
    }
}

/// `value` in four groups of seven bits; larger ones are refused by [`RomFs::new`] later.
fn number(value: usize) -> [u8; NUMBER_SIZE] {
    let group = |index: u32| u8::try_from(value >> (7 * index) & 0x7F).unwrap_or_default();
    [0x80 | group(3), 0x80 | group(2), 0x80 | group(1), group(0)]
}

/// The files of a VM are too much for a ROM image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RomError {
    /// Length that the image would have, in bytes.
    pub length: usize,
}

impl fmt::Display for RomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, max) = (self.length, abi::ROM_MAX);
        write!(f, "files: {length} bytes with their names are too much: at most {max} fit")
    }
}

impl core::error::Error for RomError {}
