//! MicroPython's own test suite, run by upstream's own program on a VM that it takes for a board.
//!
//! Each directory of tests has a VM to itself. What is not run stands in `tests/micropython-skips.toml` with its reason, and nowhere else:
//! a test that skips itself without being listed there is a failure.

mod outcome;
mod prompt;
mod skips;

use crate::device::Device;
use crate::paths::target_dir;
use crate::source_tree::MICROPYTHON;
use crate::{progress, python};
use anyhow::{Context, Result};
use outcome::{Outcome, difference};
use skips::Skips;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

/// What the names of these tests begin with for `cargo xtask test FILTER`.
const PREFIX: &str = "micropython::";
/// The directories, those that take long first.
const DIRECTORIES: [&str; 12] = [
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
const BENCHMARKS: &str = "perf_bench";
/// How fast and how large the benchmarks take the board for: each has parameters for these, and runs for moments.
const SIZE: [&str; 2] = ["100", "100"];
/// Directories whose tests read files beside them.
const WITH_FILES: [&str; 3] = ["import", "io", "unicode"];
/// Emulators that run at a time: each wants a core.
const PARALLEL: usize = 2;
/// The board. Threads are vCPUs.
const MANIFEST: &str = "\
[[vm]]
name = \"python\"
machine = \"tiny\"
image = \"micropython.elf\"
memory = \"8MiB\"
vcpus = 8
";

/// The tests of a directory, as upstream calls them.
fn names(tests: &Path, directory: &str) -> Result<Vec<String>> {
    let path = tests.join(directory);
    let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".py") {
            names.push(format!("{directory}/{name}"));
        }
    }
    Ok(names)
}

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or were skipped without a reason.
    pub failed: u64,
    /// Tests that are listed as not to be run.
    pub skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs the directories whose names contain `filter`; says how each went.
pub fn run(filter: Option<&str>) -> Result<Counts> {
    let is_meant = |name: &&str| filter.is_none_or(|filter| format!("{PREFIX}{name}").contains(filter));
    let directories: Vec<&str> = DIRECTORIES.into_iter().filter(is_meant).collect();
    let mut total = Counts::default();
    if directories.is_empty() {
        return Ok(total);
    }
    let suite = Suite::prepare()?;
    let start = Instant::now();
    let left = Mutex::new(directories.iter());
    let (sender, reports) = channel();
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            let sender = sender.clone();
            scope.spawn(|| suite.work(|| left.lock().ok()?.next().copied(), sender));
        }
        drop(sender);
        for report in reports {
            print!("{}", report.text);
            total += report.counts;
        }
    });
    let Counts { passed, failed, skipped } = total;
    let seconds = start.elapsed().as_secs_f32();
    println!("MicroPython's tests: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.1} s)");
    Ok(total)
}

/// How the tests of a directory went.
struct Report {
    counts: Counts,
    /// What to show.
    text: String,
}

/// A copy of upstream's tests, which write beside themselves.
struct Suite {
    directory: tempfile::TempDir,
    skips: Skips,
}

impl Suite {
    fn prepare() -> Result<Self> {
        let directory = tempfile::tempdir_in(target_dir()?).context("cannot make a temporary directory")?;
        let source = MICROPYTHON.directory()?;
        let mut copy = Command::new("cp");
        copy.arg("-r").args([source.join("tests"), source.join("tools")]).arg(directory.path());
        progress::run("copying MicroPython's tests", &mut copy)?;
        fs::write(directory.path().join("board.toml"), MANIFEST)?;
        let suite = Self { directory, skips: Skips::read()? };
        let all: Vec<Vec<String>> =
            DIRECTORIES.iter().map(|name| names(&suite.tests(), name)).collect::<Result<_>>()?;
        suite.skips.check(&all.concat())?;
        Ok(suite)
    }

    fn tests(&self) -> PathBuf {
        self.directory.path().join("tests")
    }

