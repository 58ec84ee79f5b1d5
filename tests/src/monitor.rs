//! QEMU's monitor, for what only someone beside the board could see or do.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where QEMU listens for a client of its monitor.
pub(crate) struct Socket(TempDir);

impl Socket {
    /// A place for it.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("monitor")
    }

    /// What makes QEMU listen there.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        ["-qmp".into(), format!("unix:{},server=on,wait=off", self.path().display()).into()].into()
    }

    /// Talks to a QEMU that runs.
    pub(crate) fn connect(&self) -> Result<Monitor> {
        let stream = UnixStream::connect(self.path()).context("no monitor")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Monitor(BufReader::new(stream));
        monitor.execute(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(monitor)
    }
}

/// A client of the monitor.
pub(crate) struct Monitor(BufReader<UnixStream>);

impl Monitor {
    /// Executes a command (QEMU Machine Protocol). Before the answer may come a greeting, and events.
    fn execute(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.0.get_mut(), "{command}")?;
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "the monitor is gone");
            let mut said: Value = serde_json::from_str(&line)?;
            ensure!(said.get("error").is_none(), "{command}: {line}");
            if let Some(answer) = said.get_mut("return") {
                return Ok(answer.take());
            }
        }
    }

    /// Executes a command of those for people, and returns what it prints.
    fn types(&mut self, line: &str) -> Result<String> {
        let command = json!({ "execute": "human-monitor-command", "arguments": { "command-line": line } });
        Ok(self.execute(&command)?.as_str().context("no text")?.to_owned())
    }

    /// What a physical address has.
    pub(crate) fn word(&mut self, address: u64) -> Result<u32> {
        let said = self.types(&format!("xp /1wx {address:#x}"))?;
        let word = said.split_once(": 0x").context("no number")?.1.trim();
        u32::from_str_radix(word, 16).with_context(|| format!("no number: {said}"))
    }

    /// Takes the SD card out.
    pub(crate) fn eject_card(&mut self) -> Result<()> {
        let said = self.types("eject -f sd0")?;
        ensure!(said.is_empty(), "{said}");
        Ok(())
    }
}
