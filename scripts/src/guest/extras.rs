//! What only tests boot: Debian's installer, and a guest with CPython's own tests.

use super::linux::{IMAGE, INITRD, Release};
use super::packages::{Packages, unpack};
use super::ram_disk;
use crate::cache;
use crate::paths::cache_dir;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// An image and an initial RAM disk.
#[derive(Debug)]
pub struct Bootable {
    /// The kernel.
    pub image: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
}

impl Bootable {
    fn in_directory(directory: &Path) -> Self {
        Self { image: directory.join(IMAGE), initrd: directory.join(INITRD) }
    }
}

impl Release {
    /// The guest itself.
    pub fn bootable(self) -> Result<Bootable> {
        self.ensure()?;
        Ok(Bootable::in_directory(&self.directory()?))
    }

    /// The release's installer, as it boots from a network, for a terminal.
    pub fn installer(self) -> Result<Bootable> {
        self.extra("installer", |work, done| {
            let package = format!("debian-installer-{}-netboot-arm64:all", self.number());
            let root = work.join("root");
            unpack(&Packages::read(self, work)?.alone(&package)?, &root)?;
            let images = root.join("usr/lib/debian-installer/images").join(self.number());
            let directory = images.join("arm64/text/debian-installer/arm64");
            fs::rename(directory.join("linux"), done.join(IMAGE)).context("the installer has no kernel")?;
            fs::rename(directory.join(INITRD), done.join(INITRD)).context("the installer has no RAM disk")
        })
    }

    /// The guest with CPython's own tests.
    pub fn with_python_tests(self) -> Result<Bootable> {
        let guest = self.bootable()?;
        self.extra("python-tests", |work, done| {
            let package = format!("libpython{}-testsuite:all", self.python());
            let root = work.join("root");
            unpack(&Packages::read(self, work)?.alone(&package)?, &root)?;
            ram_disk::extend(&guest.initrd, &root, &done.join(INITRD))?;
            fs::copy(&guest.image, done.join(IMAGE)).context("cannot copy the kernel").map(drop)
        })
    }

    /// A directory of the cache beside the guest's own, made once for it.
    fn extra(self, name: &str, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<Bootable> {
        let guest = self.directory()?;
        let guest = guest.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = cache_dir()?.join(format!("{guest}-{name}"));
        if !directory.is_dir() {
            cache::renew(&directory, make)?;
        }
        Ok(Bootable::in_directory(&directory))
    }

    fn number(self) -> &'static str {
        match self {
            Self::Debian12 => "12",
            Self::Debian13 => "13",
        }
    }

    /// The version of its CPython.
    fn python(self) -> &'static str {
        match self {
            Self::Debian12 => "3.11",
            Self::Debian13 => "3.13",
        }
    }
}
