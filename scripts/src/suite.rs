//! MicroPython's own test suite, run by upstream's own program on a VM that it takes for a board.
//!
//! Each directory of tests has a VM to itself. What is not run stands in [`SKIPS`] with its reason, and nowhere else:
//! a test that skips itself without being listed there is a failure.

use crate::device::Device;
use crate::paths::{root, target_dir};
use crate::{progress, python, upstream};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
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

/// The list of tests that are not run, below the root.
pub const SKIPS: &str = "tests/micropython-skips.toml";
/// What the names of these tests begin with for `cargo xtask test FILTER`.
const PREFIX: &str = "micropython::";
/// The directories, those that take long first.
const DIRECTORIES: [&str; 10] =
    ["extmod", "basics", "thread", "float", "micropython", "misc", "io", "import", "stress", "unicode"];
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

/// Tests that are not run.
#[derive(Debug, Deserialize)]
struct Skips {
    skip: Vec<Skip>,
}

/// Some of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// For people.
    #[serde(rename = "reason")]
    _reason: String,
    /// Names below upstream's `tests/`; `*` stands for anything.
    tests: Vec<String>,
}

impl Skips {
    fn read() -> Result<Self> {
        let path = root().join(SKIPS);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{SKIPS} is wrong"))
    }

    fn patterns(&self) -> impl Iterator<Item = &String> {
        self.skip.iter().flat_map(|skip| &skip.tests)
    }

    fn contains(&self, test: &str) -> bool {
        self.patterns().any(|pattern| matches(pattern, test))
    }

    /// A pattern that no test matches is left from another version.
    fn check(&self, tests: &Path) -> Result<()> {
        let all: Vec<String> =
            DIRECTORIES.iter().map(|name| names(tests, name)).collect::<Result<Vec<_>>>()?.concat();
        match self.patterns().find(|pattern| !all.iter().any(|test| matches(pattern, test))) {
            Some(pattern) => bail!("{SKIPS}: {pattern}: there is no such test"),
            None => Ok(()),
        }
    }
}

/// Whether `pattern`, in which `*` stands for anything, means `name`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
        }),
    }
}

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
        let source = upstream::directory()?;
        let mut copy = Command::new("cp");
        copy.arg("-r").args([source.join("tests"), source.join("tools")]).arg(directory.path());
        progress::run("copying MicroPython's tests", &mut copy)?;
        fs::write(directory.path().join("board.toml"), MANIFEST)?;
        let suite = Self { directory, skips: Skips::read()? };
        suite.skips.check(&suite.tests())?;
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
        let mut outcome = self.run_tests(directory, wanted)?;
        let failed: BTreeSet<String> = wanted.difference(&outcome.passed).cloned().collect();
        if !failed.is_empty() {
            let second = self.run_tests(directory, &failed)?;
            outcome.passed.extend(second.passed);
            outcome.complaints = second.complaints;
        }
        Ok(outcome)
    }

    fn run_tests(&self, directory: &str, wanted: &BTreeSet<String>) -> Result<Outcome> {
        let board = self.board()?;
        if WITH_FILES.contains(&directory) {
            self.copy_files(directory, &board)?;
        }
        let results = tempfile::tempdir()?;
        let mut command = self.python("run-tests.py")?;
        command.args(["-t", board.name(), "-r"]).arg(results.path()).args(wanted);
        let output = command.output().context("cannot run upstream's tests")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut outcome = Outcome::of(&said);
        for test in &outcome.failed {
            outcome.complaints += &difference(results.path(), test);
        }
        if !said.contains(" tests performed ") {
            outcome.complaints += &format!("{said}{errors}the tests broke off\n");
        }
        Ok(outcome)
    }

    /// A program of upstream's tests, in their directory.
    fn python(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(python::program("python")?);
        command.args(["-B", program]).current_dir(self.tests()).env("PYTHONHASHSEED", "0");
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

/// What upstream's program said.
#[derive(Debug, Default)]
struct Outcome {
    passed: BTreeSet<String>,
    failed: Vec<String>,
    complaints: String,
}

impl Outcome {
    fn of(said: &str) -> Self {
        let mut outcome = Self::default();
        for line in said.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("pass"), Some(test)) => drop(outcome.passed.insert(test.to_owned())),
                (Some("FAIL"), Some(test)) => outcome.failed.push(test.to_owned()),
                (Some("skip"), Some(test)) => {
                    outcome.complaints += &format!("{test} is skipped, but not listed in {SKIPS}\n");
                }
                _ => {}
            }
        }
        outcome
    }
}

/// What the test printed and should have printed, where upstream's program has left them.
fn difference(results: &Path, test: &str) -> String {
    let file = |extension: &str| results.join(format!("{}.{extension}", test.replace('/', "_")));
    let mut diff = Command::new("diff");
    diff.args(["-u", "--label", "expected", "--label", test]).args([file("exp"), file("out")]);
    let shown = diff.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let printed = || String::from_utf8_lossy(&fs::read(file("out")).unwrap_or_default()).into_owned();
    let shown = shown.ok().filter(|text| !text.is_empty()).unwrap_or_else(printed);
    format!("FAIL {test}\n{shown}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        for (pattern, name, expected) in [
            ("a/b.py", "a/b.py", true),
            ("a/b.py", "a/bc.py", false),
            ("a/*.py", "a/b.py", true),
            ("a/ssl_*", "a/ssl_x.py", true),
            ("*", "a", true),
            ("a*", "a", true),
            ("a/*_x.py", "a/b_x.py", true),
            ("a/*_x.py", "a/b_y.py", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn upstreams_words_are_understood() {
        let said = "platform=tinyvmm\npass  a/b.py \nFAIL  a/c.py \nskip  a/d.py\n3 tests performed (9)\n1 tests passed\n";
        let outcome = Outcome::of(said);
        assert_eq!(outcome.passed, BTreeSet::from(["a/b.py".to_owned()]));
        assert_eq!(outcome.failed, ["a/c.py"]);
        assert!(outcome.complaints.starts_with("a/d.py is skipped"), "{}", outcome.complaints);
    }

    #[test]
    fn every_skip_has_a_reason() {
        let skips = Skips::read().unwrap();
        assert!(skips.skip.iter().all(|skip| skip._reason.len() > 10 && !skip.tests.is_empty()));
    }
}
