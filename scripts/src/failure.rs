//! Errors that end the command with an exit code of their own.

use std::fmt;

/// Exit code of a run that took longer than `--timeout`, as of `timeout(1)`.
pub const TIMED_OUT: u8 = 124;
/// Exit code for input that is not there or wrong.
pub const BAD_INPUT: u8 = 2;
/// Exit code for tools that are not there and cannot be installed.
pub const MISSING_TOOLS: u8 = 3;

/// An error with its exit code. Every other error ends the command with 1.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The user's input is not there or wrong.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { code: BAD_INPUT, message: message.into() }
    }

    /// A tool is missing; the message says how to get it.
    pub fn missing_tools(message: impl Into<String>) -> Self {
        Self { code: MISSING_TOOLS, message: message.into() }
    }

    /// A run took longer than it was allowed.
    pub fn timed_out(seconds: u64) -> Self {
        Self { code: TIMED_OUT, message: format!("timed out after {seconds} s") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code that goes with `error`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(1, |failure| failure.code)
}
