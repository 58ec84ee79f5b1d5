//! A program made of upstream's sources: the port for the guest, or `mpy-cross` for the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::upstream::Upstream;

/// The one compiler that is used, for the host's program too: it is the one that `setup` installs.
pub(crate) const COMPILER: &str = "clang";

/// What a program is made of.
pub(crate) struct Program<'a> {
    /// Where most sources, and the generators, are.
    pub(crate) upstream: &'a Upstream,
    /// Where everything that is generated goes.
    pub(crate) build: PathBuf,
    /// Flags of the compiler, which the preprocessor gets as well.
    pub(crate) flags: Vec<String>,
    /// The C sources.
    pub(crate) sources: Vec<PathBuf>,
    /// Further flags for single sources, which the end of the path names.
    pub(crate) special: Vec<SourceFlags>,
}

/// A source and its flags.
pub(crate) type SourceFlags = (&'static str, &'static [&'static str]);

/// Non-local jumps rely on functions with the smallest prologue, as upstream's makefile ensures, and on calls: inlined
/// they would not return twice.
pub(crate) const SMALL_PROLOGUES: &[SourceFlags] = &[
    ("py/nlr.c", &["-Os", "-fno-lto"]),
    ("py/nlraarch64.c", &["-Os", "-fno-lto"]),
    ("py/nlrsetjmp.c", &["-Os", "-fno-lto"]),
    ("py/nlrx64.c", &["-Os", "-fno-lto"]),
];

impl Program<'_> {
    /// A path among the generated files.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.build.join(path)
    }

    /// The preprocessor with all flags.
    pub(crate) fn preprocessor(&self) -> Command {
        let mut command = Command::new(COMPILER);
        command.arg("-E").args(&self.flags);
        command
    }
}

/// The flag that adds a directory of headers.
pub(crate) fn include(directory: &Path) -> String {
    format!("-I{}", directory.display())
}

/// A list of flags as strings.
pub(crate) fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().copied().map(String::from).collect()
}
