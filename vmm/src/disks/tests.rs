//! Disks on devices that are vectors.

use super::{
    assignment::{Assignment, NoDisk, OpenError, Reason},
    partition::tests::table,
    *,
};
use crate::{
    bundle::manifest::{DiskName, Manifest},
    memory::frames::tests::frames,
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use proptest::prelude::*;
use std::sync::Arc;

/// What a device of the tests has, for the test to look at.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Vec<u8>>>);

/// A device in memory, which fails as it is told.
pub(crate) struct Memory {
    pub(crate) store: Store,
    pub(crate) failure: Option<Error>,
}

impl Memory {
    fn range(sector: u64, length: usize) -> core::ops::Range<usize> {
        let start = usize::try_from(sector * SECTOR_SIZE).unwrap();
        start..start + length
    }
}

impl BlockDevice for Memory {
    fn sectors(&self) -> u64 {
        self.store.0.lock().len() as u64 / SECTOR_SIZE
    }

    fn is_read_only(&self) -> bool {
        self.failure == Some(Error::ReadOnly)
    }

    fn read(&mut self, sector: u64, buffer: &mut [u8]) -> Result<(), Error> {
        buffer.copy_from_slice(&self.store.0.lock()[Self::range(sector, buffer.len())]);
        self.failure.filter(|error| *error != Error::ReadOnly).map_or(Ok(()), Err)
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), Error> {
        self.store.0.lock()[Self::range(sector, data.len())].copy_from_slice(data);
        self.failure.map_or(Ok(()), Err)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// A device with these sectors in it.
pub(crate) fn device(contents: Vec<u8>, failure: Option<Error>) -> (&'static Device, Store) {
    let store = Store(Arc::new(Mutex::new(contents)));
    let driver = Box::new(Memory { store: store.clone(), failure });
    (Box::leak(Box::new(Device::new(DeviceName::Sd, driver, frames(16)).unwrap())), store)
}

fn device_of(disk: &Disk) -> &'static Device {
    match disk.backing {
        Backing::Device(device, _) => device,
        _ => panic!("a disk that is on no device"),
    }
}

/// The first sector and the number of sectors of what a VM was assigned.
fn place(assignment: &Assignment) -> (u64, u64) {
    match assignment {
        Assignment::Disk(Disk { backing: Backing::Device(_, first), sectors }) => (*first, *sectors),
        _ => panic!("it is on no device"),
    }
}

fn disk_of(sectors: usize, failure: Option<Error>) -> Disk {
    Disk::whole(device(vec![0; sectors * 512], failure).0)
}

#[test]
fn a_disk_is_its_part_and_no_more() {
    let contents = (0..100_u8).flat_map(|number| [number; 512]).collect();
    let (device, store) = device(contents, None);
    let disk = Disk::part(device, 10, 20).unwrap();
    assert_eq!(disk.check(20, 1), Err(OutOfRange));
    assert_eq!(disk.check(u64::MAX, 2), Err(OutOfRange));
    let mut seen = Vec::new();
    disk.read(disk.check(19, 1).unwrap(), |bytes| seen.extend_from_slice(bytes)).unwrap();
    assert_eq!(seen, [29; 512]);
    disk.write(disk.check(0, 2).unwrap(), |bytes| bytes.fill(0xaa)).unwrap();
    let changed: Vec<usize> = (0..100).filter(|sector| store.0.lock()[sector * 512] == 0xaa).collect();
    assert_eq!(changed, [10, 11]);
    assert!(Disk::part(device, 90, 11).is_none() && Disk::part(device, u64::MAX, 2).is_none());
}

#[test]
fn a_device_that_is_gone_is_left_alone() {
    let disk = disk_of(8, Some(Error::Gone));
    let extent = disk.check(0, 1).unwrap();
    assert_eq!(disk.read(extent, |_| panic!("nothing was read")), Err(Error::Gone));
    assert!(device_of(&disk).parts.lock().driver.is_none());
    assert_eq!(disk.flush(), Err(Error::Gone));
}

#[test]
fn a_failure_does_not_end_a_device() {
    let disk = disk_of(8, Some(Error::Failed));
    assert_eq!([disk.flush(), disk.flush()], [Err(Error::Failed); 2]);
    let device = device_of(&disk);
    assert!(device.parts.lock().driver.is_some());
    assert!(device.may_complain() && !device.may_complain(), "once in a while");
}

#[test]
fn a_read_only_device_is_not_written() {
    let disk = disk_of(8, Some(Error::ReadOnly));
    let extent = disk.check(0, 1).unwrap();
    assert_eq!(disk.write(extent, |_| panic!("it is not written")), Err(Error::ReadOnly));
    assert_eq!(disk.read(extent, |_| {}), Ok(()));
}

proptest! {
    /// What passes the check is on the disk, and not too much for a request.
    #[test]
    fn only_what_is_there_passes(first: u64, count: u64, start in 0_u64..9, sectors in 0_u64..9) {
        let (device, _) = device(vec![0; 17 * 512], None);
        let disk = Disk::part(device, start, sectors).unwrap();
        for (first, count) in [(first, count), (first % 10, count % 10), (first % 10, count)] {
            let inside = u128::from(first) + u128::from(count) <= u128::from(sectors);
            prop_assert_eq!(disk.check(first, count).is_ok(), inside);
            if let Ok(extent) = disk.check(first, count) {
                prop_assert!(extent.sector + extent.count <= sectors);
            }
        }
    }
}

#[test]
fn files_of_the_bundle_are_disks() {
    let manifest = manifest(&["\"file:whole\"", "\"overlay:whole\"", "\"overlay:odd\""]);
    let whole: &[u8] = vec![7; 1024].leak();
    let file = |name: &str| Some(if name == "whole" { whole } else { &whole[..1000] });
    let assigned = assign(&manifest, |_| Err(OpenError::Missing), file);
    let [Ok(first), Ok(second), Err(error)] = &assigned[..] else { panic!("not what was expected") };
    let [Assignment::Disk(disk)] = &first[..] else { panic!("a file is a disk") };
    assert_eq!((disk.sectors(), disk.is_read_only()), (2, true));
    let extent = disk.check(1, 1).unwrap();
    disk.read(extent, |bytes| assert_eq!(bytes, [7; 512])).unwrap();
    assert_eq!(disk.write(extent, |_| panic!("it is not written")), Err(Error::ReadOnly));
    assert!(matches!(second[..], [Assignment::Overlay(base)] if base == whole));
    assert_eq!(
        error.to_string(),
        "disk = \"overlay:odd\": the file has 1000 bytes, which is no multiple of 512"
    );
}

/// A manifest of VMs `vm0`, `vm1`, ... with these disks.
fn manifest(disks: &[&str]) -> Manifest {
    let vm = |(index, disk)| {
        format!("[[vm]]\nname = \"vm{index}\"\nimage = \"i\"\nmemory = \"1MiB\"\ndisk = {disk}\n")
    };
    Manifest::parse(&disks.iter().enumerate().map(vm).collect::<String>()).unwrap()
}

/// The sectors that each of the VMs gets of a card of 100 sectors with a table like this, or what it is told.
fn assigned(entries: &[(u8, u32, u32)], disks: &[&str]) -> Vec<Result<Vec<(u64, u64)>, String>> {
    let mut contents = vec![0; 100 * 512];
    contents[..512].copy_from_slice(&table(entries));
    let (device, _) = device(contents, None);
    let open = |name| if name == DeviceName::Sd { Ok(device) } else { Err(OpenError::Missing) };
    let sectors = |disks: Vec<Assignment>| disks.iter().map(place).collect();
    let told = |error: NoDisk| format!("{error}");
    assign(&manifest(disks), open, |_| None)
        .into_iter()
        .map(|disks| disks.map(sectors).map_err(told))
        .collect()
}

#[test]
fn each_vm_gets_what_its_manifest_names() {
    let entries = [(0x0c, 1, 9), (0x83, 10, 20), (0x83, 30, 70)];
    let found = assigned(&entries, &["\"sd:3\"", "[\"sd:2\", \"sd:1\"]", "[]"]);
    assert_eq!(found, [Ok(vec![(30, 70)]), Ok(vec![(10, 20), (1, 9)]), Ok(vec![])]);
    assert_eq!(assigned(&entries, &["\"sd\""]), [Ok(vec![(0, 100)])]);
}

#[test]
fn who_cannot_have_a_disk_is_told_why_and_the_others_have_theirs() {
    let entries = [(0x83, 1, 9), (0x83, 9, 2), (0x83, 90, 11)];
    let found = assigned(&entries, &["\"sd:1\"", "\"sd:2\"", "\"sd:3\"", "\"sd:4\"", "\"virtio0\""]);
    let expected = [
        Ok(vec![(1, 9)]),
        Err("disk = \"sd:2\": shares sectors with a partition of vm 'vm0'".into()),
        Err("disk = \"sd:3\": the partition ends at sector 101, but the device has 100".into()),
        Err("disk = \"sd:4\": the device has no such partition".into()),
        Err("disk = \"virtio0\": the board has no such device".into()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_device_that_cannot_be_read_has_no_partitions() {
    let (device, _) = device(vec![0; 512], Some(Error::Failed));
    let manifest = manifest(&["\"sd:1\""]);
    let found =
        assign(&manifest, |_| Ok(device), |_| None).remove(0).err().map(|error| (error.name, error.reason));
    let name: DiskName = manifest.vms[0].disks[0].clone();
    assert_eq!(found, Some((name, Reason::Unreadable(Error::Failed))));
}
