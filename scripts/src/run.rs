//! `cargo xtask run`: boots a script, a manifest or a bundle.

use crate::device::ANNOUNCED;
use crate::paths::{Products, Profile};
use crate::program::{Making, Program};
use crate::qemu::{Board, shell_line};
use crate::serial::{Kind, Line};
use crate::{build, session, setup, terminal};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::fs;
use std::io::{IsTerminal, Write, stdin};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Run {
    #[command(flatten)]
    board: Board,
    #[command(flatten)]
    making: Making,
    /// End the run after so many seconds, with exit code 124
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// How much the hypervisor tells: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    loglevel: Option<String>,
    /// Make the console a serial port for other programs: tcp:PORT (0 for any) or pty
    #[arg(long, value_name = "PORT")]
    serial: Option<Kind>,
    /// Leave Ctrl-A to the hypervisor though nobody types, as for `push`
    #[arg(long)]
    escape: bool,
    /// Build with debug assertions
    #[arg(long)]
    debug: bool,
    /// Only print the QEMU command; nothing is installed, built or run
    #[arg(long)]
    dry_run: bool,
    /// What to run, and for a script its arguments; without it: Python's interactive prompt
    #[arg(
        value_names = ["MANIFEST.toml | BUNDLE.tar | SCRIPT.py [ARGS]"],
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    program: Vec<String>,
}

const AFTER_HELP: &str = "\
Options come before the program; everything after a script's name is for the script (its sys.argv).

In a terminal every key goes to the VM, Ctrl-C too, but for Ctrl-A and the key after it: Ctrl-A X leaves (exit code 0),
Ctrl-A 1 to 9 selects the VM that gets what is typed, Ctrl-A M opens the monitor, Ctrl-A A sends a Ctrl-A, Ctrl-A ? shows
all this. Other input (a pipe, a file) goes to the VM as it is, then one Ctrl-D for its end: EOFError for Python's input().

Examples:
  cargo xtask run                                  Python's interactive prompt
  cargo xtask run images/hello.py a b              a script with two arguments
  cargo xtask run --timeout 10 --cpu max x.py      on another processor, for at most 10 s
  cargo xtask run --emit native x.py               a script compiled to machine code
  cargo xtask run --guest linux x.py               a script in CPython on Linux
  cargo xtask run images/demo.toml                 every VM of a manifest
  cargo xtask run --serial tcp:4000                for mpremote connect socket://localhost:4000
  cargo xtask run --qemu-arg=-d --qemu-arg=int --qemu-arg=-D --qemu-arg=qemu.log x.py

Exit codes: that of the VM (of several, the first that is not 0); 70 if a VM crashed; 101 if the hypervisor did;
  2 for input that is missing or wrong; 3 for missing tools; 124 after --timeout.";

impl Run {
    /// Runs it; returns the exit code of the process.
    pub fn execute(&self) -> Result<u8> {
        let program = self.making.program(&self.program)?;
        let profile = if self.debug { Profile::Dev } else { Profile::Release };
        let products = Products::of(profile)?;
        if self.dry_run {
            return self.print_command(&program, &products);
        }
        // A wrong board is to be told before anything is installed or built.
        self.command(&products, Path::new(""))?;
        setup::ensure(self.board.machine.scope())?;
        if let Program::Draft(draft) = &program {
            draft.ensure_guests()?;
        }
        build::build(profile, build::Scope::Images)?;
        if self.program.is_empty() && self.is_typed() {
            eprintln!("{}", terminal::HELP);
        }
        let work = tempfile::tempdir().context("cannot make a temporary directory")?;
        match &self.making.compiled(program, &products, work.path())? {
            Program::Ready(path) => self.boot(&products, path),
            Program::Draft(draft) => {
                let mut file = tempfile::Builder::new().suffix(".tar").tempfile()?;
                file.write_all(&draft.pack(&products)?).context("cannot write the bundle")?;
                self.boot(&products, file.path())
            }
        }
    }

    fn command(&self, products: &Products, bundle: &Path) -> Result<Command> {
        self.board.command(&products.hypervisor(), bundle, &self.bootargs())
    }

    fn bootargs(&self) -> String {
        // A program that reads the console takes every line for the guest's.
        let quiet = self.serial.as_ref().map(|_| "error");
        let loglevel = self.loglevel.as_deref().or(quiet).map(|level| format!("loglevel={level}"));
        let size = if self.serial.is_none() { terminal::size() } else { None };
        let console = size.map(|(rows, columns)| format!("console={rows}x{columns}"));
        // A program that types means every byte.
        let escape = (!self.escape && !self.is_typed()).then(|| "escape=off".to_owned());
        loglevel.into_iter().chain(console).chain(escape).collect::<Vec<_>>().join(" ")
    }

    /// Whether there is a user at the keyboard.
    fn is_typed(&self) -> bool {
        self.serial.is_none() && stdin().is_terminal()
    }

    fn boot(&self, products: &Products, bundle: &Path) -> Result<u8> {
        let command = self.command(products, bundle)?;
        let timeout = self.timeout.map(Duration::from_secs);
        let Some(kind) = &self.serial else { return session::interactive(command, timeout) };
        let line = Line::open(kind)?;
        eprintln!("{ANNOUNCED}{}", line.name()?);
        session::serial(command, timeout, line)
    }

    /// Leaves the bundle where the printed command finds it.
    fn print_command(&self, program: &Program, products: &Products) -> Result<u8> {
        let bundle = match program {
            Program::Ready(path) => path.clone(),
            Program::Draft(_) => products.directory().join("bundle.tar"),
        };
        let command = self.command(products, &bundle)?;
        if let Program::Draft(draft) = program {
            ensure!(products.hypervisor().is_file(), "nothing is built yet: run cargo xtask build --release");
            fs::write(&bundle, draft.pack(products)?)
                .with_context(|| format!("cannot write {}", bundle.display()))?;
        }
        println!("{}", shell_line(&command));
        Ok(0)
    }
}
