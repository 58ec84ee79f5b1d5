//! Where things are: the workspace, what the build makes, and what was fetched.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build, with debug assertions.
    Dev,
    /// What ships.
    Release,
}

impl Profile {
    /// The profile's directory below the target directory.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    /// The profile's name for `cargo build --profile`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR"));
    scripts.parent().map_or_else(|| scripts.to_owned(), Path::to_owned)
}

/// Cargo's target directory, absolute.
pub fn target_dir() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(&dir).context("CARGO_TARGET_DIR is not a usable path"),
        None => Ok(root().join("target")),
    }
}

/// The directory of fetched things, which outlives `cargo clean`.
pub fn cache_dir() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(base.context("neither HOME nor XDG_CACHE_HOME is set to an absolute path: set one")?.join("tinyvmm"))
}

/// The finished programs of one profile: the hypervisor's image and the guests.
#[derive(Debug, Clone)]
pub struct Products {
    directory: PathBuf,
}

impl Products {
    /// The products of `profile`.
    pub fn of(profile: Profile) -> Result<Self> {
        Ok(Self::at(target_dir()?.join("tinyvmm").join(profile.directory())))
    }

    /// The products in `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory that holds them.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The hypervisor's flat image.
    pub fn hypervisor(&self) -> PathBuf {
        self.directory.join("tinyvmm.img")
    }

    /// MicroPython's compiler from Python to bytecode, a program for this machine.
    pub fn mpy_cross(&self) -> PathBuf {
        self.directory.join("mpy-cross")
    }

    /// The guest program called `name`, such as `micropython.elf` or `vm1.bin`.
    pub fn guest(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
