//! A disk with two partitions: FAT32 with files for a boot loader, and one for the disks of guests.
//!
//! ```text
//! 0        1 MiB               1 MiB + n                       2^k
//! | MBR ...| 1: FAT32, active  | 2: type 0x83, all zeros       |
//! ```
//!
//! All of it is fixed by its input: times are those of the epoch of FAT, the volume's and the disk's numbers come from
//! the files' content.

use crate::size::Size;
use anyhow::{Context, Result, ensure};
use fatfs::{
    Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
    format_volume,
};
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

const SECTOR: u32 = 512;
/// Partitions begin and end at multiples of this.
const ALIGNMENT: u64 = 1 << 20;
/// A FAT32 has more than 65,525 clusters, here of one sector each; this is what people expect to see.
const SMALLEST_BOOT: u64 = 64 << 20;
/// Partition type of FAT32, addressed by sector numbers.
pub(super) const FAT32: u8 = 0x0c;
/// Partition type of guests' disks: that of Linux' file systems, which other systems leave alone.
pub(super) const DATA: u8 = 0x83;
const LABEL: [u8; 11] = *b"TINYVMM    ";

/// A file of the boot partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, with slashes.
    pub path: String,
    /// Its content.
    pub data: Vec<u8>,
}

impl File {
    /// A file with this content.
    pub fn new(path: &str, data: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), data: data.into() }
    }
}

/// A part of the disk, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its type in the table.
    pub kind: u8,
    /// Where it begins.
    pub start: u64,
    /// How large it is.
    pub size: u64,
}

/// A disk and what is on it.
#[derive(Debug)]
pub struct Disk {
    size: u64,
    /// In the order of the table; the first one has the files.
    pub partitions: Vec<Partition>,
    /// The files of the boot partition.
    pub files: Vec<File>,
}

impl Disk {
    /// A disk with these files and at least this much for guests.
    pub(super) fn new(files: Vec<File>, data: Size) -> Result<Self> {
        let content: u64 = files.iter().map(|file| space(file.data.len())).sum::<Result<u64>>()?;
        let boot = SMALLEST_BOOT.max((content + content / 16).next_multiple_of(ALIGNMENT));
        let start = ALIGNMENT + boot;
        let size = (start + data.bytes()).next_power_of_two();
        ensure!(
            size <= u64::from(u32::MAX) * u64::from(SECTOR),
            "--data {data}: too much for a table of partitions"
        );
        let partitions = vec![
            Partition { kind: FAT32, start: ALIGNMENT, size: boot },
            Partition { kind: DATA, start, size: size - start },
        ];
        Ok(Self { size, partitions, files })
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        Size::of(self.size)
    }

    /// Reads a disk.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = fs::File::open(path)?;
        let table = MBR::read_from(&mut file, SECTOR).context("no table of partitions")?;
        let used = table.iter().filter(|(_, entry)| entry.is_used());
        let partitions: Vec<Partition> = used.map(|(_, entry)| Partition::of(entry)).collect();
        let boot = partitions.iter().find(|partition| partition.kind == FAT32).context("no FAT32")?;
        file.seek(SeekFrom::Start(boot.start))?;
        let mut bytes = Vec::new();
        let size = file.metadata()?.len();
        file.take(boot.size).read_to_end(&mut bytes)?;
        let files = read_fat(bytes).context("the file system is damaged")?;
        Ok(Self { size, partitions, files })
    }

    /// Writes it. The file appears whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let cannot = || format!("cannot write {}", path.display());
        // With the rights of any other file that the user makes.
        let mut builder = tempfile::Builder::new();
        builder.permissions(fs::Permissions::from_mode(0o666));
        let mut file = builder.tempfile_in(directory.unwrap_or(Path::new("."))).with_context(cannot)?;
        self.write_to(file.as_file_mut()).with_context(cannot)?;
        file.persist(path).map(drop).with_context(cannot)
    }

    fn write_to(&self, file: &mut fs::File) -> Result<()> {
        file.set_len(self.size)?;
        let number = self.number();
        let mut table = MBR::new_from(file, SECTOR, number)?;
        for (index, partition) in self.partitions.iter().enumerate() {
            table[index + 1] = partition.entry()?;
        }
        table.write_into(file)?;
        let boot = self.partitions.first().context("no partition")?;
        write_sparsely(file, boot.start, &make_fat(boot.size, number, &self.files)?)
    }

    /// What tells the disk from others with other files.
    fn number(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        self.files.iter().for_each(|file| hash.update(Sha256::digest(&file.data)));
        let hash = hash.finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// Writes what is not zero. The rest of a new file is, and takes no room.
fn write_sparsely(file: &fs::File, start: u64, bytes: &[u8]) -> Result<()> {
    const PIECE: usize = 1 << 16;
    for (piece, offset) in bytes.chunks(PIECE).zip((start..).step_by(PIECE)) {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, offset)?;
        }
    }
    Ok(())
}

