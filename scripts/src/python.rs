//! Programs in Python that tests run on this machine, in an environment of their own: nothing of the system changes.

use crate::failure::Failure;
use crate::paths::cache_dir;
use crate::progress;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What is installed, each in one version, so that every machine runs the same.
const PACKAGES: [&str; 2] = ["mpremote==1.29.0", "pyserial==3.5"];
/// Written when everything is there.
const COMPLETE: &str = "complete";

/// The directory that has the environment, or will have it. Another version has another.
pub fn directory() -> Result<PathBuf> {
    Ok(cache_dir()?.join(format!("python-{}", PACKAGES.join("-").replace("==", "-"))))
}

/// A program of the environment, such as `python` or `mpremote`.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(directory()?.join("bin").join(name))
}

/// Makes the environment, unless it is there.
pub fn ensure() -> Result<()> {
    let directory = directory()?;
    if directory.join(COMPLETE).is_file() {
        return Ok(());
    }
    // One that is only begun is made anew: its programs hold its path, so it cannot be made elsewhere and moved.
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&directory);
    progress::run("making a Python environment", &mut venv)?;
    let mut pip = Command::new(program("python")?);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    progress::run("fetching Python packages", &mut pip).map_err(|error| {
        Failure::missing_tools(format!("{error:#}\n{}", by_hand(&directory.display().to_string())))
    })?;
    fs::write(directory.join(COMPLETE), "").context("cannot write to the cache")
}

fn by_hand(directory: &str) -> String {
    format!(
        "Tests need {}. Where pip reaches no package index, install them from elsewhere:\n  \
         {directory}/bin/pip install --no-index --find-links DIRECTORY {}\n  touch {directory}/{COMPLETE}",
        PACKAGES.join(" and "),
        PACKAGES.join(" ")
    )
}
