//! Boots made-up bundles.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use xtask::build::assemble;
use xtask::paths::{Products, Profile, root};
use xtask::qemu::{Board, Machine};
use xtask::session;
use xtask::toolchain::Toolchain;

use crate::card;
use crate::console::Console;
use crate::matrix;

/// Longest time that a boot may take, on a machine that has much else to do.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A virtual machine to boot.
pub(crate) struct Vm {
    name: String,
    image: String,
    memory: String,
    args: Vec<String>,
    priority: u8,
    machine: String,
    vcpus: u32,
    restart: String,
    emit: Option<String>,
    storage: String,
    affinity: Vec<u8>,
    autostart: bool,
    capabilities: Vec<String>,
    disks: Vec<String>,
    network: Option<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Vm {
    /// A VM with 1 MiB that boots a program of the build.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            memory: "1MiB".into(),
            args: vec![],
            priority: 8,
            machine: "tiny".into(),
            vcpus: 1,
            restart: "never".into(),
            emit: None,
            storage: "1MiB".into(),
            affinity: vec![],
            autostart: true,
            capabilities: vec![],
            disks: vec![],
            network: None,
            files: vec![],
        }
    }

    /// A VM that runs a Python script, called `main.py`.
    pub(crate) fn python(name: &str, script: &str) -> Self {
        Self::new(name, "micropython.elf").memory("4MiB").args(&["main.py"]).file("/main.py", script)
    }

    /// Has this much memory.
    pub(crate) fn memory(self, memory: &str) -> Self {
        Self { memory: memory.into(), ..self }
    }

    /// Has these arguments, the program's name first.
    pub(crate) fn args(self, args: &[&str]) -> Self {
        Self { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..self }
    }

    /// Is a machine of this kind.
    pub(crate) fn machine(self, machine: &str) -> Self {
        Self { machine: machine.into(), ..self }
    }

    /// Has this many vCPUs.
    pub(crate) fn vcpus(self, vcpus: u32) -> Self {
        Self { vcpus, ..self }
    }

    /// Has this priority instead of the usual one.
    pub(crate) fn priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// Runs on these cores only.
    pub(crate) fn affinity(self, cores: &[u8]) -> Self {
        Self { affinity: cores.into(), ..self }
    }

    /// Is started by another VM.
    pub(crate) fn waits_to_be_started(self) -> Self {
        Self { autostart: false, ..self }
    }

    /// May do this.
    pub(crate) fn may(self, capabilities: &[&str]) -> Self {
        Self { capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// Starts again after its end: `on-failure` or `always`.
    pub(crate) fn restart(self, policy: &str) -> Self {
        Self { restart: policy.into(), ..self }
    }

    /// Has Python compiled to `native` or `viper` code.
    pub(crate) fn emit(self, emit: &str) -> Self {
        Self { emit: Some(emit.into()), ..self }
    }

    /// Has this much room for files.
    pub(crate) fn storage(self, storage: &str) -> Self {
        Self { storage: storage.into(), ..self }
    }

    /// Has these disks.
    pub(crate) fn disks(self, disks: &[String]) -> Self {
        Self { disks: disks.into(), ..self }
    }

    /// Has a network card that reaches `vms` or the `uplink`.
    pub(crate) fn network(self, reach: &str) -> Self {
        Self { network: Some(reach.into()), ..self }
    }

    /// Has one more file.
    pub(crate) fn file(mut self, path: &str, data: impl AsRef<[u8]>) -> Self {
        self.files.push((path.into(), data.as_ref().into()));
        self
    }

    /// The VM's part of a manifest.
    fn manifest(&self) -> String {
        let Self { name, image, memory, args, priority, machine, vcpus, restart, storage, .. } = self;
        let mut head = format!(
            "[[vm]]\nname = {name:?}\nmachine = {machine:?}\nvcpus = {vcpus}\nimage = {image:?}\nmemory = {memory:?}\nargs = {args:?}\npriority = {priority}\nrestart = {restart:?}\nstorage = {storage:?}\n"
        );
        if let Some(emit) = &self.emit {
            head += &format!("emit = {emit:?}\n");
        }
        if !self.affinity.is_empty() {
            head += &format!("affinity = {:?}\n", self.affinity);
        }
        head += &format!("autostart = {}\ncapabilities = {:?}\n", self.autostart, self.capabilities);
        if !self.disks.is_empty() {
            head += &format!("disk = {:?}\n", self.disks);
        }
        if let Some(network) = &self.network {
            head += &format!("network = {network:?}\n");
        }
        let files = self.files.iter().map(|(path, _)| format!("{path:?} = {:?}\n", self.file_name(path)));
        if self.files.is_empty() { head } else { head + "[vm.files]\n" + &files.collect::<String>() }
    }

    fn file_name(&self, path: &str) -> String {
        format!("{}{path}", self.name)
    }
}

/// Makes a bundle of `vms`, with the images from the build.
pub(crate) fn bundle(vms: &[Vm]) -> Result<Vec<u8>> {
    bundle_with(vms, &[])
}

/// Makes a bundle of `vms`, with these images or else those from the build.
pub(crate) fn bundle_with(vms: &[Vm], images: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut files =
        vec![("tinyvmm.toml".to_owned(), vms.iter().map(Vm::manifest).collect::<String>().into())];
    files.extend(images.iter().map(|(name, image)| ((*name).to_owned(), image.clone())));
    for vm in vms {
        if !files.iter().any(|(name, _)| *name == vm.image) {
            files.push((vm.image.clone(), built(&vm.image)?));
        }
        files.extend(vm.files.iter().map(|(path, data)| (vm.file_name(path), data.clone())));
    }
    archive(&files)
}

/// A program of the build.
pub(crate) fn built(image: &str) -> Result<Vec<u8>> {
    let path = products()?.guest(image);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes a tar archive.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len().try_into()?);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, data.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

/// A program in assembly, `tests/guests/raw/NAME.S`, as a flat image.
pub(crate) fn raw(name: &str) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let binary = directory.path().join("raw.bin");
    let source = root().join("tests/guests/raw").join(name).with_extension("S");
    assemble(&source, &binary, &Toolchain::find()?)?;
    std::fs::read(&binary).context("cannot read the program")
}

