//! Linux in a VM, beside the same kernel with the same initial RAM disk on the same board without a hypervisor.

use super::measure::{Subject, TIMEOUT, Values};
use super::output::Counted;
use crate::build::assemble;
use crate::bundle::Draft;
use crate::guest::{linux::Release, ram_disk};
use crate::paths::root;
use crate::qemu::Board;
use crate::session;
use crate::size::Size;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RELEASE: Release = Release::Debian13;
/// That of the guest, and of the board without a hypervisor.
const MEMORY: Size = Size::mib(512);
/// With a seed, Python's dictionaries are the same each time: what the kernel does not know is in its programs' environment.
const ARGUMENTS: &str = "console=ttyAMA0 quiet panic=-1 PYTHONHASHSEED=0";
/// How long a kernel boots depends on its random numbers, by one in a hundred: so often each boots, with other ones.
const BOOTS: u64 = 4;

/// The first program that says when it has come so far.
const INIT_SOURCE: &str = "tests/guests/raw/bench_init.S";
/// A program that computes.
const PROGRAM: &str = include_str!("linux_cpu.py");

/// From the creation of the VM, or from power-on, to the first line of the first program.
pub(super) fn boot(subject: &Subject) -> Result<Values> {
    let guest = Guest::with("/init", |path| assemble(&root().join(INIT_SOURCE), path, &Toolchain::find()?))?;
    guest.compare(subject, "linux_boot", BOOTS)
}

/// A program that computes.
pub(super) fn cpu(subject: &Subject) -> Result<Values> {
    let guest = Guest::with("/main.py", |path| Ok(fs::write(path, PROGRAM)?))?;
    guest.compare(subject, "linux_cpu", 1)
}

/// A guest with one more file.
struct Guest {
    directory: TempDir,
    path: &'static str,
}

impl Guest {
    fn with(path: &'static str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let guest = Self { directory: tempfile::tempdir()?, path };
        make(&guest.file())?;
        Ok(guest)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("file")
    }

    /// What it counts in the VM, in thousandths of what it counts without a hypervisor.
    fn compare(&self, subject: &Subject, id: &'static str, boots: u64) -> Result<Values> {
        let guest = RELEASE.bootable()?;
        let (draft, initrd) = (self.draft()?, self.initrd(&guest.initrd)?);
        let (mut in_vm, mut plain) = (0, 0);
        for seed in 1..=boots {
            let board = subject.board(1);
            let extra = [board.extra, vec!["-seed".into(), seed.to_string().into()]].concat();
            let board = Board { extra, ..board };
            in_vm += Counted::find(&subject.boot_on(&board, &draft)?, id)?.ticks;
            let board = Board { memory: MEMORY, ..board };
            let command = board.command_without_hypervisor(&guest.image, &initrd, ARGUMENTS)?;
            plain += Counted::find(&session::printed(command, TIMEOUT)?, id)?.ticks;
        }
        println!("  {id:<24} {in_vm:>12} ticks, {plain:>12} without a hypervisor");
        Ok(vec![(id, (1000 * in_vm).div_ceil(plain.max(1)))])
    }

    fn draft(&self) -> Result<Draft> {
        let path = self.directory.path().join("linux.toml");
        let arguments: Vec<&str> = ARGUMENTS.split(' ').collect();
        let manifest = format!(
            "[[vm]]\nname = \"linux\"\nmachine = \"virt\"\nimage = {:?}\ninitrd = {:?}\nmemory = \"{MEMORY}\"\n\
             args = {arguments:?}\nfiles = {{ {:?} = \"file\" }}\n",
            RELEASE.image(),
            RELEASE.initrd(),
            self.path
        );
        fs::write(&path, manifest).context("cannot write the manifest")?;
        Draft::manifest(&path)
    }

    /// The initial RAM disk as the VM has it.
    fn initrd(&self, disk: &Path) -> Result<PathBuf> {
        let path = self.directory.path().join("initrd");
        let content = fs::read(self.file())?;
        let disk = ram_disk::with_files(disk, &[(self.path, &content)])?;
        fs::write(&path, disk).context("cannot write the RAM disk")?;
        Ok(path)
    }
}
