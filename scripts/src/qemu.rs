//! The QEMU command that boots a bundle.

use crate::failure::Failure;
use crate::raspberry_pi;
use crate::setup::Scope;
use crate::size::Size;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The emulator's program.
pub const PROGRAM: &str = "qemu-system-aarch64";

/// A board that QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// QEMU's own board, with a GICv3
    Virt,
    /// QEMU's own board, with a GICv2
    VirtGicv2,
    /// Raspberry Pi 4 Model B
    Raspi4b,
}

impl Machine {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::VirtGicv2 => "virt-gicv2",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// The value of `-machine`. The board must have EL2, which `virt` leaves out by default.
    fn argument(self) -> &'static str {
        match self {
            Self::Virt => "virt,virtualization=on,gic-version=3",
            Self::VirtGicv2 => "virt,virtualization=on,gic-version=2",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// The same for a board that starts at EL1, where there can be one.
    fn argument_without_el2(self) -> Option<&'static str> {
        match self {
            Self::Virt => Some("virt,gic-version=3"),
            Self::VirtGicv2 => Some("virt,gic-version=2"),
            Self::Raspi4b => None,
        }
    }

    /// What must be there to run on it.
    pub fn scope(self) -> Scope {
        match self {
            Self::Virt | Self::VirtGicv2 => Scope::Programs,
            Self::Raspi4b => Scope::RaspberryPi,
        }
    }
}

/// What QEMU's Raspberry Pi 4 has, as it cannot be changed.
const RASPI4B: (Cpu, u8, Size) = (Cpu::CortexA72, 4, Size::mib(2048));

/// A processor that QEMU emulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// Armv8.0, as on a Raspberry Pi 4
    CortexA72,
    /// Every feature that QEMU knows
    Max,
}

impl Cpu {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::CortexA72 => "cortex-a72",
            Self::Max => "max",
        }
    }
}

/// What to emulate.
#[derive(Debug, Clone, Args)]
pub struct Board {
    /// The board to emulate
    #[arg(long, value_enum, default_value = "virt")]
    pub machine: Machine,
    /// The processor to emulate
    #[arg(long, value_enum, default_value = "cortex-a72")]
    pub cpu: Cpu,
    /// Number of cores
    #[arg(long, value_name = "N", default_value = "1", default_value_if("machine", "raspi4b", "4"), value_parser = clap::value_parser!(u8).range(1..=8))]
    pub smp: u8,
    /// Memory of the board
    #[arg(
        long = "mem",
        value_name = "SIZE",
        default_value = "1GiB",
        default_value_if("machine", "raspi4b", "2GiB")
    )]
    pub memory: Size,
    /// A disk image: the SD card of raspi4b, a virtio disk on the others, where it may be repeated for virtio0, virtio1, ...
    #[arg(long = "disk", value_name = "FILE")]
    pub disks: Vec<PathBuf>,
    /// Connects the board's network device: user, tap,... or whatever else QEMU's -netdev takes, without the id
    #[arg(long = "net", value_name = "BACKEND")]
    pub network: Option<String>,
    /// A device tree instead of the board's own
    #[arg(skip)]
    pub tree: Option<PathBuf>,
    /// One more argument for QEMU, as in --qemu-arg=-d --qemu-arg=int; may be repeated
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub extra: Vec<OsString>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            machine: Machine::Virt,
            cpu: Cpu::CortexA72,
            smp: 1,
            memory: Size::mib(1024),
            disks: Vec::new(),
            network: None,
            tree: None,
            extra: Vec::new(),
        }
    }
}

impl Board {
    /// A board of this kind with `smp` cores, or as many as all of the kind have.
    pub fn of(machine: Machine, smp: u8) -> Self {
        match (machine, RASPI4B) {
            (Machine::Raspi4b, (cpu, smp, memory)) => Self { machine, cpu, smp, memory, ..Self::default() },
            _ => Self { machine, smp, ..Self::default() },
        }
    }

    /// Refuses a board that there is not.
    fn check(&self) -> Result<(), Failure> {
        let given = (self.cpu, self.smp, self.memory);
        if self.machine == Machine::Raspi4b && given != RASPI4B {
            return Err(Failure::bad_input(
                "--machine raspi4b has a cortex-a72 with 4 cores, and in QEMU 2 GiB: leave --cpu, --smp and --mem out",
            ));
        }
        if self.machine == Machine::Raspi4b && self.disks.len() > 1 {
            return Err(Failure::bad_input("--machine raspi4b has one SD card: give one --disk"));
        }
        if self.machine == Machine::Raspi4b && self.network.is_some() {
            return Err(Failure::bad_input(
                "--machine raspi4b has no network device in QEMU: leave --net out",
            ));
        }
        match self.disks.iter().find(|disk| !disk.is_file()) {
            Some(disk) => Err(Failure::bad_input(format!("--disk {}: no such file", disk.display()))),
            None => Ok(()),
        }
    }

    /// The device tree that QEMU is given: it makes none for a Raspberry Pi 4.
    fn tree(&self) -> Result<Option<PathBuf>> {
        match self.tree {
            None if self.machine == Machine::Raspi4b => raspberry_pi::device_tree().map(Some),
            _ => Ok(self.tree.clone()),
        }
    }

