//! Makes an initial RAM disk of a directory: an archive that Linux unpacks into its first file system, the same bytes every
//! time.

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};
use flate2::{Compression, write::GzEncoder};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use vmm::vm::virt::InitRamDisk;

/// The first program.
pub(super) const INIT: &str = include_str!("init.sh");
/// What of a distribution's files programs need to run.
pub(super) const NEEDED: [&str; 7] = [
    "usr/bin/busybox",
    "usr/bin/python3",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/ld-linux",
    "usr/lib/modules",
    "usr/lib/python3",
    "etc/ssl",
];
/// Directories that the first program mounts something on.
const MOUNT_POINTS: [&str; 6] = ["dev", "proc", "root", "sys", "tmp", "etc"];
/// Archives begin at multiples of so many bytes.
const ALIGNMENT: usize = 4;
/// Kinds of entries, in `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// The kernel's console, which the first program has for its input and output.
const CONSOLE: (u32, u32) = (5, 1);

/// What is at a path.
struct Entry {
    mode: u32,
    content: Vec<u8>,
    device: (u32, u32),
}

impl Entry {
    fn new(mode: u32, content: Vec<u8>) -> Self {
        Self { mode, content, device: (0, 0) }
    }
}

/// Writes the initial RAM disk with what programs need of `root`.
pub(super) fn make(root: &Path, output: &Path) -> Result<()> {
    let mut entries = BTreeMap::new();
    collect(root, "", &mut entries)?;
    for name in MOUNT_POINTS {
        entries.insert(name.to_owned(), Entry::new(DIRECTORY | 0o755, Vec::new()));
    }
    entries.insert("init".to_owned(), Entry::new(FILE | 0o755, INIT.as_bytes().to_vec()));
    let console = Entry { mode: CHARACTER_DEVICE | 0o600, content: Vec::new(), device: CONSOLE };
    entries.insert("dev/console".to_owned(), console);
    let file = File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
    write(entries, GzEncoder::new(file, Compression::default()))
}

/// Writes what programs need of `root` over an initial RAM disk: as an archive of its own after it, which Linux unpacks next.
pub(super) fn extend(disk: &Path, root: &Path, output: &Path) -> Result<()> {
    let mut entries = BTreeMap::new();
    collect(root, "", &mut entries)?;
    let mut bytes = fs::read(disk).with_context(|| format!("cannot read {}", disk.display()))?;
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    write(entries, GzEncoder::new(&mut bytes, Compression::default()))?;
    fs::write(output, bytes).with_context(|| format!("cannot write {}", output.display()))
}

/// An initial RAM disk as a VM has it with these `files` in its manifest.
pub fn with_files(disk: &Path, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let disk = fs::read(disk).with_context(|| format!("cannot read {}", disk.display()))?;
    let disk = InitRamDisk::new(Some(&disk), files.iter().copied()).context("it has a disk")?;
    let mut bytes = Vec::new();
    disk.write(|piece| bytes.extend_from_slice(piece));
    Ok(bytes)
}

fn write(entries: BTreeMap<String, Entry>, mut output: impl Write) -> Result<()> {
    for (name, entry) in (1..).zip(entries).map(|(inode, (name, entry))| ((name, inode), entry)) {
        let (name, inode) = name;
        let builder = Builder::new(&name).ino(inode).mode(entry.mode).nlink(1);
        let builder = builder.rdev_major(entry.device.0).rdev_minor(entry.device.1);
        let mut writer = builder.write(&mut output, u32::try_from(entry.content.len())?);
        writer.write_all(&entry.content)?;
        writer.finish()?;
    }
    trailer(output)?.flush().context("cannot write the initial RAM disk")
}

/// Adds what is needed below `directory`, a path from `root` with a slash at its end.
fn collect(root: &Path, directory: &str, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    for item in fs::read_dir(root.join(directory))? {
        let item = item?;
        let name = format!("{directory}{}", item.file_name().to_string_lossy());
        let (kind, path) = (item.file_type()?, item.path());
        if !is_needed(&name, kind.is_symlink()) {
            continue;
        }
        if kind.is_dir() {
            entries.insert(name.clone(), Entry::new(DIRECTORY | 0o755, Vec::new()));
            collect(root, &format!("{name}/"), entries)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?.as_os_str().as_bytes().to_vec();
            entries.insert(name, Entry::new(SYMBOLIC_LINK | 0o777, target));
        } else {
            let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
            entries.insert(name, Entry::new(FILE | mode, fs::read(&path)?));
        }
    }
    Ok(())
}

/// Whether programs need what has this name, or something below it. Links at the top are the old names of directories.
fn is_needed(name: &str, is_link: bool) -> bool {
    let is_top_link = is_link && !name.contains('/');
    is_top_link || NEEDED.iter().any(|needed| name.starts_with(needed) || needed.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_need_their_libraries_and_no_documentation() {
        for needed in [
            "usr",
            "usr/bin",
            "usr/bin/python3.13",
            "usr/lib/python3.13/json/__init__.py",
            "usr/lib/ld-linux-aarch64.so.1",
        ] {
            assert!(is_needed(needed, false), "{needed}");
        }
        for other in ["usr/share", "usr/bin/dpkg", "var", "usr/lib/dpkg", "lib64"] {
            assert!(!is_needed(other, false), "{other}");
        }
        assert!(is_needed("lib", true));
    }

    #[test]
    fn the_same_directory_makes_the_same_bytes() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("usr/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("busybox"), "program").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        let made = |name: &str| {
            let output = root.path().join(name);
            make(root.path(), &output).unwrap();
            fs::read(output).unwrap()
        };
        let first = made("first");
        assert_eq!(first, made("second"));
        let mut archive = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&first[..]), &mut archive).unwrap();
        let has = |text: &str| archive.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(has("usr/bin/busybox\0") && has("program") && has("dev/console\0") && has("TRAILER!!!"));
        assert!(archive.starts_with(b"070701"));
    }
}
