//! Which VM has which disks: what the manifest names, on the devices that the board has.

use super::{
    Device, Disk, Error,
    partition::{self, FirstSector, PartitionError},
    sd::CardError,
};
use crate::{
    bundle::manifest::{DeviceName, DiskName, Manifest, VmConfig},
    memory::frames::OutOfFrames,
};
use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Range};

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
            Reason::Overlap(vm) => write!(f, "shares sectors with a partition of vm '{vm}'"),
        }
    }
}

/// The disks of a VM, or why it cannot have them.
pub type Assigned = Result<Vec<Disk>, NoDisk>;

/// Gives the VMs of a manifest their disks. `open` makes a device of its name.
pub fn assign(
    manifest: &Manifest,
    mut open: impl FnMut(DeviceName) -> Result<&'static Device, OpenError>,
) -> Vec<Assigned> {
    let mut taken = Vec::new();
    manifest.vms.iter().map(|vm| assign_to(vm, &mut open, &mut taken)).collect()
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
    taken: &mut Vec<Taken<'a>>,
) -> Assigned {
    let refuse = |name: &DiskName, reason| NoDisk { name: name.clone(), reason };
    let mut disks = Vec::new();
    for name in &vm.disks {
        let device = open(name.device).map_err(|error| refuse(name, Reason::Device(error)))?;
        let disk = find(device, name.partition).map_err(|reason| refuse(name, reason))?;
        let sectors = disk.first..disk.first + disk.sectors;
        if let Some(other) = taken.iter().find(|other| other.overlaps(name.device, &sectors)) {
            return Err(refuse(name, Reason::Overlap(other.vm.into())));
        }
        taken.push(Taken { device: name.device, sectors, vm: &vm.name });
        disks.push(disk);
    }
    Ok(disks)
}

impl Taken<'_> {
    fn overlaps(&self, device: DeviceName, sectors: &Range<u64>) -> bool {
        self.device == device && self.sectors.start < sectors.end && sectors.start < self.sectors.end
    }
}

/// All of a device, or one of its partitions.
fn find(device: &'static Device, partition: Option<u8>) -> Result<Disk, Reason> {
    let whole = Disk::whole(device);
    let Some(number) = partition else { return Ok(whole) };
    let range = partition::find(&first_sector(&whole)?, number).map_err(Reason::Partition)?;
    let too_small = Reason::TooSmall { end: range.end, sectors: whole.sectors };
    Disk::part(device, range.start, range.end - range.start).ok_or(too_small)
}

fn first_sector(disk: &Disk) -> Result<FirstSector, Reason> {
    let mut sector = [0; size_of::<FirstSector>()];
    let extent = disk.check(0, 1).map_err(|_| Reason::Partition(PartitionError::NoTable))?;
    disk.read(extent, |bytes| sector.copy_from_slice(bytes)).map_err(Reason::Unreadable)?;
    Ok(sector)
}
