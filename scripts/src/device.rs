//! A run with a serial port, for tests that connect to it as to a board.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What `run --serial` says before the name of its serial port.
pub const ANNOUNCED: &str = "serial port: ";
/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// `cargo xtask run --serial` in the background. Ended when dropped.
#[derive(Debug)]
pub struct Device {
    run: Child,
    name: String,
}

impl Device {
    /// Starts `command`, which is `run --serial` of this program, and waits for its serial port.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let run = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut device = Self { run, name: String::new() };
        let errors = device.run.stderr.take().context("no standard error")?;
        device.name = announced(errors)?;
        Ok(device)
    }

    /// What other programs call the serial port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the end; returns the exit code.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<i32>> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.run.try_wait()? {
                return Ok(status.code());
            }
            thread::sleep(LOOK);
        }
        bail!("the run did not end")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // It has an emulator to end, so it is told, not killed. All of this fails only if it has ended already.
        if let Ok(None) = self.run.try_wait()
            && let Some(id) = i32::try_from(self.run.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(id, Signal::TERM);
            let _ = self.run.wait();
        }
    }
}

/// The port's name, from what the run says; the rest goes to a thread that keeps the pipe empty.
fn announced(errors: impl Read + Send + 'static) -> Result<String> {
    let mut lines = BufReader::new(errors).lines();
    let mut said = String::new();
    while let Some(line) = lines.next().transpose()? {
        if let Some(name) = line.strip_prefix(ANNOUNCED) {
            let name = name.to_owned();
            thread::spawn(move || lines.count());
            return Ok(name);
        }
        said = format!("{said}\n{line}");
    }
    bail!("the run has no serial port:{said}")
}
