//! Upstream's source archives, as Debian keeps them for years.

use crate::apt::Distribution;
use crate::failure::Failure;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The suite that has them.
pub const SUITE: &str = "trixie";

/// An archive of a source package, always the same.
#[derive(Debug)]
pub struct SourceArchive {
    /// What is in it, for who waits.
    pub title: &'static str,
    /// The source package, with its version where a suite has several.
    pub package: &'static str,
    /// The archive's name.
    pub file: &'static str,
    /// What it must be.
    pub sha256: &'static str,
}

impl SourceArchive {
    /// Fetches it through apt into `directory`, and checks it.
    pub fn fetch(&self, directory: &Path) -> Result<PathBuf> {
        let apt = Distribution::require()?.for_sources(SUITE)?;
        apt.run("reading apt's list of source packages", &["update"], directory)?;
        let fetch = ["source", "--download-only", "--tar-only", self.package];
        apt.run(&format!("fetching {}", self.title), &fetch, directory)?;
        let archive = directory.join(self.file);
        verify(&archive, self.sha256)?;
        Ok(archive)
    }
}

/// Checks that a file is the one that is meant.
pub fn verify(file: &Path, sha256: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest == sha256 {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().display();
    Err(Failure::missing_tools(format!(
        "{name} is not the file that was expected: its SHA-256 is {digest}, not {sha256}"
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_another_archive() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = verify(file.path(), "00").unwrap_err().to_string();
        assert!(
            error.contains("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            "{error}"
        );
    }
}
