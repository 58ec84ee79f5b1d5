//! `cargo xtask guest`: guests that are assembled from a distribution's packages.

pub mod extras;
pub mod linux;
mod modules;
mod packages;
pub mod ram_disk;

use anyhow::Result;
use clap::{Args, Subcommand};
use linux::Release;

/// Options of `guest`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Guest {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A stock kernel of Debian's, with BusyBox and CPython
    Linux {
        /// The release of Debian that it comes from
        #[arg(long, value_enum, default_value = "debian-13")]
        release: Release,
    },
}

const AFTER_HELP: &str = "\
It is made once and kept in ~/.cache/tinyvmm; this command makes it anew, from the packages that the release has now.
Manifests name its files as debian-13/Image and debian-13/initrd.gz.

Examples:
  cargo xtask guest linux                          the present Debian
  cargo xtask run images/linux.toml                its shell
  cargo xtask run --guest linux images/primes.py   a script in CPython";

impl Guest {
    /// Makes it.
    pub fn execute(&self) -> Result<u8> {
        let Kind::Linux { release } = self.kind;
        let directory = release.make()?;
        println!("{}", directory.display());
        Ok(0)
    }
}
