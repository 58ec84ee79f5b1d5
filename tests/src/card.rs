//! SD cards that a Raspberry Pi 4 boots from. QEMU has no firmware for the board, so what that does is done here: what it
//! loads is read from the card, and the card stays in its slot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::image::{ARGUMENTS, BUNDLE, Disk, KERNEL, TREE, sd_card};
use xtask::qemu::Board;

/// The command that boots a Raspberry Pi 4 from a card with this hypervisor and bundle, which is made in `directory`.
pub(crate) fn boot(
    hypervisor: &Path,
    board: &Board,
    bundle: &[u8],
    bootargs: &str,
    directory: &Path,
) -> Result<Command> {
    let card = directory.join("card.img");
    sd_card(fs::read(hypervisor)?, bundle.into(), bootargs)?.write(&card)?;
    load(&card, board, directory)
}

/// The command that boots a card, the files on which are put into `directory`; with the board's device tree, if it has
/// one, or else that of the card.
pub(crate) fn load(card: &Path, board: &Board, directory: &Path) -> Result<Command> {
    let disk = Disk::read(card)?;
    let file = |name: &str| extract(&disk, name, directory);
    let bootargs = fs::read_to_string(file(ARGUMENTS)?)?;
    let tree = board.tree.clone().map_or_else(|| file(TREE), Ok)?;
    let board = Board { disks: vec![card.into()], tree: Some(tree), ..board.clone() };
    board.command(&file(KERNEL)?, &file(BUNDLE)?, bootargs.trim_end())
}

/// Copies a file from a disk into a directory.
pub(crate) fn extract(disk: &Disk, name: &str, directory: &Path) -> Result<PathBuf> {
    let file = disk.files.iter().find(|file| file.path == name).with_context(|| format!("no {name}"))?;
    let path = directory.join(name.replace('/', "-"));
    fs::write(&path, &file.data)?;
    Ok(path)
}