impl Partition {
    fn of(entry: &MBRPartitionEntry) -> Self {
        let bytes = |sectors: u32| u64::from(sectors) * u64::from(SECTOR);
        Self { kind: entry.sys, start: bytes(entry.starting_lba), size: bytes(entry.sectors) }
    }

    fn entry(&self) -> Result<MBRPartitionEntry> {
        Ok(MBRPartitionEntry {
            boot: if self.kind == FAT32 { BOOT_ACTIVE } else { BOOT_INACTIVE },
            // Nobody has used these for decades.
            first_chs: CHS::empty(),
            sys: self.kind,
            last_chs: CHS::empty(),
            starting_lba: sectors(self.start)?,
            sectors: sectors(self.size)?,
        })
    }
}

fn sectors(bytes: u64) -> Result<u32> {
    Ok(u32::try_from(bytes / u64::from(SECTOR))?)
}

/// What a file takes on the disk, with its part of the two tables and of the directory, generously.
fn space(length: usize) -> Result<u64> {
    Ok(u64::try_from(length)?.next_multiple_of(u64::from(SECTOR)) + (64 << 10))
}

/// The first moment that FAT can name.
#[derive(Debug)]
struct Epoch;

static EPOCH: Epoch = Epoch;

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

fn make_fat(size: u64, number: [u8; 4], files: &[File]) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; usize::try_from(size)?]);
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(SECTOR);
    let options = options.volume_id(u32::from_le_bytes(number)).volume_label(LABEL);
    format_volume(&mut volume, options.total_sectors(sectors(size)?))?;
    let system = FileSystem::new(&mut volume, FsOptions::new().time_provider(&EPOCH))?;
    files.iter().try_for_each(|file| add(&system.root_dir(), file))?;
    system.unmount()?;
    Ok(volume.into_inner())
}

/// Adds a file, and the directory that it is in.
fn add<T: Read + Write + Seek>(root: &Dir<'_, T>, file: &File) -> Result<()> {
    if let Some((directory, _)) = file.path.rsplit_once('/') {
        root.create_dir(directory)?;
    }
    let mut entry = root.create_file(&file.path)?;
    entry.write_all(&file.data).with_context(|| format!("no room for {}", file.path))
}

fn read_fat(volume: Vec<u8>) -> Result<Vec<File>> {
    let system = FileSystem::new(Cursor::new(volume), FsOptions::new().time_provider(&EPOCH))?;
    let mut files = Vec::new();
    read_directory(&system.root_dir(), "", &mut files)?;
    Ok(files)
}

fn read_directory<T: Read + Write + Seek>(
    directory: &Dir<'_, T>,
    path: &str,
    files: &mut Vec<File>,
) -> Result<()> {
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let full = format!("{path}{name}");
        match entry.is_dir() {
            true if name == "." || name == ".." => {}
            true => read_directory(&entry.to_dir(), &format!("{full}/"), files)?,
            false => {
                let mut data = Vec::new();
                entry.to_file().read_to_end(&mut data)?;
                files.push(File { path: full, data });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<File> {
        let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        vec![
            File::new("config.txt", "a=1\n"),
            File::new("overlays/disable-bt.dtbo", large),
            File::new("empty", ""),
        ]
    }

    fn written(files: Vec<File>, data: Size) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        Disk::new(files, data).unwrap().write(&path).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_directory, path) = written(files(), Size::mib(100));
        let disk = Disk::read(&path).unwrap();
        assert_eq!(disk.files, files());
        assert_eq!(disk.size(), Size::mib(256));
        let mib = |kind, start: u64, size: u64| Partition { kind, start: start << 20, size: size << 20 };
        assert_eq!(disk.partitions, [mib(FAT32, 1, 64), mib(DATA, 65, 191)]);
    }

    #[test]
    fn the_same_input_makes_the_same_bytes() {
        let disks: Vec<_> = (0..2).map(|_| written(files(), Size::mib(1))).collect();
        assert!(fs::read(&disks[0].1).unwrap() == fs::read(&disks[1].1).unwrap());
        let mut other = files();
        other[0].data.push(b'\n');
        let (_directory, other) = written(other, Size::mib(1));
        let signature = |path: &Path| fs::read(path).unwrap()[440..444].to_vec();
        assert_ne!(signature(&other), signature(&disks[0].1));
    }

    #[test]
    fn large_files_have_room() {
        let large = vec![7; 70 << 20];
        let (_directory, path) = written(vec![File::new("large", large.clone())], Size::mib(1));
        assert!(Disk::read(&path).unwrap().files[0].data == large);
    }

    #[test]
    fn other_files_are_no_disks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0; 2048]).unwrap();
        assert!(Disk::read(file.path()).is_err());
    }
}
