//! The initial RAM disk of a guest: the manifest's file, and after it the manifest's `files` as an archive of their own, which
//! Linux unpacks over it (Documentation/driver-api/early-userspace/buffer-format.rst).

use crate::bundle::manifest::parents;
use alloc::{collections::BTreeSet, format, vec::Vec};

/// Archives begin at multiples of this many bytes; so do the headers and the content of each file in them.
const ALIGNMENT: usize = 4;
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// `st_mode`: a directory and a file that all may read, and execute.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

/// An initial RAM disk.
#[derive(Debug)]
pub struct InitRamDisk<'a> {
    disk: &'a [u8],
    files: Vec<(&'a str, &'a [u8])>,
}

impl<'a> InitRamDisk<'a> {
    /// One that has `disk` and, at these absolute paths, files. `None` if there is neither.
    #[must_use]
    pub fn new(disk: Option<&'a [u8]>, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Self> {
        let files: Vec<_> = files.collect();
        (disk.is_some() || !files.is_empty()).then(|| Self { disk: disk.unwrap_or_default(), files })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let mut size = 0;
        self.write(|piece| size += piece.len() as u64);
        size
    }

    /// Hands over its bytes, piece by piece.
    pub fn write(&self, put: impl FnMut(&[u8])) {
        let mut archive = Archive { put, written: 0, inode: 0 };
        archive.put(self.disk);
        if self.files.is_empty() {
            return;
        }
        archive.align();
        let parents = |(path, _): &(&'a str, _)| parents(path).collect::<Vec<_>>();
        let directories: BTreeSet<&str> = self.files.iter().flat_map(parents).collect();
        directories.into_iter().for_each(|path| archive.entry(path, DIRECTORY, &[]));
        self.files.iter().for_each(|(path, data)| archive.entry(path, FILE, data));
        archive.entry(TRAILER, 0, &[]);
    }
}

/// A cpio archive in the format `newc`.
struct Archive<F> {
    put: F,
    written: usize,
    inode: u32,
}

impl<F: FnMut(&[u8])> Archive<F> {
    fn put(&mut self, bytes: &[u8]) {
        (self.put)(bytes);
        self.written += bytes.len();
    }

    fn align(&mut self) {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.put(&[0; ALIGNMENT][..padding]);
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) {
        let name = path.trim_start_matches('/');
        self.inode += 1;
        let (inode, size, name_size) = (self.inode, data.len(), name.len() + 1);
        // Magic, inode, mode, user, group, links, time, size, two device numbers, length of the name, no checksum.
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0, 1
        );
        self.put(header.as_bytes());
        self.put(name.as_bytes());
        self.put(&[0]);
        self.align();
        self.put(data);
        self.align();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn bytes(disk: Option<&[u8]>, files: &[(&str, &[u8])]) -> Vec<u8> {
        let disk = InitRamDisk::new(disk, files.iter().copied()).unwrap();
        let mut bytes = Vec::new();
        disk.write(|piece| bytes.extend_from_slice(piece));
        assert_eq!(disk.size(), bytes.len() as u64);
        bytes
    }

    #[test]
    fn a_disk_alone_stays_as_it_is() {
        assert_eq!(bytes(Some(b"12345"), &[]), b"12345");
        assert!(InitRamDisk::new(None, core::iter::empty()).is_none());
    }

    #[test]
    fn files_follow_in_an_archive_of_their_own() {
        let bytes = bytes(Some(b"12345"), &[("/a/b/x", b"text"), ("/main.py", b"")]);
        assert_eq!(&bytes[..8], b"12345\0\0\0");
        let mut at = 8;
        let mut names = Vec::new();
        while at < bytes.len() {
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                let digits = core::str::from_utf8(&bytes[start..start + 8]).unwrap();
                usize::from_str_radix(digits, 16).unwrap()
            };
            assert_eq!((&bytes[at..at + 6], at % ALIGNMENT), (&b"070701"[..], 0));
            let name = &bytes[at + 110..at + 110 + field(11)];
            let data = (at + 110 + field(11)).next_multiple_of(ALIGNMENT);
            names.push((
                String::from_utf8(name.to_vec()).unwrap(),
                field(1),
                bytes[data..data + field(6)].to_vec(),
            ));
            at = (data + field(6)).next_multiple_of(ALIGNMENT);
        }
        let entry = |name: &str, mode, data: &[u8]| (String::from(name), mode, data.to_vec());
        let expected = [
            entry("a\0", 0o040_755, b""),
            entry("a/b\0", 0o040_755, b""),
            entry("a/b/x\0", 0o100_755, b"text"),
            entry("main.py\0", 0o100_755, b""),
            entry("TRAILER!!!\0", 0, b""),
        ];
        assert_eq!(names, expected);
    }
}
