//! `cargo xtask run`: boots a script, a manifest or a bundle.

use crate::bundle::{Draft, readable};
use crate::bytecode::Compiler;
use crate::device::ANNOUNCED;
use crate::failure::Failure;
use crate::paths::{Products, Profile};
use crate::qemu::{Board, shell_line};
use crate::serial::{Kind, Line};
use crate::size::Size;
use crate::{build, session, setup, terminal};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::fs;
use std::io::{IsTerminal, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Run {
    #[command(flatten)]
    board: Board,
    /// Memory of the VM that runs a script or the REPL; a manifest has its own
    #[arg(long, value_name = "SIZE", default_value = "16MiB")]
    vm_mem: Size,
    /// What the script's functions are compiled to; a manifest has its own
    #[arg(long, value_name = "CODE", default_value = "bytecode", value_parser = ["bytecode", "native", "viper"])]
    emit: String,
    /// End the run after so many seconds, with exit code 124
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// How much the hypervisor tells: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    loglevel: Option<String>,
    /// Make the console a serial port for other programs: tcp:PORT (0 for any) or pty
    #[arg(long, value_name = "PORT")]
    serial: Option<Kind>,
    /// Compile Python files to bytecode first: the VM starts without compiling them
    #[arg(long)]
    mpy: bool,
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
  cargo xtask run images/demo.toml                 every VM of a manifest
  cargo xtask run --serial tcp:4000                for mpremote connect socket://localhost:4000
  cargo xtask run --qemu-arg=-d --qemu-arg=int --qemu-arg=-D --qemu-arg=qemu.log x.py

Exit codes: that of the VM (of several, the first that is not 0); 70 if a VM crashed; 101 if the hypervisor did;
  2 for input that is missing or wrong; 3 for missing tools; 124 after --timeout.";

/// What to boot.
enum Input {
    Draft(Draft),
    /// A bundle that the user made, passed on as it is.
    Ready(PathBuf),
}

impl Run {
    /// Runs it; returns the exit code of the process.
    pub fn execute(&self) -> Result<u8> {
        let input = self.input()?;
        let profile = if self.debug { Profile::Dev } else { Profile::Release };
        let products = Products::of(profile)?;
        if self.dry_run {
            return self.print_command(&input, &products);
        }
        // A wrong board is to be told before anything is installed or built.
        self.command(&products, Path::new(""))?;
        setup::ensure(self.board.machine.scope())?;
        build::build(profile, build::Scope::Images)?;
        if self.program.is_empty() && self.is_typed() {
            eprintln!("{}", terminal::HELP);
        }
        let work = tempfile::tempdir().context("cannot make a temporary directory")?;
        match &self.compiled(input, &products, work.path())? {
            Input::Ready(path) => self.boot(&products, path),
            Input::Draft(draft) => {
                let mut file = tempfile::Builder::new().suffix(".tar").tempfile()?;
                file.write_all(&draft.pack(&products)?).context("cannot write the bundle")?;
                self.boot(&products, file.path())
            }
        }
    }

    fn input(&self) -> Result<Input> {
        let Some((program, args)) = self.program.split_first() else {
            return Ok(Input::Draft(Draft::repl(self.vm_mem, &self.emit)?));
        };
        let path = Path::new(program);
        let extension = path.extension().and_then(|extension| extension.to_str());
        if let (Some("toml" | "tar"), [first, ..]) = (extension, args) {
            return Err(Failure::bad_input(format!("'{first}': only a script takes arguments")).into());
        }
        match extension {
            Some("py") => Ok(Input::Draft(Draft::script(path, args, self.vm_mem, &self.emit)?)),
            Some("toml") => Ok(Input::Draft(Draft::manifest(path)?)),
            Some("tar") => readable(path).map(|()| Input::Ready(path.to_owned())).map_err(Into::into),
            _ => Err(Failure::bad_input(format!(
                "{program}: what is it? A script ends in .py, a manifest in .toml, a bundle in .tar"
            ))
            .into()),
        }
    }

    /// What to boot, with bytecode in place of Python if the user wants that.
    fn compiled(&self, input: Input, products: &Products, directory: &Path) -> Result<Input> {
        match input {
            Input::Ready(_) if self.mpy => {
                Err(Failure::bad_input("--mpy: a bundle is passed on as it is").into())
            }
            Input::Draft(draft) if self.mpy => {
                let compiler = Compiler { program: &products.mpy_cross(), directory };
                Ok(Input::Draft(draft.compiled(&compiler)?))
            }
            input => Ok(input),
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
        let escape = (!self.is_typed()).then(|| "escape=off".to_owned());
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
    fn print_command(&self, input: &Input, products: &Products) -> Result<u8> {
        let bundle = match input {
            Input::Ready(path) => path.clone(),
            Input::Draft(_) => products.directory().join("bundle.tar"),
        };
        let command = self.command(products, &bundle)?;
        if let Input::Draft(draft) = input {
            ensure!(products.hypervisor().is_file(), "nothing is built yet: run cargo xtask build --release");
            fs::write(&bundle, draft.pack(products)?)
                .with_context(|| format!("cannot write {}", bundle.display()))?;
        }
        println!("{}", shell_line(&command));
        Ok(0)
    }
}
