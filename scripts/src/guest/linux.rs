//! Linux as a guest: a stock kernel of Debian's, and an initial RAM disk with BusyBox and CPython.

use super::packages::{Packages, merge_directories, unpack};
use super::{modules, ram_disk};
use crate::cache;
use crate::failure::Failure;
use crate::paths::cache_dir;
use anyhow::{Context, Result};
use clap::ValueEnum;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// What the initial RAM disk is made of, besides what these need.
const PROGRAMS: [&str; 2] = ["busybox-static", "python3"];
/// The files of a guest.
pub(super) const IMAGE: &str = "Image";
pub(super) const INITRD: &str = "initrd.gz";

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Release {
    /// Bookworm: Linux 6.1
    #[value(name = "debian-12")]
    Debian12,
    /// Trixie: Linux 6.12
    #[value(name = "debian-13")]
    Debian13,
}

impl Release {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Debian12, Self::Debian13];

    /// What manifests call it: the first part of its files' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian12 => "debian-12",
            Self::Debian13 => "debian-13",
        }
    }

    pub(super) fn suite(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
        }
    }

    /// Makes it if it is not there.
    pub fn ensure(self) -> Result<()> {
        match self.directory()?.is_dir() {
            true => Ok(()),
            false => self.make().map(drop),
        }
    }

    /// The kernel's name in a manifest.
    pub fn image(self) -> String {
        format!("{}/{IMAGE}", self.name())
    }

    /// The initial RAM disk's name in a manifest.
    pub fn initrd(self) -> String {
        format!("{}/{INITRD}", self.name())
    }

    /// Its directory; another one as soon as something else would be in it.
    pub(super) fn directory(self) -> Result<PathBuf> {
        let recipe =
            [&[ram_disk::INIT], &PROGRAMS[..], &ram_disk::NEEDED, &modules::DRIVERS].concat().join("\n");
        let digest = Sha256::digest(recipe);
        let version: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(cache_dir()?.join(format!("{}-{version}", self.name())))
    }

    /// Makes it from the packages that the release has now. Returns its directory.
    pub fn make(self) -> Result<PathBuf> {
        let made = self.try_make().map_err(|error| {
            Failure::missing_tools(format!(
                "cannot make {} of Debian's packages: {error:#}\n\
                 Put a kernel for arm64 and an initial RAM disk beside the manifest, and name them there.",
                self.name()
            ))
        });
        Ok(made?)
    }

    fn try_make(self) -> Result<PathBuf> {
        let directory = self.directory()?;
        cache::renew(&directory, |work, done| {
            let packages = Packages::read(self, work)?;
            let (kernel, root) = (work.join("kernel"), work.join("root"));
            merge_directories(&kernel)?;
            unpack(&packages.kernel()?, &kernel)?;
            merge_directories(&root)?;
            unpack(&packages.with_needs(&PROGRAMS)?, &root)?;
            modules::install(&kernel, &root)?;
            fs::rename(vmlinuz(&kernel)?, done.join(IMAGE)).context("cannot move the kernel")?;
            ram_disk::make(&root, &done.join(INITRD))
        })?;
        Ok(directory)
    }
}

/// Where a file is that a manifest calls like one of a guest, whether or not it is there.
pub fn file(name: &str) -> Option<PathBuf> {
    let release = Release::ALL
        .into_iter()
        .find(|release| [release.image(), release.initrd()].contains(&name.to_owned()))?;
    Some(release.directory().ok()?.join(name.rsplit('/').next()?))
}

/// Makes those releases that are missing to which these files belong.
pub fn ensure_files<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<()> {
    let is_missing = |name: &str| file(name).is_some_and(|path| !path.is_file());
    let Some(missing) = names.find(|name| is_missing(name)) else { return Ok(()) };
    Release::ALL
        .into_iter()
        .filter(|release| missing.starts_with(release.name()))
        .try_for_each(Release::ensure)
}

/// The kernel in an unpacked package.
fn vmlinuz(root: &Path) -> Result<PathBuf> {
    let boot = root.join("boot");
    let mut entries = fs::read_dir(&boot).with_context(|| format!("no {}", boot.display()))?.flatten();
    let found = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
    Ok(found.context("the kernel's package has no kernel")?.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_belong_to_a_release() {
        let directory = |release: Release| release.directory().unwrap();
        assert_eq!(file("debian-12/Image"), Some(directory(Release::Debian12).join("Image")));
        assert_eq!(file("debian-13/initrd.gz"), Some(directory(Release::Debian13).join("initrd.gz")));
        for name in ["Image", "debian-13/", "debian-13/other", "debian-11/Image", "debian-13/../Image"] {
            assert_eq!(file(name), None, "{name}");
        }
    }
}