    /// Attaches disk `number`, a raw image.
    fn attach(&self, command: &mut Command, number: usize, disk: &Path) {
        // A comma would end the name.
        let file = format!("format=raw,file={}", disk.display().to_string().replace(',', ",,"));
        if self.machine == Machine::Raspi4b {
            command.args(["-drive", &format!("if=sd,{file}")]);
        } else {
            command.args(["-drive", &format!("if=none,id=disk{number},{file}")]);
            command.args(["-device", &format!("virtio-blk-device,drive=disk{number}")]);
        }
    }

    /// The command that boots the flat image `hypervisor` with `bundle`, its serial port on standard input and output.
    ///
    /// Semihosting stays off: QEMU would serve it to guests as well, behind the hypervisor's back.
    pub fn command(&self, hypervisor: &Path, bundle: &Path, bootargs: &str) -> Result<Command> {
        self.command_at(self.machine.argument(), hypervisor, bundle, bootargs)
    }

    /// The command that boots a Linux kernel in the hypervisor's place, at EL1.
    pub fn command_without_hypervisor(
        &self,
        kernel: &Path,
        initrd: &Path,
        arguments: &str,
    ) -> Result<Command> {
        let machine = self.machine.argument_without_el2();
        let machine = machine.with_context(|| format!("{} always has EL2", self.machine.name()))?;
        self.command_at(machine, kernel, initrd, arguments)
    }

    fn command_at(&self, machine: &str, kernel: &Path, initrd: &Path, arguments: &str) -> Result<Command> {
        self.check()?;
        let mut command = Command::new(PROGRAM);
        command.args(["-machine", machine, "-cpu", self.cpu.name()]);
        command.args(["-smp", &self.smp.to_string(), "-m", &self.memory.for_qemu()]);
        command.args(["-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        if let Some(tree) = self.tree()? {
            command.arg("-dtb").arg(tree);
        }
        self.disks.iter().enumerate().for_each(|(number, disk)| self.attach(&mut command, number, disk));
        if let Some(backend) = &self.network {
            command.args([
                "-netdev",
                &format!("{backend},id=net0"),
                "-device",
                "virtio-net-device,netdev=net0",
            ]);
        }
        if !arguments.is_empty() {
            command.args(["-append", arguments]);
        }
        command.args(&self.extra);
        Ok(command)
    }
}

/// `command` as a line for a shell.
pub fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(board: &Board, bootargs: &str) -> String {
        shell_line(&board.command(Path::new("vmm.img"), Path::new("a b.tar"), bootargs).unwrap())
    }

    #[test]
    fn boots_at_el2_without_semihosting() {
        let line = line(&Board::default(), "");
        assert!(line.starts_with(
            "qemu-system-aarch64 -machine virt,virtualization=on,gic-version=3 -cpu cortex-a72"
        ));
        assert!(line.ends_with("-kernel vmm.img -initrd 'a b.tar'"), "{line}");
        assert!(!line.contains("semihosting"));
    }

    #[test]
    fn passes_boot_arguments_and_extra_arguments() {
        let board = Board { extra: vec!["-d".into(), "int".into()], ..Board::default() };
        let line = line(&board, "loglevel=info console=24x80");
        assert!(line.ends_with("-append 'loglevel=info console=24x80' -d int"), "{line}");
    }

    #[test]
    fn a_raspberry_pi_is_what_it_is() {
        let line = line(&Board::of(Machine::Raspi4b, 1), "");
        assert!(line.contains("-machine raspi4b -cpu cortex-a72 -smp 4 -m 2G "), "{line}");
        assert!(line.contains(" -dtb "), "{line}");
        let other = Board { cpu: Cpu::Max, ..Board::of(Machine::Raspi4b, 4) };
        let error = other.command(Path::new("a"), Path::new("b"), "").unwrap_err().to_string();
        assert!(error.contains("cortex-a72 with 4 cores"), "{error}");
    }

    #[test]
    fn disks_are_what_the_board_has() {
        let directory = tempfile::tempdir().unwrap();
        let disks: Vec<PathBuf> = ["a,b", "c"].map(|name| directory.path().join(name)).into();
        disks.iter().for_each(|disk| std::fs::write(disk, "").unwrap());
        let virt = line(&Board { disks: disks.clone(), ..Board::default() }, "");
        assert!(
            virt.contains("/a,,b -device virtio-blk-device,drive=disk0 -drive if=none,id=disk1,"),
            "{virt}"
        );
        let pi = |disks: &[PathBuf]| Board { disks: disks.to_vec(), ..Board::of(Machine::Raspi4b, 4) };
        assert!(line(&pi(&disks[1..]), "").contains(" -drive if=sd,format=raw,file=/"));
        let error = |board: Board| board.command(Path::new("a"), Path::new("b"), "").unwrap_err().to_string();
        assert!(error(pi(&disks)).contains("one SD card"));
        drop(directory);
        assert!(error(pi(&disks[1..])).ends_with("/c: no such file"));
    }

    #[test]
    fn the_network_is_where_the_board_has_a_device() {
        let network = Some("user,hostfwd=tcp::8080-:80".to_owned());
        let virt = line(&Board { network: network.clone(), ..Board::default() }, "");
        let expected = "-netdev user,hostfwd=tcp::8080-:80,id=net0 -device virtio-net-device,netdev=net0";
        assert!(virt.ends_with(expected), "{virt}");
        let pi = Board { network, ..Board::of(Machine::Raspi4b, 4) };
        let error = pi.command(Path::new("a"), Path::new("b"), "").unwrap_err().to_string();
        assert!(error.contains("no network device"), "{error}");
    }

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
