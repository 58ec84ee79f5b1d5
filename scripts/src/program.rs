//! What is to be run, as commands name it: a script, a manifest or a bundle.

use crate::bundle::{Draft, readable};
use crate::bytecode::Compiler;
use crate::failure::Failure;
use crate::paths::Products;
use crate::size::Size;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::fs;
use std::path::{Path, PathBuf};

/// Options for how a bundle is made.
#[derive(Debug, Args)]
pub struct Making {
    /// What runs a script
    #[arg(long, value_enum, default_value = "micropython")]
    guest: Guest,
    /// Memory of the VM that runs a script or the REPL; a manifest has its own [default: 16MiB, for Linux 512MiB]
    #[arg(long, value_name = "SIZE")]
    vm_mem: Option<Size>,
    /// What the script's functions are compiled to; a manifest has its own
    #[arg(long, value_name = "CODE", default_value = "bytecode", value_parser = ["bytecode", "native", "viper"])]
    emit: String,
    /// Compile Python files to bytecode first: the VM starts without compiling them
    #[arg(long)]
    mpy: bool,
}

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Guest {
    /// MicroPython, on nothing
    Micropython,
    /// CPython, on Debian's Linux
    Linux,
}

impl Guest {
    const fn memory(self) -> Size {
        match self {
            Self::Micropython => Size::mib(16),
            Self::Linux => Size::mib(512),
        }
    }
}

/// What to run.
#[derive(Debug)]
pub enum Program {
    /// A bundle to be made.
    Draft(Draft),
    /// A bundle that the user made, passed on as it is.
    Ready(PathBuf),
}

impl Making {
    /// Finds out what `words` mean: a file, and for a script its arguments. Nothing is Python's prompt.
    pub fn program(&self, words: &[String]) -> Result<Program> {
        let memory = self.vm_mem.unwrap_or(self.guest.memory());
        let Some((program, args)) = words.split_first() else {
            return Ok(Program::Draft(Draft::repl(memory, &self.emit)?));
        };
        let path = Path::new(program);
        let extension = path.extension().and_then(|extension| extension.to_str());
        if let (Some("toml" | "tar"), [first, ..]) = (extension, args) {
            return Err(Failure::bad_input(format!("'{first}': only a script takes arguments")).into());
        }
        match extension {
            Some("py") => Ok(Program::Draft(match self.guest {
                Guest::Micropython => Draft::script(path, args, memory, &self.emit)?,
                Guest::Linux => Draft::linux_script(path, args, memory)?,
            })),
            Some("toml") => Ok(Program::Draft(Draft::manifest(path)?)),
            Some("tar") => readable(path).map(|()| Program::Ready(path.to_owned())).map_err(Into::into),
            _ => Err(Failure::bad_input(format!(
                "{program}: what is it? A script ends in .py, a manifest in .toml, a bundle in .tar"
            ))
            .into()),
        }
    }

    /// The same with bytecode in place of Python if the user wants that.
    pub fn compiled(&self, program: Program, products: &Products, directory: &Path) -> Result<Program> {
        match program {
            Program::Ready(_) if self.mpy => {
                Err(Failure::bad_input("--mpy: a bundle is passed on as it is").into())
            }
            Program::Draft(draft) if self.mpy => {
                let compiler = Compiler { program: &products.mpy_cross(), directory };
                Ok(Program::Draft(draft.compiled(&compiler)?))
            }
            program => Ok(program),
        }
    }

    /// The finished bundle of `program`, checked as the hypervisor will check it.
    pub fn bundle(&self, program: Program, products: &Products) -> Result<Vec<u8>> {
        let work = tempfile::tempdir().context("cannot make a temporary directory")?;
        match self.compiled(program, products, work.path())? {
            Program::Draft(draft) => draft.pack(products),
            Program::Ready(path) => {
                let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let checked = vmm::bundle::Bundle::parse(&bytes).and_then(|bundle| bundle.manifest());
                checked.map_err(|error| Failure::bad_input(format!("{}: {error}", path.display())))?;
                Ok(bytes)
            }
        }
    }
}
