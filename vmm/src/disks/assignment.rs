//! Which VM has which disks: what the manifest names, on the devices that the board has.

use super::{
    Device, Disk, Error,
    partition::{self, FirstSector, PartitionError},
    sd::CardError,
};
use crate::{
    bundle::manifest::{DeviceName, DiskName, DiskSource, FileName, Manifest, VmConfig},
    memory::frames::OutOfFrames,
};
use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Range};
use tinyvmm_abi::disks::SECTOR_SIZE;

/// Why a device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The board has none.
    Missing,
    /// The SD card is not there, or none that is understood.
    Card(CardError),
    /// It does not do what such devices do.
    Broken,
    /// There is no memory for its driver.
    Frames(OutOfFrames),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the board has no such device"),
            Self::Card(error) => error.fmt(f),
            Self::Broken => f.write_str("the device does not work"),
            Self::Frames(error) => error.fmt(f),
        }
    }
}

/// Why a VM cannot have a disk, which keeps it from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoDisk {
    /// The disk that it cannot have.
    pub name: DiskName,
    /// Why.
    pub reason: Reason,
}

/// Why a VM cannot have a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The device cannot be used.
    Device(OpenError),
    /// The partition table cannot be read.
    Unreadable(Error),
    /// The partition cannot be had.
    Partition(PartitionError),
    /// The device is smaller than the partition table says: it ends before this sector.
    TooSmall {
        /// The first sector after the partition.
        end: u64,
        /// The sectors of the device.
        sectors: u64,
    },
    /// The partition table has sectors of it in another partition, which this VM has.
    Overlap(String),
    /// A file that does not consist of whole sectors.
    Size(usize),
}

impl fmt::Display for NoDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk = \"{}\": ", self.name)?;
        match &self.reason {
            Reason::Device(error) => error.fmt(f),
            Reason::Unreadable(error) => write!(f, "cannot read the partition table: {error}"),
            Reason::Partition(error) => error.fmt(f),
            Reason::TooSmall { end, sectors } => {
                write!(f, "the partition ends at sector {end}, but the device has {sectors}")
            }
            Reason::Size(size) => {
                write!(f, "the file has {size} bytes, which is no multiple of {SECTOR_SIZE}")
            }
            Reason::Overlap(vm) => write!(f, "shares sectors with a partition of vm '{vm}'"),
        }
    }
}

/// A disk of a VM, whenever it is built.
#[derive(Clone)]
pub enum Assignment {
    /// It is always the same one.
    Disk(Disk),
    /// Each time a new one over this file.
    Overlay(&'static [u8]),
}

/// The disks of a VM, or why it cannot have them.
pub type Assigned = Result<Vec<Assignment>, NoDisk>;

/// Gives the VMs of a manifest their disks. `open` makes a device of its name, and `file` finds a file of the bundle.
pub fn assign(
    manifest: &Manifest,
    mut open: impl FnMut(DeviceName) -> Result<&'static Device, OpenError>,
    file: impl Fn(&str) -> Option<&'static [u8]>,
) -> Vec<Assigned> {
    let mut taken = Vec::new();
    manifest.vms.iter().map(|vm| assign_to(vm, &mut open, &file, &mut taken)).collect()
}

/// Sectors that have a VM, and its name.
struct Taken<'a> {
    device: DeviceName,
    sectors: Range<u64>,
    vm: &'a str,
}

fn assign_to<'a>(
    vm: &'a VmConfig,
    open: &mut impl FnMut(DeviceName) -> Result<&'static Device, OpenError>,
    file: &impl Fn(&str) -> Option<&'static [u8]>,
    taken: &mut Vec<Taken<'a>>,
) -> Assigned {
    let assign = |name: &DiskName| {
        let assigned = match &name.source {
            DiskSource::Device(device, partition) => {
                part_of_device(*device, *partition, &vm.name, open, taken).map(Assignment::Disk)
            }
            DiskSource::File(name) => content(name, file).map(Disk::file).map(Assignment::Disk),
            DiskSource::Overlay(name) => content(name, file).map(Assignment::Overlay),
        };
        assigned.map_err(|reason| NoDisk { name: name.clone(), reason })
    };
    vm.disks.iter().map(assign).collect()
}

/// A device, or a partition of it, for the VM of this name.
fn part_of_device<'a>(
    name: DeviceName,
    partition: Option<u8>,
    vm: &'a str,
    open: &mut impl FnMut(DeviceName) -> Result<&'static Device, OpenError>,
    taken: &mut Vec<Taken<'a>>,
) -> Result<Disk, Reason> {
    let device = open(name).map_err(Reason::Device)?;
    let sectors = find(device, partition)?;
    if let Some(other) = taken.iter().find(|other| other.overlaps(name, &sectors)) {
        return Err(Reason::Overlap(other.vm.into()));
    }
    let (start, count) = (sectors.start, sectors.end - sectors.start);
    let too_small = Reason::TooSmall { end: sectors.end, sectors: device.sectors };
    taken.push(Taken { device: name, sectors, vm });
    Disk::part(device, start, count).ok_or(too_small)
}

/// A file of the bundle, to be a disk.
fn content(name: &FileName, file: &impl Fn(&str) -> Option<&'static [u8]>) -> Result<&'static [u8], Reason> {
    // The manifest was checked against the bundle.
    let content = file(&name.name).unwrap_or_default();
    if (content.len() as u64).is_multiple_of(SECTOR_SIZE) {
        Ok(content)
    } else {
        Err(Reason::Size(content.len()))
    }
}

impl Taken<'_> {
    fn overlaps(&self, device: DeviceName, sectors: &Range<u64>) -> bool {
        self.device == device && self.sectors.start < sectors.end && sectors.start < self.sectors.end
    }
}

/// The sectors of a device, or of one of its partitions.
fn find(device: &'static Device, partition: Option<u8>) -> Result<Range<u64>, Reason> {
    match partition {
        None => Ok(0..device.sectors),
        Some(number) => {
            partition::find(&first_sector(&Disk::whole(device))?, number).map_err(Reason::Partition)
        }
    }
}

fn first_sector(disk: &Disk) -> Result<FirstSector, Reason> {
    let mut sector = [0; size_of::<FirstSector>()];
    let extent = disk.check(0, 1).map_err(|_| Reason::Partition(PartitionError::NoTable))?;
    disk.read(extent, |bytes| sector.copy_from_slice(bytes)).map_err(Reason::Unreadable)?;
    Ok(sector)
}
