//! The tests that have a board to themselves: those of a directory, compiled to one kind of code.

use super::prompt;
use serde::Deserialize;
use std::fmt;

/// The directories, those that take long first.
pub(super) const DIRECTORIES: [&str; 12] = [
    "extmod",
    "basics",
    BENCHMARKS,
    "thread",
    "float",
    "micropython",
    "misc",
    prompt::DIRECTORY,
    "io",
    "import",
    "stress",
    "unicode",
];
/// The directory of benchmarks, which have a program of their own: here they only have to give the right results.
pub(super) const BENCHMARKS: &str = "perf_bench";

/// The board, but for what it compiles Python to. Threads are vCPUs.
const BOARD: &str = "\
[[vm]]
name = \"python\"
machine = \"tiny\"
image = \"micropython.elf\"
memory = \"8MiB\"
vcpus = 8
";

/// What Python is compiled to, as a manifest calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Emit {
    Bytecode,
    Native,
}

impl Emit {
    pub(super) const ALL: [Self; 2] = [Self::Bytecode, Self::Native];

    /// What all tests are called for `cargo xtask test FILTER`.
    pub(super) fn suite(self) -> &'static str {
        match self {
            Self::Bytecode => "micropython",
            Self::Native => "micropython-native",
        }
    }

    /// What it is called in a manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytecode => "bytecode",
            Self::Native => "native",
        }
    }

    /// The board's manifest.
    pub(super) fn manifest(self) -> String {
        format!("{BOARD}emit = \"{}\"\n", self.name())
    }

    /// The name of the board's manifest.
    pub(super) fn file(self) -> String {
        format!("{}.toml", self.suite())
    }
}

/// The tests of a directory, compiled to this.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) emit: Emit,
    pub(super) directory: &'static str,
}

impl Group {
    /// All of them whose names contain `filter`.
    pub(super) fn meant(filter: Option<&str>) -> Vec<Self> {
        let all =
            Emit::ALL.into_iter().flat_map(|emit| DIRECTORIES.map(|directory| Self { emit, directory }));
        all.filter(|group| filter.is_none_or(|filter| group.to_string().contains(filter))).collect()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.emit.suite(), self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_one_kind_of_code_or_both() {
        let meant = |filter| Group::meant(Some(filter)).iter().map(Group::to_string).collect::<Vec<_>>();
        assert_eq!(meant("micropython::io"), ["micropython::io"]);
        assert_eq!(meant("::io"), ["micropython::io", "micropython-native::io"]);
        assert_eq!(meant("micropython-native::").len(), DIRECTORIES.len());
        assert!(meant("isolation").is_empty());
        assert_eq!(Group::meant(None).len(), 2 * DIRECTORIES.len());
    }
}
