//! Source trees that MicroPython is built from: which versions, and how they get here.

use crate::cache;
use crate::failure::Failure;
use crate::paths::cache_dir;
use crate::progress;
use crate::source_archive::SourceArchive;
use anyhow::{Context, Result, ensure};
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A source tree in one version.
#[derive(Debug)]
pub struct SourceTree {
    /// The project.
    pub name: &'static str,
    /// The pinned version.
    pub version: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Names a directory with another copy of the source.
    pub variable: &'static str,
    archive: SourceArchive,
    /// What the archive unpacks to, and what it is called in the cache.
    directory: &'static str,
    /// What of it is needed, where that is not all.
    parts: &'static [&'static str],
    /// A file that is in every such tree.
    marker: &'static str,
}

/// MicroPython: upstream's release without its binary files.
pub const MICROPYTHON: SourceTree = SourceTree {
    name: "MicroPython",
    version: "1.25.0",
    purpose: "is the Python that runs in VMs",
    variable: "MICROPYTHON_DIR",
    archive: SourceArchive {
        title: "MicroPython's source",
        package: "micropython=1.25.0+ds-1",
        file: "micropython_1.25.0+ds.orig.tar.xz",
        sha256: "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea",
    },
    directory: "micropython-1.25.0",
    parts: &[],
    marker: "py/mpconfig.h",
};

/// Mbed TLS, which MicroPython's source comes without.
pub const MBEDTLS: SourceTree = SourceTree {
    name: "Mbed TLS",
    version: "3.6.6",
    purpose: "is what Python's ssl stands on",
    variable: "MBEDTLS_DIR",
    archive: SourceArchive {
        title: "Mbed TLS' source",
        package: "mbedtls",
        file: "mbedtls_3.6.6.orig.tar.bz2",
        sha256: "8fb65fae8dcae5840f793c0a334860a411f884cc537ea290ce1c52bb64ca007a",
    },
    directory: "mbedtls-3.6.6",
    parts: &["include", "library"],
    marker: "include/mbedtls/ssl.h",
};

/// All that a build reads.
pub const TREES: [&SourceTree; 2] = [&MICROPYTHON, &MBEDTLS];

impl SourceTree {
    /// The directory that has the source, or will have it.
    pub fn directory(&self) -> Result<PathBuf> {
        match env::var_os(self.variable) {
            Some(directory) => std::path::absolute(directory)
                .with_context(|| format!("{} is not a usable path", self.variable)),
            None => Ok(cache_dir()?.join(self.directory)),
        }
    }

    /// Whether the source is there.
    pub fn is_there(&self) -> bool {
        self.directory().is_ok_and(|directory| directory.join(self.marker).is_file())
    }

    /// Fetches the source through apt, checks it, and unpacks it.
    pub fn fetch(&self) -> Result<()> {
        if env::var_os(self.variable).is_some() {
            let message = format!("{} names a directory without {}'s source", self.variable, self.name);
            return Err(Failure::missing_tools(message).into());
        }
        cache::keep(&self.directory()?, |work| {
            let archive = self.archive.fetch(work);
            let archive = archive.map_err(|error| Failure::missing_tools(self.without_apt(&error)))?;
            let mut tar = Command::new("tar");
            tar.arg("xf").arg(&archive).args(self.members()).current_dir(work);
            progress::run(&format!("unpacking {}", self.archive.title), &mut tar)?;
            Ok(work.join(self.directory))
        })?;
        ensure!(self.is_there(), "{} has no {}", self.directory()?.display(), self.marker);
        Ok(())
    }

    /// What is unpacked of the archive; all of it if that is nothing.
    fn members(&self) -> impl Iterator<Item = String> {
        self.parts.iter().map(|part| format!("{}/{part}", self.directory))
    }

    fn without_apt(&self, error: &anyhow::Error) -> String {
        let Self { name, version, variable, directory, .. } = self;
        format!(
            "cannot fetch {name}'s source with apt: {error:#}\n\
             Unpack the project's release {version} ({directory}, from its download page) and run:\n  \
             export {variable}=/path/to/{directory}"
        )
    }
}
