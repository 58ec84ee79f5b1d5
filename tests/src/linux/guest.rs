//! A VM with Linux as tests boot it, and the same guest without a hypervisor.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use xtask::bundle::Draft;
use xtask::guest::{extras::Bootable, ram_disk};
use xtask::qemu::Board;
use xtask::session;

use crate::boot::products;

/// How a kernel is told to be quiet, and to end where it would panic.
pub(crate) const QUIET: [&str; 3] = ["console=ttyAMA0", "quiet", "panic=-1"];

/// A VM called `linux`, and others.
pub(crate) struct Linux {
    bootable: Bootable,
    memory: &'static str,
    vcpus: u32,
    args: Vec<&'static str>,
    files: Vec<(&'static str, Vec<u8>)>,
    has_initrd: bool,
    busy: usize,
}

impl Linux {
    /// A VM with 256 MiB and one vCPU.
    pub(crate) fn new(bootable: Bootable, args: &[&'static str]) -> Self {
        let (memory, vcpus) = ("256MiB", 1);
        Self { bootable, memory, vcpus, args: args.into(), files: vec![], has_initrd: true, busy: 0 }
    }

    /// Has this much memory.
    pub(crate) fn memory(self, memory: &'static str) -> Self {
        Self { memory, ..self }
    }

    /// Has so many vCPUs.
    pub(crate) fn vcpus(self, vcpus: u32) -> Self {
        Self { vcpus, ..self }
    }

    /// Has nothing but its files for an initial RAM disk.
    pub(crate) fn without_initrd(self) -> Self {
        Self { has_initrd: false, ..self }
    }

    /// Has one more file.
    pub(crate) fn file(mut self, path: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path, content.into()));
        self
    }

    /// Is beside so many VMs in which Python computes and never ends.
    pub(crate) fn beside_busy(self, busy: usize) -> Self {
        Self { busy, ..self }
    }

    /// The bundle.
    pub(crate) fn bundle(&self) -> Result<Vec<u8>> {
        let directory = tempfile::tempdir()?;
        let beside = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(&self.bootable.image, beside("Image"))?;
        std::os::unix::fs::symlink(&self.bootable.initrd, beside("initrd"))?;
        for (index, (_, content)) in self.files.iter().enumerate() {
            std::fs::write(beside(&format!("file{index}")), content)?;
        }
        std::fs::write(beside("busy.py"), "while True:\n    sum(range(1000))\n")?;
        std::fs::write(beside("linux.toml"), self.manifest() + &busy(self.busy))?;
        Draft::manifest(&beside("linux.toml"))?.pack(&products()?)
    }

    fn manifest(&self) -> String {
        let Self { memory, vcpus, args, .. } = self;
        let initrd = if self.has_initrd { "initrd = \"initrd\"\n" } else { "" };
        let files = self.files.iter().enumerate();
        let files: Vec<_> = files.map(|(index, (path, _))| format!("{path:?} = \"file{index}\"")).collect();
        format!(
            "[[vm]]\nname = \"linux\"\nmachine = \"virt\"\nimage = \"Image\"\n{initrd}\
             memory = \"{memory}\"\nvcpus = {vcpus}\nargs = {args:?}\nfiles = {{ {} }}\n",
            files.join(", ")
        )
    }

    /// What it prints without a hypervisor, on such a board, to its end.
    pub(crate) fn plain(&self, board: &Board, timeout: Duration) -> Result<String> {
        let directory = tempfile::tempdir()?;
        let initrd = self.plain_initrd(&directory)?;
        let command =
            board.command_without_hypervisor(&self.bootable.image, &initrd, &self.args.join(" "))?;
        session::printed(command, timeout)
    }

    fn plain_initrd(&self, directory: &TempDir) -> Result<PathBuf> {
        let files: Vec<_> = self.files.iter().map(|(path, content)| (*path, content.as_slice())).collect();
        let path = directory.path().join("initrd");
        std::fs::write(&path, ram_disk::with_files(&self.bootable.initrd, &files)?)?;
        Ok(path)
    }
}

/// So many VMs in which Python computes and never ends.
fn busy(count: usize) -> String {
    let vm = |n| {
        format!(
            "[[vm]]\nname = \"busy{n}\"\nimage = \"micropython.elf\"\nmemory = \"1MiB\"\nargs = [\"busy.py\"]\n\
             files = {{ \"/busy.py\" = \"busy.py\" }}\n"
        )
    };
    (0..count).map(vm).collect()
}
