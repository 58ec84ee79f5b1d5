//! Boots that are talked to: what is typed depends on what was printed.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use xtask::console::ExitFilter;
use xtask::qemu::Board;

use crate::boot::{self, Vm};
use crate::console::Console;
use crate::matrix;

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A boot that waits for what is typed. Killed when dropped.
pub(crate) struct Dialogue {
    qemu: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    filter: ExitFilter,
    /// All that was printed, with LF line ends.
    seen: String,
    /// How much of it was expected already.
    expected: usize,
    patience: Duration,
    _files: TempDir,
}

impl Dialogue {
    /// Boots these VMs.
    pub(crate) fn start(vms: &[Vm]) -> Result<Self> {
        Self::start_with(vms, "")
    }

    /// Boots these VMs, with arguments for the hypervisor.
    pub(crate) fn start_with(vms: &[Vm], bootargs: &str) -> Result<Self> {
        Self::start_on(&matrix::board(1), vms, bootargs)
    }

    /// Boots these VMs on a board.
    pub(crate) fn start_on(board: &Board, vms: &[Vm], bootargs: &str) -> Result<Self> {
        Self::start_bundle(board, &boot::bundle(vms)?, bootargs)
    }

    /// Boots a bundle on a board.
    pub(crate) fn start_bundle(board: &Board, bundle: &[u8], bootargs: &str) -> Result<Self> {
        let (mut command, files) = boot::command(board, bundle, bootargs)?;
        let mut qemu =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start QEMU")?;
        let keyboard = qemu.stdin.take().context("no standard input")?;
        let screen = follow(qemu.stdout.take().context("no standard output")?);
        let (filter, seen) = (ExitFilter::default(), String::new());
        Ok(Self { qemu, keyboard, screen, filter, seen, expected: 0, patience: PATIENCE, _files: files })
    }

    /// Waits longer than usual for each answer.
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// All that was printed so far.
    pub(crate) fn output(&self) -> &str {
        &self.seen
    }

    /// Types `keys`.
    pub(crate) fn types(&mut self, keys: &str) -> Result<&mut Self> {
        self.keyboard.write_all(keys.as_bytes())?;
        self.keyboard.flush()?;
        Ok(self)
    }

    /// Waits for a line of a VM, after what was expected before. Returns what follows `start` in it.
    pub(crate) fn line(&mut self, start: &str) -> Result<String> {
        let begin = self.wait_for(start, self.expected)?;
        self.expected = self.wait_for("\n", begin)?;
        Ok(self.seen[begin..self.expected - 1].to_owned())
    }

    /// Waits until `text` is printed, after what was expected before.
    pub(crate) fn expects(&mut self, text: &str) -> Result<&mut Self> {
        self.expected = self.wait_for(text, self.expected)?;
        Ok(self)
    }

    /// Waits for `text` anywhere in what is printed, also before what was expected last.
    pub(crate) fn shows(&mut self, text: &str) -> Result<&mut Self> {
        self.wait_for(text, 0)?;
        Ok(self)
    }

    /// What follows `start` in the first line that was printed with it.
    pub(crate) fn seen(&mut self, start: &str) -> Result<String> {
        let begin = self.wait_for(start, 0)?;
        let end = self.wait_for("\n", begin)?;
        Ok(self.seen[begin..end - 1].to_owned())
    }

    /// Waits for `text` in what is printed from `start` on. Returns where it ends.
    fn wait_for(&mut self, text: &str, start: usize) -> Result<usize> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(at) = self.seen[start..].find(text) {
                return Ok(start + at + text.len());
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown(&bytes),
                Err(error) => bail!("{text:?} did not come: {error}; console:\n{}\n---", self.seen),
            }
        }
    }

    /// What is printed in the time, after what was expected before.
    pub(crate) fn listens(&mut self, time: Duration) -> Result<String> {
        let deadline = Instant::now() + time;
        loop {
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown(&bytes),
                Err(RecvTimeoutError::Timeout) => break,
                Err(error) => bail!("{error}; console:\n{}\n---", self.seen),
            }
        }
        let heard = self.seen[self.expected..].to_owned();
        self.expected = self.seen.len();
        Ok(heard)
    }

    /// Waits for the end.
    pub(crate) fn ends(mut self) -> Result<Console> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(error) => bail!("it did not end: {error}; console:\n{}\n---", self.seen),
            }
        }
        match std::mem::take(&mut self.filter).finish() {
            Ok(code) => Ok(Console { output: std::mem::take(&mut self.seen), code }),
            Err(_) => bail!("it ended without an exit code; console:\n{}\n---", self.seen),
        }
    }

    fn shown(&mut self, bytes: &[u8]) {
        let mut passed = self.filter.feed(bytes);
        passed.extend(self.filter.flush());
        self.seen.push_str(&String::from_utf8_lossy(&passed).replace('\r', ""));
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Reads in another thread, so that waiting for output can end in time.
pub(crate) fn follow(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
