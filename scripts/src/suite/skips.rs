//! The list of tests that are not run.

use super::group::Emit;
use crate::paths::root;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;

/// The list, below the root.
pub(super) const SKIPS: &str = "tests/micropython-skips.toml";

/// Tests that are not run.
#[derive(Debug, Deserialize)]
pub(super) struct Skips {
    skip: Vec<Skip>,
}

/// Some of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// For people.
    #[serde(rename = "reason")]
    _reason: String,
    /// Skipped only if compiled to this.
    emit: Option<Emit>,
    /// Names below upstream's `tests/`; `*` stands for anything.
    tests: Vec<String>,
}

impl Skips {
    /// Reads the list.
    pub(super) fn read() -> Result<Self> {
        let path = root().join(SKIPS);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{SKIPS} is wrong"))
    }

    /// Whether this test, compiled to this code, is listed.
    pub(super) fn contain(&self, test: &str, emit: Emit) -> bool {
        let meant = self.skip.iter().filter(|skip| skip.emit.is_none_or(|only| only == emit));
        meant.flat_map(|skip| &skip.tests).any(|pattern| matches(pattern, test))
    }

    /// Checks that each entry means one of `all` tests: others are left from another version.
    pub(super) fn check(&self, all: &[String]) -> Result<()> {
        let mut patterns = self.skip.iter().flat_map(|skip| &skip.tests);
        match patterns.find(|pattern| !all.iter().any(|test| matches(pattern, test))) {
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
    fn every_skip_has_a_reason() {
        let skips = Skips::read().unwrap();
        assert!(skips.skip.iter().all(|skip| skip._reason.len() > 10 && !skip.tests.is_empty()));
    }
}
