//! The figure of the network: two VMs that exchange frames.

use super::measure::{Subject, Values};
use super::trace::Trace;
use crate::bundle::Draft;
use crate::qemu::{Board, Machine};
use anyhow::{Context, Result};
use std::fs;

/// Frames of an exchange in which nothing is counted but what does not depend on their number.
const FEW: u64 = 64;
/// How many more the other one has.
const MORE: u64 = 1024;
/// 1500 bytes and their header.
const LENGTH: u64 = 1514;

/// Instructions at EL2 for a frame from VM to VM. Guests of the `virt` machine with so little memory have nothing at the
/// addresses of the hypervisor's image, either.
pub(super) fn virtio_net(subject: &Subject) -> Result<Values> {
    if subject.machine == Machine::Raspi4b {
        return Ok(vec![]);
    }
    let more = exchange(subject, FEW + MORE)?.saturating_sub(exchange(subject, FEW)?);
    Ok(vec![("virtio_net", more.div_ceil(MORE))])
}

/// Has VMs exchange so many frames; returns the instructions at EL2, those of the boot included.
fn exchange(subject: &Subject, frames: u64) -> Result<u64> {
    let vm = |name| {
        format!(
            "[[vm]]\nname = {name:?}\nmachine = \"virt\"\nimage = \"network.elf\"\nmemory = \"2MiB\"\nnetwork = \"vms\"\n\
             args = [\"mode=exchange\", \"count={frames}\", \"length={LENGTH}\"]\n"
        )
    };
    let directory = tempfile::tempdir()?;
    let manifest = directory.path().join("network.toml");
    fs::write(&manifest, ["first", "second"].map(vm).concat()).context("cannot write the manifest")?;
    let trace = Trace::start(subject.machine)?;
    let mut board: Board = subject.board(1);
    board.extra.extend(trace.arguments());
    subject.boot_on(&board, &Draft::manifest(&manifest)?)?;
    trace.count()
}
