//! Linux as a guest: a stock kernel of Debian's, and an initial RAM disk with BusyBox and CPython.

use super::ram_disk;
use crate::apt::{Apt, Distribution};
use crate::cache;
use crate::failure::Failure;
use crate::paths::cache_dir;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-arm64";
/// What the initial RAM disk is made of, besides what these need.
const PROGRAMS: [&str; 2] = ["busybox-static", "python3"];
/// The files of a guest.
const IMAGE: &str = "Image";
const INITRD: &str = "initrd.gz";

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

    fn suite(self) -> &'static str {
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

    /// Its directory; another one as soon as it would have another first program.
    fn directory(self) -> Result<PathBuf> {
        let digest = Sha256::digest(ram_disk::INIT);
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
        cache::keep(&directory, |work| {
            let done = self.make_in(work)?;
            if directory.is_dir() {
                fs::remove_dir_all(&directory)
                    .with_context(|| format!("cannot replace {}", directory.display()))?;
            }
            Ok(done)
        })?;
        Ok(directory)
    }

    fn make_in(self, work: &Path) -> Result<PathBuf> {
        let packages = Packages::read(self, work)?;
        let (kernel, root) = (work.join("kernel"), work.join("root"));
        unpack(&packages.kernel()?, &kernel)?;
        merge_directories(&root)?;
        unpack(&packages.programs()?, &root)?;
        let done = work.join("done");
        fs::create_dir(&done)?;
        fs::rename(vmlinuz(&kernel)?, done.join(IMAGE)).context("cannot move the kernel")?;
        ram_disk::make(&root, &done.join(INITRD))?;
        Ok(done)
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

/// Where packages for arm64 come from, and go to.
struct Packages<'a> {
    apt: Apt,
    work: &'a Path,
}

impl<'a> Packages<'a> {
    /// Reads what packages a release has.
    fn read(release: Release, work: &'a Path) -> Result<Self> {
        let apt = Distribution::require()?.for_guest(release.suite(), work)?;
        let packages = Self { apt, work };
        packages.run("reading apt's list of packages for arm64", &["update"])?;
        Ok(packages)
    }

    fn run(&self, title: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        self.apt.run(title, arguments, self.work)
    }

    /// The newest kernel's package.
    fn kernel(&self) -> Result<Vec<PathBuf>> {
        let simulated = self.run(
            "looking for the newest kernel",
            &["install", "--simulate", "--no-install-recommends", KERNEL],
        )?;
        let text = String::from_utf8_lossy(&simulated);
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("Inst ")?.split(' ').next().filter(|name| is_kernel(name)));
        let name = name.context("the release has no kernel for arm64")?;
        self.run("fetching the kernel", &["download", name])?;
        packages_in(self.work)
    }

    /// The programs' packages, and those that they need.
    fn programs(&self) -> Result<Vec<PathBuf>> {
        let fetch = ["install", "--download-only", "--yes", "--no-install-recommends"];
        self.run("fetching BusyBox and CPython", &[&fetch[..], &PROGRAMS].concat())?;
        packages_in(&self.work.join("archives"))
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
fn merge_directories(root: &Path) -> Result<()> {
    for name in ["bin", "lib", "sbin"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        std::os::unix::fs::symlink(Path::new("usr").join(name), root.join(name))?;
    }
    Ok(())
}

/// Takes packages apart into a directory.
fn unpack(packages: &[PathBuf], directory: &Path) -> Result<()> {
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

    #[test]
    fn kernels_have_a_version() {
        assert!(is_kernel("linux-image-6.12.1-arm64"));
        assert!(!is_kernel("linux-image-arm64") && !is_kernel("linux-base"));
    }
}
