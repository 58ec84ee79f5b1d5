//! `cargo xtask image`: an SD card or a disk from which a board boots into the hypervisor and its VMs.

mod disk;
mod kernel;
mod list;
mod rpi4;
mod virt;

pub use disk::{Disk, File, Partition};
pub use rpi4::{ARGUMENTS, TREE, sd_card};

use crate::paths::{Products, Profile};
use crate::program::Making;
use crate::size::Size;
use crate::{build, setup};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::fs;
use std::path::PathBuf;

/// The hypervisor in the boot partition.
pub const KERNEL: &str = "tinyvmm.img";
/// The bundle beside it.
pub const BUNDLE: &str = "bundle.tar";

/// Options of `image`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Image {
    /// Only show what is in an image
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    #[command(subcommand)]
    board: Option<BoardImage>,
}

const AFTER_HELP: &str = "\
An image has a partition that the board's boot loader reads, with the hypervisor and the bundle, and one of type 0x83 for
the disks of guests. The same input makes the same bytes. Its size is a power of two, as QEMU wants of SD cards.

Examples:
  cargo xtask image rpi4 images/demo.toml -o tinyvmm.img    for a Raspberry Pi 4: dd if=tinyvmm.img of=/dev/sdX bs=4M
  cargo xtask image virt images/hello.py -o disk.img        for U-Boot, as on QEMU's virt
  cargo xtask image --list tinyvmm.img                      partitions, files, VMs";

#[derive(Debug, Subcommand)]
enum BoardImage {
    /// An SD card for a Raspberry Pi 4
    Rpi4(rpi4::Rpi4),
    /// A disk that U-Boot boots
    Virt(virt::Virt),
}

/// What every image is made of.
#[derive(Debug, Args)]
struct Content {
    /// The image to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Least size of the partition for guests' disks
    #[arg(long, value_name = "SIZE", default_value = "32MiB")]
    data: Size,
    /// Arguments for the hypervisor, as in "loglevel=info console=24x80"
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    bootargs: String,
    #[command(flatten)]
    making: Making,
    /// What to run, and for a script its arguments; without it: Python's interactive prompt
    #[arg(value_names = ["MANIFEST.toml | BUNDLE.tar | SCRIPT.py [ARGS]"])]
    program: Vec<String>,
}

impl Image {
    /// Makes the image, or shows one.
    pub fn execute(&self) -> Result<u8> {
        if let Some(file) = &self.list {
            print!("{}", list::describe(file)?);
            return Ok(0);
        }
        match &self.board {
            Some(BoardImage::Rpi4(rpi4)) => rpi4.make()?,
            Some(BoardImage::Virt(virt)) => virt.make()?,
            None => {}
        }
        Ok(0)
    }
}

impl Content {
    /// Builds the hypervisor and the bundle, the files that boot loaders of all kinds load.
    fn files(&self, scope: setup::Scope) -> Result<Vec<File>> {
        let program = self.making.program(&self.program)?;
        setup::ensure(scope)?;
        build::build(Profile::Release, build::Scope::Images)?;
        let products = Products::of(Profile::Release)?;
        let image = fs::read(products.hypervisor()).context("cannot read the hypervisor")?;
        loaded(image, self.making.bundle(program, &products)?)
    }

    /// Writes the image, and says so.
    fn write(&self, files: Vec<File>) -> Result<()> {
        let disk = Disk::new(files, self.data)?;
        disk.write(&self.output)?;
        println!("{}: {}", self.output.display(), disk.size());
        Ok(())
    }
}

/// The files that boot loaders of all kinds load.
fn loaded(hypervisor: Vec<u8>, bundle: Vec<u8>) -> Result<Vec<File>> {
    Ok(vec![File::new(KERNEL, kernel::padded(hypervisor)?), File::new(BUNDLE, bundle)])
}
