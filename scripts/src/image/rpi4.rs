//! The SD card of a Raspberry Pi 4: what its firmware reads, and in the end loads.

use super::{Content, Disk, File, loaded};
use crate::failure::Failure;
use crate::paths::root;
use crate::size::Size;
use crate::{firmware, progress, raspberry_pi, setup};
use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our part of the boot partition.
const OWN_FILES: &str = "images/rpi4";
/// What the firmware boots with.
const FIRMWARE: [&str; 2] = ["start4.elf", "fixup4.dat"];
const LICENCE: &str = "LICENCE.broadcom";
/// The device tree in the boot partition.
pub const TREE: &str = "bcm2711-rpi-4-b.dtb";
/// The arguments for the hypervisor there.
pub const ARGUMENTS: &str = "cmdline.txt";
const OVERLAY: &str = "overlays/disable-bt.dtbo";

/// Options of `image rpi4`.
#[derive(Debug, Args)]
pub(super) struct Rpi4 {
    /// A directory with the firmware: start4.elf and fixup4.dat. If it has a device tree, that and its overlay are taken, too
    #[arg(long, value_name = "DIRECTORY")]
    firmware: Option<PathBuf>,
    #[command(flatten)]
    content: Content,
}

impl Rpi4 {
    pub(super) fn make(&self) -> Result<()> {
        let Self { firmware, content } = self;
        let files =
            files(firmware.as_deref(), || content.files(setup::Scope::RaspberryPi), &content.bootargs);
        content.write(files?)
    }
}

/// A card with this hypervisor and bundle, arguments, and the usual firmware.
pub fn sd_card(hypervisor: Vec<u8>, bundle: Vec<u8>, bootargs: &str) -> Result<Disk> {
    Disk::new(files(None, || loaded(hypervisor, bundle), bootargs)?, Size::mib(1))
}

/// The files of a card, with the firmware of this directory or the usual one. What may be missing of it is told before
/// `loaded` makes anything.
fn files(
    directory: Option<&Path>,
    loaded: impl FnOnce() -> Result<Vec<File>>,
    bootargs: &str,
) -> Result<Vec<File>> {
    let mut files = firmware_files(directory)?;
    files.extend(loaded()?);
    let own = root().join(OWN_FILES);
    files.push(File::new("config.txt", read(&own.join("config.txt"))?));
    files.push(File::new(ARGUMENTS, format!("{bootargs}\n")));
    files.extend(device_tree(directory, &own)?);
    Ok(files)
}

fn firmware_files(directory: Option<&Path>) -> Result<Vec<File>> {
    let (directory, licence) = match directory {
        Some(directory) => (directory.to_owned(), directory.join(LICENCE)),
        None => firmware::raspberry_pi()?,
    };
    let mut files = FIRMWARE
        .iter()
        .map(|name| Ok(File::new(name, read(&directory.join(name))?)))
        .collect::<Result<Vec<File>>>()?;
    // A boot partition of the user's may lack it: its terms are about passing the files on.
    files.extend(fs::read(licence).ok().map(|text| File::new(LICENCE, text)));
    Ok(files)
}

/// The device tree, and the overlay that fits it: labels of Linux' own trees are not those of the firmware's.
fn device_tree(firmware: Option<&Path>, own: &Path) -> Result<[File; 2]> {
    let theirs = firmware.filter(|directory| directory.join(TREE).is_file());
    let (tree, overlay) = match theirs {
        Some(directory) => (read(&directory.join(TREE))?, read(&directory.join(OVERLAY))?),
        None => (read(&raspberry_pi::device_tree()?)?, compile(&own.join("disable-bt.dts"))?),
    };
    Ok([File::new(TREE, tree), File::new(OVERLAY, overlay)])
}

fn compile(overlay: &Path) -> Result<Vec<u8>> {
    let output = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let mut compiler = Command::new("dtc");
    compiler.args(["-@", "-I", "dts", "-O", "dtb", "-o"]).arg(output.path()).arg(overlay);
    progress::run("compiling an overlay of the device tree", &mut compiler)?;
    read(output.path())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error| Failure::bad_input(format!("{}: {error}", path.display()));
    Ok(fs::read(path).map_err(unreadable)?)
}
