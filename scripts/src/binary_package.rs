//! Debian's ready-made packages, for files that are not programs of this machine: taken apart, not installed.

use crate::apt::{Distribution, SHOW_PROGRESS};
use crate::paths::cache_dir;
use crate::progress;
use crate::source_archive::{SUITE, verify};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package, always the same.
#[derive(Debug)]
pub struct BinaryPackage {
    /// What is in it, for who waits.
    pub title: &'static str,
    /// Its name.
    pub package: &'static str,
    /// Its version, without the distribution's own part.
    pub version: &'static str,
    /// The part of the archive that has it.
    pub component: &'static str,
    /// What it must be.
    pub sha256: &'static str,
}

impl BinaryPackage {
    /// The directory with its content, or where that will be.
    pub fn directory(&self) -> Result<PathBuf> {
        Ok(cache_dir()?.join(format!("{}-{}", self.package, self.version)))
    }

    /// Fetches it through apt, checks it and takes it apart.
    pub fn fetch(&self) -> Result<()> {
        let cache = cache_dir()?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let work = tempfile::tempdir_in(&cache).context("cannot make a temporary directory")?;
        self.download(work.path())?;
        let package = only_file(work.path())?;
        verify(&package, self.sha256)?;
        let unpacked = work.path().join("content");
        let mut dpkg = Command::new("dpkg-deb");
        progress::run(&format!("unpacking {}", self.title), dpkg.arg("-x").arg(&package).arg(&unpacked))?;
        // In one step, so that a directory that is there is whole.
        match fs::rename(&unpacked, self.directory()?) {
            // Another run was faster.
            Err(_) if self.directory()?.is_dir() => Ok(()),
            result => result.context("cannot write to the cache"),
        }
    }

    fn download(&self, directory: &Path) -> Result<()> {
        let distribution = Distribution::find().context("this machine has no apt with a known release")?;
        let apt = distribution.for_binaries(SUITE, self.component)?;
        let run = |title: &str, arguments: &[&str]| {
            let mut command = Command::new("env");
            progress::run(title, command.args(apt.words(arguments)).current_dir(directory)).map(drop)
        };
        run("reading apt's list of packages", &["update", SHOW_PROGRESS])?;
        run(&format!("fetching {}", self.title), &["download", SHOW_PROGRESS, self.package])
    }
}

/// What apt has left in a directory: its name tells the distribution's version.
fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    Ok(entries.next().context("apt has fetched nothing")??.path())
}
