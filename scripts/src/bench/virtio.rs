//! The figures of virtio devices: what a request costs at EL2.

use super::measure::{Subject, Values};
use super::trace::Trace;
use crate::bundle::Draft;
use crate::qemu::Board;
use anyhow::{Context, Result};
use std::fs;

/// Requests of a run in which nothing is counted but what does not depend on their number.
const FEW: u64 = 64;
/// How many more the other one has.
const MORE: u64 = 1024;
/// Length of frames: 1500 bytes and their header.
const FRAME: u64 = 1514;
/// Size of the disk in bytes.
const DISK: u64 = 1 << 20;

/// Instructions at EL2 for a read of 4 KiB from a virtio disk, the interrupt at its end included.
pub(super) fn virtio_blk(subject: &Subject) -> Result<Values> {
    let words: Vec<u8> = (0..DISK / 8).flat_map(u64::to_le_bytes).collect();
    let manifest = |count| {
        let keys = "disk = \"file:disk\"\n";
        vm("disk", "block.elf", &format!("{keys}args = [\"count={count}\"]\n"))
    };
    per_request(subject, "virtio_blk", manifest, &words)
}

/// Instructions at EL2 for a frame from VM to VM.
pub(super) fn virtio_net(subject: &Subject) -> Result<Values> {
    let manifest = |count| {
        let args = format!("args = [\"mode=exchange\", \"count={count}\", \"length={FRAME}\"]\n");
        let one_of_two = |name| vm(name, "network.elf", &format!("network = \"vms\"\n{args}"));
        ["first", "second"].map(one_of_two).concat()
    };
    per_request(subject, "virtio_net", manifest, &[])
}

fn vm(name: &str, image: &str, keys: &str) -> String {
    format!("[[vm]]\nname = {name:?}\nmachine = \"virt\"\nimage = {image:?}\nmemory = \"2MiB\"\n{keys}")
}

/// What a request costs in a run of which `manifest` makes one of so many. Guests of the `virt` machine with so little memory
/// have nothing at the addresses of the hypervisor's image.
fn per_request(
    subject: &Subject,
    id: &'static str,
    manifest: impl Fn(u64) -> String,
    disk: &[u8],
) -> Result<Values> {
    let more = count(subject, &manifest(FEW + MORE), disk)?;
    let few = count(subject, &manifest(FEW), disk)?;
    Ok(vec![(id, more.saturating_sub(few).div_ceil(MORE))])
}

/// Instructions at EL2 in a run, those of the boot included.
fn count(subject: &Subject, manifest: &str, disk: &[u8]) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("virtio.toml");
    fs::write(&path, manifest).context("cannot write the manifest")?;
    fs::write(directory.path().join("disk"), disk).context("cannot write the disk")?;
    let trace = Trace::start()?;
    let mut board: Board = subject.board(1);
    board.extra.extend(trace.arguments());
    subject.boot_on(&board, &Draft::manifest(&path)?)?;
    trace.count()
}
