//! Programs that want a terminal: they get a pseudoterminal.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::dialogue::follow;

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program with a terminal. Killed when dropped.
pub(crate) struct Terminal {
    program: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    expected: usize,
}

impl Terminal {
    /// Starts the program.
    pub(crate) fn run(mut command: Command) -> Result<Self> {
        let wire = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&wire)?;
        unlockpt(&wire)?;
        let path = ptsname(&wire, Vec::new())?.into_string()?;
        let terminal = File::options().read(true).write(true).open(path)?;
        command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
        let program = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let keyboard = File::from(wire);
        let screen = follow(keyboard.try_clone()?);
        Ok(Self { program, keyboard, screen, seen: String::new(), expected: 0 })
    }

    /// Types `keys`.
    pub(crate) fn types(&mut self, keys: &str) -> Result<&mut Self> {
        self.keyboard.write_all(keys.as_bytes())?;
        Ok(self)
    }

    /// Waits until `text` is shown, after what was expected before.
    pub(crate) fn expects(&mut self, text: &str) -> Result<&mut Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen[self.expected..].find(text) {
                self.expected += at + text.len();
                return Ok(self);
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => bail!("{text:?} did not come: {error}; terminal:\n{}\n---", self.seen),
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn ends_with(mut self, code: i32) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.program.try_wait()? {
                ensure!(status.code() == Some(code), "{status}; terminal:\n{}\n---", self.seen);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not end; terminal:\n{}\n---", self.seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