    fn work<'a>(&self, next: impl Fn() -> Option<&'a str>, reports: Sender<Report>) {
        while let Some(directory) = next() {
            let report = self.report(directory).unwrap_or_else(|error| Report {
                counts: Counts { failed: 1, ..Counts::default() },
                text: format!("{error:#}\nFAILED {PREFIX}{directory}\n"),
            });
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    fn report(&self, directory: &str) -> Result<Report> {
        let start = Instant::now();
        let all: BTreeSet<String> = names(&self.tests(), directory)?.into_iter().collect();
        let (skipped, wanted): (BTreeSet<String>, _) =
            all.into_iter().partition(|test| self.skips.contains(test));
        let outcome = self.attempt(directory, &wanted)?;
        let count = |tests: usize| u64::try_from(tests).unwrap_or(u64::MAX);
        let failed = wanted.difference(&outcome.passed).count();
        let counts = Counts {
            passed: count(outcome.passed.len()),
            failed: count(failed),
            skipped: count(skipped.len()),
        };
        let verdict = if failed > 0 { "FAILED" } else { "ok    " };
        let seconds = start.elapsed().as_secs_f32();
        let summary = format!(
            "{verdict} {PREFIX}{directory}: {} passed, {failed} failed, {} skipped ({seconds:.1} s)\n",
            counts.passed, counts.skipped
        );
        Ok(Report { counts, text: outcome.complaints + &summary })
    }

    /// Runs the tests; those that fail, once more on another board: upstream's program gives up when a test says
    /// nothing for ten seconds, which happens where the machine has much else to do.
    fn attempt(&self, directory: &str, wanted: &BTreeSet<String>) -> Result<Outcome> {
        let mut outcome = self.run_on_board(directory, wanted)?;
        let failed: BTreeSet<String> = wanted.difference(&outcome.passed).cloned().collect();
        if !failed.is_empty() {
            let second = self.run_on_board(directory, &failed)?;
            outcome.passed.extend(second.passed);
            outcome.complaints = second.complaints;
        }
        Ok(outcome)
    }

    /// Runs tests of a directory on a fresh board.
    fn run_on_board(&self, directory: &str, wanted: &BTreeSet<String>) -> Result<Outcome> {
        if directory == prompt::DIRECTORY {
            return prompt::run(&self.tests(), wanted);
        }
        let board = self.board()?;
        if WITH_FILES.contains(&directory) {
            self.copy_files(directory, &board)?;
        }
        match directory {
            BENCHMARKS => self.run_benchmarks(&board, wanted),
            _ => self.run_tests(&board, wanted),
        }
    }

    fn run_tests(&self, board: &Device, wanted: &BTreeSet<String>) -> Result<Outcome> {
        let results = tempfile::tempdir()?;
        let mut command = self.python("run-tests.py")?;
        command.args(["-t", board.name(), "-r"]).arg(results.path()).args(wanted);
        let output = command.output().context("cannot run upstream's tests")?;
        let mut outcome = Outcome::of_tests(&String::from_utf8_lossy(&output.stdout));
        for test in &outcome.failed {
            outcome.complaints += &difference(results.path(), test);
        }
        Ok(outcome.with_errors(&output.stderr))
    }

    fn run_benchmarks(&self, board: &Device, wanted: &BTreeSet<String>) -> Result<Outcome> {
        let mut command = self.python("run-perfbench.py")?;
        command.args(["-p", "-a", "1", "-d", board.name()]).args(SIZE).args(wanted);
        let output = command.output().context("cannot run upstream's benchmarks")?;
        let outcome = Outcome::of_benchmarks(&String::from_utf8_lossy(&output.stdout));
        Ok(outcome.with_errors(&output.stderr))
    }

    /// A program of upstream's tests, in their directory.
    fn python(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(python::program("python")?);
        command.args(["-B", program]).current_dir(self.tests());
        Ok(command)
    }

    fn board(&self) -> Result<Device> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["run", "--serial", "pty"]).arg(self.directory.path().join("board.toml"));
        Device::start(command)
    }

    /// Copies what the tests read to the board, but for the results that are expected.
    fn copy_files(&self, directory: &str, board: &Device) -> Result<()> {
        let path = self.tests().join(directory);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() || (directory == "import" && name.ends_with(".py")) {
                names.push(name);
            }
        }
        let mut command = Command::new(python::program("mpremote")?);
        command.args(["connect", board.name(), "fs", "cp", "-r"]).args(names).arg(":").current_dir(path);
        progress::run("copying files to the VM", &mut command).map(drop)
    }
}
