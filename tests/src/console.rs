//! What a run printed and how it ended, with the checks that tests make on it.

use anyhow::{Result, ensure};

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Console {
    /// All it printed but the exit line, with LF line ends.
    pub(crate) output: String,
    /// Its exit code.
    pub(crate) code: u8,
}

impl Console {
    /// Checks the exit code.
    pub(crate) fn ends_with(&self, code: u8) -> Result<&Self> {
        self.check(self.code == code, &format!("exit code {} instead of {code}", self.code))
    }

    /// Checks that `text` is somewhere in the output.
    pub(crate) fn shows(&self, text: &str) -> Result<&Self> {
        self.check(self.output.contains(text), &format!("no {text:?} in the output"))
    }

    /// Checks that `text` is nowhere in the output.
    pub(crate) fn lacks(&self, text: &str) -> Result<&Self> {
        self.check(!self.output.contains(text), &format!("{text:?} in the output"))
    }

    /// Checks the whole output.
    pub(crate) fn is(&self, text: &str) -> Result<&Self> {
        self.check(self.output == text, &format!("the output is not {text:?}"))
    }

    /// Checks all the lines that the VM called `vm` printed beside others.
    pub(crate) fn of_vm_is(&self, vm: &str, lines: &[&str]) -> Result<&Self> {
        let prefix = format!("[{vm}] ");
        let found: Vec<&str> = self.output.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        self.check(found == lines, &format!("the lines of {vm} are {found:?} instead of {lines:?}"))
    }

    /// Checks something else; `complaint` says what is wrong if it is not `good`.
    pub(crate) fn check(&self, good: bool, complaint: &str) -> Result<&Self> {
        ensure!(good, "{complaint}\n--- exit code {}, console:\n{}\n---", self.code, self.output);
        Ok(self)
    }
}
