//! The names of disks: `DEVICE` or `DEVICE:PARTITION`, as in `sd:2`; `file:NAME` or `overlay:NAME` for a file of the bundle.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use tinyvmm_abi::disks::DISKS_MAX;

use super::error::{ManifestError, Position, Problem};
use super::section::Value;
use super::{FileName, VmConfig};

/// Partitions that a partition table has.
const PARTITIONS: core::ops::RangeInclusive<u8> = 1..=4;
/// What stands before the name of a file.
const FILE: &str = "file";
const OVERLAY: &str = "overlay";
/// Virtio devices that a manifest can name.
const VIRTIO_DEVICES: u8 = 8;

/// A disk, and where the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskName {
    /// What it is.
    pub source: DiskSource,
    /// Where the manifest names it.
    pub position: Position,
}

/// What a disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// A device, or a partition of it, which are counted from 1 on.
    Device(DeviceName, Option<u8>),
    /// A file of the bundle, which can only be read.
    File(FileName),
    /// A file of the bundle at the VM's start. What the VM writes is gone with it.
    Overlay(FileName),
}

/// A block device of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The SD card.
    Sd,
    /// Number so many of the virtio block devices.
    Virtio(u8),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sd => f.write_str("sd"),
            Self::Virtio(number) => write!(f, "virtio{number}"),
        }
    }
}

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            DiskSource::Device(device, None) => device.fmt(f),
            DiskSource::Device(device, Some(number)) => write!(f, "{device}:{number}"),
            DiskSource::File(file) => write!(f, "{FILE}:{}", file.name),
            DiskSource::Overlay(file) => write!(f, "{OVERLAY}:{}", file.name),
        }
    }
}

impl DeviceName {
    fn parse(text: &str) -> Option<Self> {
        if text == "sd" {
            return Some(Self::Sd);
        }
        let number = digit(text.strip_prefix("virtio")?)?;
        (number < VIRTIO_DEVICES).then_some(Self::Virtio(number))
    }
}

impl DiskName {
    /// The file of the bundle that it is, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileName> {
        match &self.source {
            DiskSource::Device(..) => None,
            DiskSource::File(file) | DiskSource::Overlay(file) => Some(file),
        }
    }

    /// Whether both have sectors in common that may be written.
    fn overlaps(&self, other: &Self) -> bool {
        let (DiskSource::Device(device, part), DiskSource::Device(other, other_part)) =
            (&self.source, &other.source)
        else {
            return false;
        };
        let both_parts = part.is_some() && other_part.is_some();
        device == other && (!both_parts || part == other_part)
    }
}

/// A number of one digit.
fn digit(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// The value of `disk`: one name or an array of them.
pub(super) fn disks(value: &Value<'_>) -> Result<Vec<DiskName>, ManifestError> {
    if value.string().is_ok() {
        return Ok([disk(value)?].into());
    }
    let items = value.array("a string or an array of strings, as in \"sd:2\"")?;
    let disks = items.map(|item| disk(&item)).collect::<Result<Vec<_>, _>>()?;
    if disks.len() > DISKS_MAX { Err(value.error(Problem::TooManyDisks)) } else { Ok(disks) }
}

fn disk(value: &Value<'_>) -> Result<DiskName, ManifestError> {
    let position = value.position();
    let source = source(value.string()?, position).ok_or_else(|| value.error(Problem::Disk))?;
    Ok(DiskName { source, position })
}

fn source(text: &str, position: Position) -> Option<DiskSource> {
    let Some((kind, rest)) = text.split_once(':') else {
        return Some(DiskSource::Device(DeviceName::parse(text)?, None));
    };
    let file = || (!rest.is_empty()).then(|| FileName { name: rest.into(), position });
    match kind {
        FILE => file().map(DiskSource::File),
        OVERLAY => file().map(DiskSource::Overlay),
        device => {
            let partition = digit(rest).filter(|number| PARTITIONS.contains(number))?;
            Some(DiskSource::Device(DeviceName::parse(device)?, Some(partition)))
        }
    }
}

/// Checks that no disk has two owners.
pub(super) fn check_owners(vms: &[VmConfig]) -> Result<(), ManifestError> {
    let mut owned: Vec<(&VmConfig, &DiskName)> = Vec::new();
    for (vm, disk) in vms.iter().flat_map(|vm| vm.disks.iter().map(move |disk| (vm, disk))) {
        if let Some((owner, _)) = owned.iter().find(|(_, other)| other.overlaps(disk)) {
            return Err(ManifestError::disk_taken(vm, disk, String::from(&owner.name)));
        }
        owned.push((vm, disk));
    }
    Ok(())
}
