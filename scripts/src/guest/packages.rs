//! Debian's packages for arm64, fetched through apt and taken apart.

use super::linux::Release;
use crate::apt::{Apt, Distribution};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-arm64";

/// Where packages for arm64 come from, and go to.
pub(super) struct Packages<'a> {
    apt: Apt,
    work: &'a Path,
}

impl<'a> Packages<'a> {
    /// Reads what packages a release has.
    pub(super) fn read(release: Release, work: &'a Path) -> Result<Self> {
        let apt = Distribution::require()?.for_guest(release.suite(), work)?;
        let packages = Self { apt, work };
        packages.run("reading apt's list of packages for arm64", &["update"])?;
        Ok(packages)
    }

    fn run(&self, title: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        self.apt.run(title, arguments, self.work)
    }

    /// The newest kernel's package.
    pub(super) fn kernel(&self) -> Result<Vec<PathBuf>> {
        let simulated = self.run(
            "looking for the newest kernel",
            &["install", "--simulate", "--no-install-recommends", KERNEL],
        )?;
        let text = String::from_utf8_lossy(&simulated);
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("Inst ")?.split(' ').next().filter(|name| is_kernel(name)));
        let name = name.context("the release has no kernel for arm64")?;
        self.alone(name)
    }

    /// These packages, and those that they need.
    pub(super) fn with_needs(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let fetch = ["install", "--download-only", "--yes", "--no-install-recommends"];
        self.run(&format!("fetching {}", names.join(", ")), &[&fetch[..], names].concat())?;
        packages_in(&self.work.join("archives"))
    }

    /// One package alone.
    pub(super) fn alone(&self, name: &str) -> Result<Vec<PathBuf>> {
        self.run(&format!("fetching {name}"), &["download", name])?;
        packages_in(self.work)
    }
}

/// Whether a package is a kernel and not one that depends on the newest.
fn is_kernel(name: &str) -> bool {
    name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut packages: Vec<_> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    packages.sort();
    Ok(packages)
}

/// The directories that are one in a Debian of today, whatever the packages think.
pub(super) fn merge_directories(root: &Path) -> Result<()> {
    for name in ["bin", "lib", "sbin"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        std::os::unix::fs::symlink(Path::new("usr").join(name), root.join(name))?;
    }
    Ok(())
}

/// Takes packages apart into a directory.
pub(super) fn unpack(packages: &[PathBuf], directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for package in packages {
        let mut contents =
            Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
        let pipe = contents.stdout.take().context("no output")?;
        let mut tar = Command::new("tar");
        tar.args(["-x", "--keep-directory-symlink", "--no-same-owner", "-C"]).arg(directory);
        let unpacked = tar.stdin(pipe).status().context("cannot run tar")?;
        ensure!(contents.wait()?.success() && unpacked.success(), "{} cannot be unpacked", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_a_version() {
        assert!(is_kernel("linux-image-6.12.1-arm64"));
        assert!(!is_kernel("linux-image-arm64") && !is_kernel("linux-base"));
    }
}
