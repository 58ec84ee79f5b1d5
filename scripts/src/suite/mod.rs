//! MicroPython's own test suite, run by upstream's own program on a VM that it takes for a board.
//!
//! Each directory of tests has a VM to itself, another one that compiles everything to native code, and one on a Raspberry
//! Pi 4. What is not run stands in `tests/micropython-skips.toml` with its reason, and nowhere else: a test that skips
//! itself without being listed there is a failure.

mod group;
mod outcome;
mod prompt;
mod skips;

use crate::device::Device;
use crate::paths::target_dir;
use crate::source_tree::MICROPYTHON;
use crate::{progress, python};
use anyhow::{Context, Result};
use group::{BENCHMARKS, DIRECTORIES, Group, RUNS, Run};
use outcome::{Outcome, difference};
use skips::Skips;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

/// How fast and how large the benchmarks take the board for: each has parameters for these, and runs for moments.
const SIZE: [&str; 2] = ["100", "100"];
/// Directories whose tests read files beside them.
const WITH_FILES: [&str; 3] = ["import", "io", "unicode"];
/// Emulators that run at a time: each wants a core.
const PARALLEL: usize = 2;

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

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs the groups whose names contain `filter`, those that take `long` or not; says how each went.
pub fn run(filter: Option<&str>, long: bool) -> Result<Counts> {
    let groups = Group::meant(filter, long);
    if groups.is_empty() {
        return Ok(Counts::default());
    }
    let start = Instant::now();
    let mut sums: BTreeMap<&str, Counts> = BTreeMap::new();
    Suite::prepare()?.run(&groups, |report| {
        print!("{}", report.text);
        *sums.entry(report.group.run.name).or_default() += report.counts;
    });
    let seconds = start.elapsed().as_secs_f32();
    let all: Vec<String> = sums.iter().map(|(suite, counts)| format!("{suite}: {counts}")).collect();
    println!("MicroPython's tests: {} ({seconds:.1} s)", all.join("; "));
    let mut total = Counts::default();
    sums.into_values().for_each(|counts| total += counts);
    Ok(total)
}

/// How the tests of a group went.
struct Report {
    group: Group,
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
        for run in &RUNS {
            fs::write(directory.path().join(run.file()), run.emit.manifest())?;
        }
        let suite = Self { directory, skips: Skips::read()? };
        let all: Vec<Vec<String>> =
            DIRECTORIES.iter().map(|name| names(&suite.tests(), name)).collect::<Result<_>>()?;
        suite.skips.check(&all.concat())?;
        Ok(suite)
    }

    fn tests(&self) -> PathBuf {
        self.directory.path().join("tests")
    }

    /// Runs these groups, several at a time, and hands over the reports as they come.
    fn run(&self, groups: &[Group], each: impl FnMut(Report)) {
        let left = Mutex::new(groups.iter());
        let (sender, reports) = channel();
        thread::scope(|scope| {
            for _ in 0..PARALLEL {
                let sender = sender.clone();
                scope.spawn(|| self.work(|| left.lock().ok()?.next().copied(), sender));
            }
            drop(sender);
            reports.into_iter().for_each(each);
        });
    }

    fn work(&self, next: impl Fn() -> Option<Group>, reports: Sender<Report>) {
        while let Some(group) = next() {
            let report = self.report(group).unwrap_or_else(|error| Report {
                group,
                counts: Counts { failed: 1, ..Counts::default() },
                text: format!("{error:#}\nFAILED {group}\n"),
            });
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    fn report(&self, group: Group) -> Result<Report> {
        let start = Instant::now();
        let all: BTreeSet<String> = names(&self.tests(), group.directory)?.into_iter().collect();
        let (skipped, wanted): (BTreeSet<String>, _) =
            all.into_iter().partition(|test| self.skips.contain(test, group.run.emit));
        let outcome = self.attempt(group, &wanted)?;
        let count = |tests: usize| u64::try_from(tests).unwrap_or(u64::MAX);
        let counts = Counts {
            passed: count(outcome.passed.len()),
            failed: count(wanted.difference(&outcome.passed).count()),
            skipped: count(skipped.len()),
        };
        let verdict = if counts.failed > 0 { "FAILED" } else { "ok    " };
        let seconds = start.elapsed().as_secs_f32();
        let summary = format!("{verdict} {group}: {counts} ({seconds:.1} s)\n");
        Ok(Report { group, counts, text: outcome.complaints + &summary })
    }

    /// Runs the tests; those that fail, once more on another board: upstream's program gives up when a test says
    /// nothing for ten seconds, which happens where the machine has much else to do.
    fn attempt(&self, group: Group, wanted: &BTreeSet<String>) -> Result<Outcome> {
        let mut outcome = self.run_on_board(group, wanted)?;
        let failed: BTreeSet<String> = wanted.difference(&outcome.passed).cloned().collect();
        if !failed.is_empty() {
            let second = self.run_on_board(group, &failed)?;
            outcome.passed.extend(second.passed);
            outcome.complaints = second.complaints;
        }
        Ok(outcome)
    }

    /// Runs tests of a group on a fresh board.
    fn run_on_board(&self, group: Group, wanted: &BTreeSet<String>) -> Result<Outcome> {
        if group.directory == prompt::DIRECTORY {
            return prompt::run(&self.tests(), group.run, wanted);
        }
        let board = self.board(group.run)?;
        if WITH_FILES.contains(&group.directory) {
            self.copy_files(group.directory, &board)?;
        }
        match group.directory {
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

    fn board(&self, run: &Run) -> Result<Device> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["run", "--serial", "pty", "--machine", run.machine.name()]);
        command.arg(self.directory.path().join(run.file()));
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
