//! What is made once and kept: fetched, unpacked or compiled.

use crate::paths::cache_dir;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Puts what `make` makes to `place` in the cache. It works in a directory that is removed afterwards, and returns what of it
/// is to be kept; that is moved in one step, so that what is there is whole.
pub fn keep(place: &Path, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<()> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let work = tempfile::tempdir_in(&cache).context("cannot make a temporary directory")?;
    let made = make(work.path())?;
    match fs::rename(&made, place) {
        // Another run was faster.
        Err(_) if place.is_dir() => Ok(()),
        result => result.with_context(|| format!("cannot write {}", place.display())),
    }
}

/// Makes a directory of the cache anew: `make` has a directory to work in, and one for what is to stay.
pub fn renew(place: &Path, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
    keep(place, |work| {
        let done = work.join("done");
        fs::create_dir(&done)?;
        make(work, &done)?;
        if place.is_dir() {
            fs::remove_dir_all(place).with_context(|| format!("cannot replace {}", place.display()))?;
        }
        Ok(done)
    })
}
