//! `cargo xtask image`: SD cards and disks, and boots from what is on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tempfile::TempDir;
use xtask::firmware;
use xtask::image::{Disk, TREE};
use xtask::qemu::{Board, Machine, PROGRAM};

use crate::boot::run_command;
use crate::card::{extract, load};
use crate::console::Console;
use crate::process::{run, xtask};
use crate::test;

/// What the device tree on an SD card is changed by when the board starts.
const OVERLAY: &str = "overlays/disable-bt.dtbo";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("disk_images::same_bytes", same_bytes),
        test("disk_images::list", list),
        test("disk_images::firmware_of_the_user", firmware_of_the_user),
        test("disk_images::without_firmware", without_firmware),
        test("disk_images::raspberry_pi", || boots_on_raspberry_pi(false)),
        test("disk_images::raspberry_pi_with_overlay", || boots_on_raspberry_pi(true)),
        test("disk_images::u_boot", boots_with_u_boot),
    ]
}

/// An image of `images/hello.py`, made with these arguments, in a directory that lives as long as the first value.
fn made(board: &str, arguments: &[&str]) -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk.img");
    let output = path.to_str().context("a path that is not UTF-8")?;
    let words = [&["image", board, "images/hello.py", "you", "-o", output], arguments].concat();
    run(xtask(&words)?)?.ends_with(0)?;
    Ok((directory, path))
}

fn same_bytes() -> Result<()> {
    let images = [made("rpi4", &[])?, made("rpi4", &[])?].map(|(_directory, path)| fs::read(path));
    let [one, two] = images;
    ensure!(one? == two?, "the images differ");
    Ok(())
}

fn list() -> Result<()> {
    let (_directory, path) = made("rpi4", &["--data", "100MiB"])?;
    let console = run(xtask(&["image", "--list", path.to_str().context("a path")?])?)?;
    console.ends_with(0)?.shows("disk.img: 256MiB\n")?;
    console.shows("partition 1: 64MiB at 1MiB, type 0x0c: FAT32, to boot from\n")?;
    console.shows("partition 2: 191MiB at 65MiB, type 0x83: disks of guests\n")?;
    console.shows("bytes  start4.elf\n")?.shows("bytes  overlays/disable-bt.dtbo\n")?;
    console.shows("VM hello: tiny, micropython.elf, 16MiB, vCPUs: 1, files: 1\n").map(drop)
}

fn firmware_of_the_user() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let firmware = directory.path().to_str().context("a path")?;
    let words = ["image", "rpi4", "-o", "/nowhere/x.img", "--firmware", firmware, "images/hello.py"];
    run(xtask(&words)?)?.ends_with(2)?.shows("start4.elf: No such file")?;
    for (name, text) in [("start4.elf", "firmware"), ("fixup4.dat", "more"), (TREE, "a tree")] {
        fs::write(directory.path().join(name), text)?;
    }
    run(xtask(&words)?)?.ends_with(2)?.shows("overlays/disable-bt.dtbo: No such file")?;
    fs::create_dir(directory.path().join("overlays"))?;
    fs::write(directory.path().join(OVERLAY), "an overlay")?;
    let (_directory, path) = made("rpi4", &["--firmware", firmware])?;
    let disk = Disk::read(&path)?;
    let data = |name: &str| disk.files.iter().find(|file| file.path == name).map(|file| file.data.as_slice());
    ensure!(data("start4.elf") == Some(b"firmware") && data(TREE) == Some(b"a tree"), "other files");
    ensure!(data(OVERLAY) == Some(b"an overlay"), "another overlay");
    Ok(())
}

/// Neither in the cache, nor to be had: there is no apt.
fn without_firmware() -> Result<()> {
    let nothing = tempfile::tempdir()?;
    let mut command = xtask(&["image", "rpi4", "-o", "/nowhere/x.img", "images/hello.py"])?;
    command.env("XDG_CACHE_HOME", nothing.path()).env("PATH", nothing.path());
    run(command)?.ends_with(3)?.shows("raspi-firmware")?.shows("--firmware DIRECTORY").map(drop)
}

fn boots_on_raspberry_pi(with_overlay: bool) -> Result<()> {
    let (directory, path) = made("rpi4", &[])?;
    let tree = with_overlay.then(|| overlaid(&path, directory.path())).transpose()?;
    let board = Board { tree, ..Board::of(Machine::Raspi4b, 4) };
    says_hello(&run_command(load(&path, &board, directory.path())?, b"")?)
}

/// The tree as the firmware changes it.
fn overlaid(card: &Path, directory: &Path) -> Result<PathBuf> {
    let disk = Disk::read(card)?;
    let [tree, overlay] = [extract(&disk, TREE, directory)?, extract(&disk, OVERLAY, directory)?];
    let output = tree.with_extension("overlaid");
    let mut command = Command::new("fdtoverlay");
    command.arg("-i").arg(tree).arg("-o").arg(&output).arg(overlay);
    ensure!(command.status()?.success(), "the overlay does not fit the tree");
    Ok(output)
}

fn boots_with_u_boot() -> Result<()> {
    let (_directory, path) = made("virt", &["--bootargs", "loglevel=info"])?;
    let mut command = Command::new(PROGRAM);
    command.args(["-machine", "virt,virtualization=on,gic-version=3", "-cpu", "cortex-a72", "-m", "1G"]);
    command.args(["-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-bios").arg(firmware::u_boot()?);
    command.arg("-drive").arg(format!("if=none,id=disk,format=raw,file={}", path.display()));
    command.args(["-device", "virtio-blk-device,drive=disk"]);
    let console = run_command(command, b"")?;
    console.shows("[tinyvmm info] vm 'hello' ended: exit code 0")?;
    says_hello(&console)
}

fn says_hello(console: &Console) -> Result<()> {
    console.shows("Hello, you!\n")?.ends_with(0).map(drop)
}
