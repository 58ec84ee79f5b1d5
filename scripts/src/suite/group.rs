//! The tests that have a board to themselves: those of a directory, compiled to one kind of code.

use super::prompt;
use crate::qemu::Machine;
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
    /// What it is called in a manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytecode => "bytecode",
            Self::Native => "native",
        }
    }

    /// The VM's manifest.
    pub(super) fn manifest(self) -> String {
        format!("{BOARD}emit = \"{}\"\n", self.name())
    }
}

/// All tests in one way.
#[derive(Debug)]
pub(super) struct Run {
    /// What they are called for `cargo xtask test FILTER`.
    pub(super) name: &'static str,
    pub(super) machine: Machine,
    pub(super) emit: Emit,
    /// Only if it is asked for.
    is_long: bool,
}

/// All of these.
pub(super) const RUNS: [Run; 3] = [
    Run { name: "micropython", machine: Machine::Virt, emit: Emit::Bytecode, is_long: false },
    Run { name: "micropython-native", machine: Machine::Virt, emit: Emit::Native, is_long: false },
    Run { name: "micropython-raspi4b", machine: Machine::Raspi4b, emit: Emit::Bytecode, is_long: true },
];

impl Run {
    /// The name of the VM's manifest.
    pub(super) fn file(&self) -> String {
        format!("{}.toml", self.name)
    }
}

/// The tests of a directory, in one way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) run: &'static Run,
    pub(super) directory: &'static str,
}

impl Group {
    /// All of them whose names contain `filter`, with the `long` runs or without.
    pub(super) fn meant(filter: Option<&str>, long: bool) -> Vec<Self> {
        let runs = RUNS.iter().filter(|run| long || !run.is_long);
        let all = runs.flat_map(|run| DIRECTORIES.map(|directory| Self { run, directory }));
        all.filter(|group| filter.is_none_or(|filter| group.to_string().contains(filter))).collect()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.run.name, self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_one_kind_of_code_or_both() {
        let meant =
            |filter| Group::meant(Some(filter), false).iter().map(Group::to_string).collect::<Vec<_>>();
        assert_eq!(meant("micropython::io"), ["micropython::io"]);
        assert_eq!(meant("::io"), ["micropython::io", "micropython-native::io"]);
        assert_eq!(meant("micropython-native::").len(), DIRECTORIES.len());
        assert!(meant("isolation").is_empty());
        assert_eq!(Group::meant(None, false).len(), 2 * DIRECTORIES.len());
        assert_eq!(Group::meant(Some("raspi4b"), true).len(), DIRECTORIES.len());
    }
}
