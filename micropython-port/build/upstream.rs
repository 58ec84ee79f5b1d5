//! Upstream's source tree.

use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mbedtls::Mbedtls;

/// The variable that names the tree.
const TREE: &str = "MICROPYTHON_DIR";
/// What is used of the tree: somebody may work on it.
const WATCHED: &[&str] =
    &["extmod", "lib/libm_dbl", "lib/littlefs", "lib/mbedtls_errors", "lib/oofatfs", "py", "shared", "tools"];

/// An unpacked release of MicroPython.
pub(crate) struct Upstream {
    /// The library that it comes without.
    pub(crate) mbedtls: Mbedtls,
    tree: PathBuf,
    version: String,
}

impl Upstream {
    /// Finds the tree through the environment.
    pub(crate) fn find() -> Result<Self> {
        println!("cargo:rerun-if-env-changed={TREE}");
        let Some(tree) = env::var_os(TREE) else {
            bail!("{TREE} is not set: build with `cargo xtask build`, which fetches MicroPython and sets it");
        };
        let tree = PathBuf::from(tree);
        let tree = tree.canonicalize().with_context(|| format!("{TREE}={}", tree.display()))?;
        let version = version(&tree)?;
        for directory in WATCHED {
            println!("cargo:rerun-if-changed={}", tree.join(directory).display());
        }
        Ok(Self { mbedtls: Mbedtls::find()?, tree, version })
    }

    /// The version, in the form of upstream's release tags.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// A path in the tree.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.tree.join(path)
    }

    /// Paths of the C files in a directory of the tree, in a fixed order.
    pub(crate) fn c_files(&self, directory: &str) -> Result<Vec<PathBuf>> {
        c_files(&self.path(directory))
    }

    /// One of upstream's scripts, ready to run.
    pub(crate) fn script(&self, path: &str) -> Command {
        let mut command = Command::new("python3");
        // Upstream would ask git, which knows only the repository around the tree.
        command.env("MICROPY_GIT_TAG", &self.version).env("MICROPY_GIT_HASH", "release");
        // Nothing is written to the tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg(self.path(path));
        command
    }
}

/// Paths of the C files in a directory, in a fixed order.
pub(crate) fn c_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension() == Some(OsStr::new("c")));
    files.sort();
    Ok(files)
}

/// Runs a command and returns what it printed.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run `{program}`: install it with `cargo xtask setup`"))?;
    let text = String::from_utf8(output.stdout).with_context(|| format!("output of `{program}`"))?;
    ensure!(
        output.status.success(),
        "`{program}` failed ({}):\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// Reads the version from `py/mpconfig.h`, in the form of upstream's release tags.
fn version(tree: &Path) -> Result<String> {
    let path = tree.join("py/mpconfig.h");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{TREE} names no MicroPython tree: cannot read {}", path.display()))?;
    let number = |name: &str| {
        let prefix = format!("#define MICROPY_VERSION_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .with_context(|| format!("{}: no MICROPY_VERSION_{name}", path.display()))
    };
    Ok(format!("v{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("MICRO")?))
}
