//! Upstream's tests of the prompt: what somebody types, and what the screen should show. Upstream's own program runs them
//! on a desktop only.

use super::{group::Run, outcome::Outcome};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

/// The directory of these tests.
pub(super) const DIRECTORY: &str = "cmdline";
/// Typed after the test: ends the VM, and marks the end of what it shows.
const END: &str = "raise SystemExit";
/// Lines of the greeting, which differs from board to board.
const GREETING: usize = 2;
/// Seconds for one test: much more than it takes.
const LIMIT: &str = "120";

/// Runs tests, each at the prompt of a VM of its own.
pub(super) fn run(tests: &Path, run: &Run, wanted: &BTreeSet<String>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for test in wanted {
        let typed = fs::read_to_string(tests.join(test)).with_context(|| format!("cannot read {test}"))?;
        let expected = fs::read_to_string(tests.join(format!("{test}.exp")))?;
        let screen = screen(&typed, run)?;
        if is_expected(&expected, &screen) {
            outcome.passed.insert(test.clone());
        } else {
            outcome.complaints += &format!("FAIL {test}\n{screen}\nexpected was\n{expected}\n");
            outcome.failed.push(test.clone());
        }
    }
    Ok(outcome)
}

/// What the screen shows of a VM at whose prompt this is typed.
fn screen(typed: &str, run: &Run) -> Result<String> {
    let mut input = tempfile::tempfile()?;
    writeln!(input, "{typed}{END}")?;
    input.rewind()?;
    let mut command = Command::new(env::current_exe()?);
    let output = command
        .args(["run", "--loglevel", "error", "--timeout", LIMIT])
        .args(["--machine", run.machine.name(), "--emit", run.emit.name()])
        .stdin(input)
        .output()?;
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    Ok(shown.rsplit_once(END).map_or_else(|| shown.clone(), |(shown, _)| shown.to_owned()))
}

/// Whether the screen shows what upstream expects, from the first prompt on.
fn is_expected(expected: &str, screen: &str) -> bool {
    let lines = |text: &str| text.lines().skip(GREETING).map(str::to_owned).collect::<Vec<_>>();
    let (expected, screen) = (lines(expected), lines(screen));
    expected.len() == screen.len()
        && expected.iter().zip(&screen).all(|(pattern, line)| matches(pattern, line))
}

/// Whether `line` is what `pattern` says in upstream's notation: `\.\+` stands for anything, four backslashes for one.
fn matches(pattern: &str, line: &str) -> bool {
    let pattern = pattern.replace(r"\\\\", r"\");
    match pattern.split_once(r"\.\+") {
        None => line == pattern,
        Some((start, end)) => {
            line.strip_prefix(start).is_some_and(|rest| rest.len() > end.len() && rest.ends_with(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_notation_is_understood() {
        for (pattern, line, expected) in [
            (">>> 1", ">>> 1", true),
            (">>> 1", ">>> 12", false),
            (r">>> '\\\\''", r">>> '\''", true),
            (r">>> \.\+", ">>> 234", true),
            (r">>> \.\+", ">>> ", false),
            (r"a \.\+ z", "a bc z", true),
            (r"a \.\+ z", "a bc", false),
        ] {
            assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
        }
    }

    #[test]
    fn a_screen_is_compared_from_the_first_prompt_on() {
        let expected = "MicroPython\nUse\n>>> 1\n1\n>>> \n";
        assert!(is_expected(expected, "Another\ngreeting\n>>> 1\n1\n>>> "));
        assert!(!is_expected(expected, "Another\ngreeting\n>>> 1\n2\n>>> "));
        assert!(!is_expected(expected, "Another\ngreeting\n>>> 1\n1\n>>> \nmore"));
        assert!(!is_expected(expected, ""));
    }
}
