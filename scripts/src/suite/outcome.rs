//! What upstream's programs say of the tests they run.

use super::skips::SKIPS;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What upstream's program said of the tests.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Those that passed.
    pub(super) passed: BTreeSet<String>,
    /// Those that failed.
    pub(super) failed: Vec<String>,
    /// What there is to say about those that did not pass.
    pub(super) complaints: String,
}

impl Outcome {
    /// Takes what `run-tests.py` said.
    pub(super) fn of_tests(said: &str) -> Self {
        let mut outcome = Self::default();
        for line in said.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("pass"), Some(test)) => drop(outcome.passed.insert(test.to_owned())),
                (Some("FAIL"), Some(test)) => outcome.failed.push(test.to_owned()),
                (Some("skip"), Some(test)) => outcome.skipped(test),
                _ => {}
            }
        }
        outcome
    }

    /// Takes what `run-perfbench.py` said. A benchmark that ran has its time in a line.
    pub(super) fn of_benchmarks(said: &str) -> Self {
        let mut outcome = Self::default();
        for (test, result) in said.lines().filter_map(|line| line.split_once(": ")) {
            match result.split_whitespace().next() {
                Some(time) if time.parse::<f64>().is_ok() => drop(outcome.passed.insert(test.to_owned())),
                Some("SKIP" | "SKIP:") => outcome.skipped(test),
                _ => outcome.complaints += &format!("FAIL {test}: {result}\n"),
            }
        }
        outcome
    }

    /// Adds what upstream's program said when it gave up.
    pub(super) fn with_errors(mut self, errors: &[u8]) -> Self {
        self.complaints += &String::from_utf8_lossy(errors);
        self
    }

    fn skipped(&mut self, test: &str) {
        self.complaints += &format!("{test} is skipped, but not listed in {SKIPS}\n");
    }
}

/// What the test printed and should have printed, where upstream's program has left them.
pub(super) fn difference(results: &Path, test: &str) -> String {
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
    fn upstreams_words_are_understood() {
        let said = "platform=tinyvmm\npass  a/b.py \nFAIL  a/c.py \nskip  a/d.py\n3 tests performed (9)\n1 tests passed\n";
        let outcome = Outcome::of_tests(said);
        assert_eq!(outcome.passed, BTreeSet::from(["a/b.py".to_owned()]));
        assert_eq!(outcome.failed, ["a/c.py"]);
        assert!(outcome.complaints.starts_with("a/d.py is skipped"), "{}", outcome.complaints);
    }

    #[test]
    fn benchmarks_have_a_time_or_did_not_run() {
        let said =
            "N=100 M=100 n_average=1\na/b.py: 4304.00 0.0 232.34 0.0\na/c.py: SKIP\na/d.py: CRASH: 'x: y'\n";
        let outcome = Outcome::of_benchmarks(said);
        assert_eq!(outcome.passed, BTreeSet::from(["a/b.py".to_owned()]));
        assert!(outcome.complaints.starts_with("a/c.py is skipped"), "{}", outcome.complaints);
        assert!(outcome.complaints.ends_with("FAIL a/d.py: CRASH: 'x: y'\n"), "{}", outcome.complaints);
    }
}
