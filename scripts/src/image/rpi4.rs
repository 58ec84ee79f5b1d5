//! The SD card of a Raspberry Pi 4: what its firmware reads, and in the end loads.

use super::{Content, File};
use crate::failure::Failure;
use crate::paths::root;
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
const TREE: &str = "bcm2711-rpi-4-b.dtb";
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
        // What may be missing is to be told before anything is built.
        let mut files = self.firmware_files()?;
        files.extend(self.content.files(setup::Scope::RaspberryPi)?);
        let own = root().join(OWN_FILES);
        files.push(File::new("config.txt", read(&own.join("config.txt"))?));
        files.push(File::new("cmdline.txt", format!("{}\n", self.content.bootargs)));
        files.extend(self.device_tree(&own)?);
        self.content.write(files)
    }

    fn firmware_files(&self) -> Result<Vec<File>> {
        let (directory, licence) = match &self.firmware {
            Some(directory) => (directory.clone(), directory.join(LICENCE)),
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
    fn device_tree(&self, own: &Path) -> Result<[File; 2]> {
        let theirs = self.firmware.as_ref().filter(|directory| directory.join(TREE).is_file());
        let (tree, overlay) = match theirs {
            Some(directory) => (read(&directory.join(TREE))?, read(&directory.join(OVERLAY))?),
            None => (read(&raspberry_pi::device_tree()?)?, compile(&own.join("disable-bt.dts"))?),
        };
        Ok([File::new(TREE, tree), File::new(OVERLAY, overlay)])
    }
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
