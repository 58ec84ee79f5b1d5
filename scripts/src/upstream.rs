//! MicroPython's source: which version, and how it gets here.

use crate::failure::Failure;
use crate::paths::cache_dir;
use crate::progress;
use crate::source_archive::SourceArchive;
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pinned version.
pub const VERSION: &str = "1.25.0";
/// Names a directory with another copy of the source.
pub const DIRECTORY_VARIABLE: &str = "MICROPYTHON_DIR";

/// Upstream's release without its binary files.
const ARCHIVE: SourceArchive = SourceArchive {
    title: "MicroPython's source",
    package: "micropython=1.25.0+ds-1",
    file: "micropython_1.25.0+ds.orig.tar.xz",
    sha256: "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea",
};
const ARCHIVE_DIRECTORY: &str = "micropython-1.25.0";

/// The directory that has the source, or will have it.
pub fn directory() -> Result<PathBuf> {
    match env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => std::path::absolute(directory).context("MICROPYTHON_DIR is not a usable path"),
        None => Ok(cache_dir()?.join(ARCHIVE_DIRECTORY)),
    }
}

/// Whether the source is there.
pub fn is_there() -> bool {
    directory().is_ok_and(|directory| directory.join("py/mpconfig.h").is_file())
}

/// Fetches the source through apt, checks it, and unpacks it.
pub fn fetch() -> Result<()> {
    if env::var_os(DIRECTORY_VARIABLE).is_some() {
        return Err(
            Failure::missing_tools("MICROPYTHON_DIR names a directory without MicroPython's source").into()
        );
    }
    let destination = directory()?;
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let work = tempfile::tempdir_in(&cache).context("cannot make a temporary directory")?;
    let archive = ARCHIVE.fetch(work.path()).map_err(|error| Failure::missing_tools(without_apt(&error)))?;
    let mut tar = Command::new("tar");
    tar.arg("xJf").arg(&archive).current_dir(work.path());
    progress::run("unpacking MicroPython's source", &mut tar)?;
    install(&work.path().join(ARCHIVE_DIRECTORY), &destination)
}

/// Moves the unpacked tree to its place in one step, so that a tree that is there is whole.
fn install(unpacked: &Path, destination: &Path) -> Result<()> {
    match fs::rename(unpacked, destination) {
        // Another run was faster.
        Err(_) if is_there() => Ok(()),
        result => result.with_context(|| format!("cannot write {}", destination.display())),
    }
}

fn without_apt(error: &anyhow::Error) -> String {
    format!(
        "cannot fetch MicroPython's source with apt: {error:#}\n\
         Unpack upstream's release {VERSION} (micropython-{VERSION}.tar.xz from MicroPython's download page) and run:\n  \
         export {DIRECTORY_VARIABLE}=/path/to/{ARCHIVE_DIRECTORY}"
    )
}
