//! What `image --list` shows.

use super::disk::{DATA, FAT32};
use super::{BUNDLE, Disk, Partition};
use crate::failure::Failure;
use crate::size::Size;
use anyhow::Result;
use std::fmt::{self, Write};
use std::path::Path;
use vmm::bundle::Bundle;
use vmm::bundle::manifest::{Machine, VmConfig};

/// Partitions, files and VMs of an image.
pub(super) fn describe(path: &Path) -> Result<String> {
    let wrong = |error: anyhow::Error| Failure::bad_input(format!("{}: {error:#}", path.display()));
    let disk = Disk::read(path).map_err(wrong)?;
    let mut text = String::new();
    describe_disk(&mut text, path, &disk)?;
    Ok(text)
}

fn describe_disk(text: &mut String, path: &Path, disk: &Disk) -> fmt::Result {
    writeln!(text, "{}: {}", path.display(), disk.size())?;
    for (index, partition) in disk.partitions.iter().enumerate() {
        describe_partition(text, index + 1, partition)?;
    }
    for file in &disk.files {
        writeln!(text, "{:>9} bytes  {}", file.data.len(), file.path)?;
    }
    match disk.files.iter().find(|file| file.path == BUNDLE) {
        Some(bundle) => describe_bundle(text, &bundle.data),
        None => writeln!(text, "no {BUNDLE}"),
    }
}

fn describe_partition(text: &mut String, number: usize, partition: &Partition) -> fmt::Result {
    let Partition { kind, start, size } = partition;
    let meaning = match *kind {
        FAT32 => "FAT32, to boot from",
        DATA => "disks of guests",
        _ => "something else",
    };
    writeln!(
        text,
        "partition {number}: {} at {}, type {kind:#04x}: {meaning}",
        Size::of(*size),
        Size::of(*start)
    )
}

fn describe_bundle(text: &mut String, bytes: &[u8]) -> fmt::Result {
    match Bundle::parse(bytes).and_then(|bundle| bundle.manifest()) {
        Ok(manifest) => manifest.vms.iter().try_for_each(|vm| describe_vm(text, vm)),
        Err(error) => writeln!(text, "{error}"),
    }
}

fn describe_vm(text: &mut String, vm: &VmConfig) -> fmt::Result {
    let machine = match vm.machine {
        Machine::Tiny => "tiny",
        Machine::Virt => "virt",
    };
    let (name, image, memory) = (&vm.name, &vm.image.name, Size::of(vm.memory));
    writeln!(text, "VM {name}: {machine}, {image}, {memory}, vCPUs: {}, files: {}", vm.vcpus, vm.files.len())
}
