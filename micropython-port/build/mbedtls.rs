//! Mbed TLS, the library that upstream's `tls`, `hashlib` and `cryptolib` stand on: MicroPython's packaged source comes
//! without it.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};

use crate::program::{Program, include};
use crate::upstream::c_files;

/// The variable that names the source tree.
const TREE: &str = "MBEDTLS_DIR";
/// Names the configuration, which is one of the port's headers, to all that includes the library's.
const CONFIGURATION: &str = "-DMBEDTLS_CONFIG_FILE=\"tlsconfig.h\"";
/// The texts of errors, for which upstream has shorter ones.
const ERRORS: &str = "error.c";
const SHORT_ERRORS: &str = "lib/mbedtls_errors/mp_mbedtls_errors.c";
/// The library is large, and little of it is often run.
const SMALL: &str = "-Os";

/// The library's source tree.
pub(crate) struct Mbedtls(PathBuf);

impl Mbedtls {
    /// Finds the tree through the environment.
    pub(crate) fn find() -> Result<Self> {
        println!("cargo:rerun-if-env-changed={TREE}");
        let tree = env::var_os(TREE).with_context(|| {
            format!("{TREE} is not set: build with `cargo xtask build`, which fetches Mbed TLS and sets it")
        })?;
        println!("cargo:rerun-if-changed={}", Path::new(&tree).display());
        Ok(Self(PathBuf::from(tree)))
    }

    /// The flags of what uses the library.
    pub(crate) fn flags(&self) -> [String; 2] {
        [include(&self.0.join("include")), CONFIGURATION.to_owned()]
    }

    /// The sources. The configuration says which of them have any code.
    fn sources(&self) -> Result<Vec<PathBuf>> {
        let mut sources = c_files(&self.0.join("library"))?;
        sources.retain(|source| !source.ends_with(ERRORS));
        Ok(sources)
    }
}

/// The library for a port.
pub(crate) fn program<'a>(port: &Program<'a>, build: &Path) -> Result<Program<'a>> {
    let upstream = port.upstream;
    let mut sources = upstream.mbedtls.sources()?;
    sources.push(upstream.path(SHORT_ERRORS));
    let flags = port.flags.iter().cloned().chain([SMALL.to_owned()]).collect();
    Ok(Program { upstream, build: build.into(), flags, sources, special: Vec::new() })
}
