//! The names of disks: `DEVICE` or `DEVICE:PARTITION`, as in `sd:2`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use tinyvmm_abi::disks::DISKS_MAX;

use super::VmConfig;
use super::error::{ManifestError, Position, Problem};
use super::section::Value;

/// Partitions that a partition table has.
const PARTITIONS: core::ops::RangeInclusive<u8> = 1..=4;
/// Virtio devices that a manifest can name.
const VIRTIO_DEVICES: u8 = 8;

/// A disk, and where the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskName {
    /// The device that it is on.
    pub device: DeviceName,
    /// Number of the partition from 1 on, if it is not the whole device.
    pub partition: Option<u8>,
    /// Where the manifest names it.
    pub position: Position,
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
        self.device.fmt(f)?;
        self.partition.map_or(Ok(()), |number| write!(f, ":{number}"))
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
    /// Whether both have sectors in common.
    fn overlaps(&self, other: &Self) -> bool {
        let both_parts = self.partition.is_some() && other.partition.is_some();
        self.device == other.device && (!both_parts || self.partition == other.partition)
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
    let text = value.string()?;
    let (device, partition) = match text.split_once(':') {
        Some((device, number)) => (device, Some(digit(number).filter(|number| PARTITIONS.contains(number)))),
        None => (text, None),
    };
    match (DeviceName::parse(device), partition) {
        (None, _) | (_, Some(None)) => Err(value.error(Problem::Disk)),
        (Some(device), partition) => {
            Ok(DiskName { device, partition: partition.flatten(), position: value.position() })
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
