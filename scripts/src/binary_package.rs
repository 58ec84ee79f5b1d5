//! Debian's ready-made packages, for files that are not programs of this machine: taken apart, not installed.

use crate::apt::Distribution;
use crate::cache;
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
        cache::keep(&self.directory()?, |work| {
            self.download(work)?;
            let package = only_file(work)?;
            verify(&package, self.sha256)?;
            let unpacked = work.join("content");
            let mut dpkg = Command::new("dpkg-deb");
            progress::run(&format!("unpacking {}", self.title), dpkg.arg("-x").arg(&package).arg(&unpacked))?;
            Ok(unpacked)
        })
    }

    fn download(&self, directory: &Path) -> Result<()> {
        let apt = Distribution::require()?.for_binaries(SUITE, self.component)?;
        apt.run("reading apt's list of packages", &["update"], directory)?;
        apt.run(&format!("fetching {}", self.title), &["download", self.package], directory).map(drop)
    }
}

/// What apt has left in a directory: its name tells the distribution's version.
fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    Ok(entries.next().context("apt has fetched nothing")??.path())
}