/// A board whose time is counted in instructions, a nanosecond each: what is timed there is the same in each run.
pub(crate) fn counting(machine: Machine, smp: u8) -> Board {
    let extra = ["-icount", "shift=0,sleep=off"].map(Into::into).to_vec();
    Board { extra, ..Board::of(machine, smp) }
}

/// Those of these numbers of cores that a board can have.
pub(crate) fn cores(machine: Machine, numbers: &[u8]) -> Vec<u8> {
    numbers.iter().copied().filter(|smp| Board::of(machine, *smp).smp == *smp).collect()
}

/// What `cargo xtask test` has built.
pub(crate) fn products() -> Result<Products> {
    Products::of(Profile::Release)
}

/// Boots these VMs and waits until all have ended.
pub(crate) fn run(vms: &[Vm]) -> Result<Console> {
    run_bundle(&bundle(vms)?)
}

/// Boots a bundle and waits until all its VMs have ended.
pub(crate) fn run_bundle(bundle: &[u8]) -> Result<Console> {
    run_on(&matrix::board(1), bundle, "")
}

/// Boots a bundle on a board, with arguments for the hypervisor.
pub(crate) fn run_on(board: &Board, bundle: &[u8], bootargs: &str) -> Result<Console> {
    let (command, _files) = command(board, bundle, bootargs)?;
    run_command(command, b"")
}

/// Runs an emulator to its end, with `input` typed before it has even started.
pub(crate) fn run_command(command: Command, input: &[u8]) -> Result<Console> {
    let captured = session::capture(command, input, TIMEOUT)?;
    Ok(Console { output: captured.output, code: captured.code })
}

/// The command that boots a bundle; the directory must outlive it.
pub(crate) fn command(board: &Board, bundle: &[u8], bootargs: &str) -> Result<(Command, TempDir)> {
    command_for(&products()?.hypervisor(), board, bundle, bootargs)
}

/// The command that boots a bundle on another hypervisor than that of the build: on a Raspberry Pi 4 from an SD card, unless
/// the board has another one.
pub(crate) fn command_for(
    hypervisor: &Path,
    board: &Board,
    bundle: &[u8],
    bootargs: &str,
) -> Result<(Command, TempDir)> {
    if board.machine != Machine::Raspi4b || !board.disks.is_empty() {
        return without_card(hypervisor, board, bundle, bootargs);
    }
    let directory = tempfile::tempdir()?;
    Ok((card::boot(hypervisor, board, bundle, bootargs, directory.path())?, directory))
}

/// The command that boots a bundle with no other disks than those of the board.
pub(crate) fn without_card(
    hypervisor: &Path,
    board: &Board,
    bundle: &[u8],
    bootargs: &str,
) -> Result<(Command, TempDir)> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bundle.tar");
    std::fs::write(&file, bundle)?;
    Ok((board.command(hypervisor, &file, bootargs)?, directory))
}
