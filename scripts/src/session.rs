//! One run of QEMU from its start to its end.

use crate::console::{ExitFilter, Newlines};
use crate::failure::Failure;
use crate::serial::{self, Line, Outgoing};
use crate::terminal::{Keys, RawMode, Typed};
use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line end is held back as the possible start of the exit line.
const HOLD: Duration = Duration::from_millis(20);
/// What a terminal sends for the end of the input.
const CTRL_D: u8 = 4;
/// Base of exit codes that stand for a signal.
const SIGNAL_CODES: i32 = 128;

/// A QEMU that is killed, not left behind, when its owner goes away.
struct Qemu(Child);

impl Qemu {
    fn start(mut command: Command) -> Result<(Self, ChildStdin, ChildStdout)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let qemu = Self(child);
        Ok((
            qemu,
            stdin.context("QEMU has no standard input")?,
            stdout.context("QEMU has no standard output")?,
        ))
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        self.0.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

enum Event {
    Output(Vec<u8>),
    OutputEnded,
    Leave,
    Signal(i32),
}

/// Runs `command` with its console on standard input and output. Returns the exit code that the hypervisor gave, 0 if the
/// user left with Ctrl-A X.
pub fn interactive(command: Command, timeout: Option<Duration>) -> Result<u8> {
    let deadline = Deadline::after(timeout);
    let raw = RawMode::enter()?;
    let (qemu, stdin, stdout) = Qemu::start(command)?;
    let (sender, events) = channel();
    forward_output(stdout, sender.clone(), || {});
    forward_input(stdin, raw.as_ref().map(|_| Keys::default()), sender.clone());
    forward_signals(sender)?;
    follow(qemu, &events, deadline, Screen::new(Target::Terminal(Newlines::default())))
}

/// Runs `command` with its console on a serial port. Returns the exit code that the hypervisor gave.
pub fn serial(command: Command, timeout: Option<Duration>, line: Line) -> Result<u8> {
    let deadline = Deadline::after(timeout);
    let (qemu, stdin, stdout) = Qemu::start(command)?;
    let (sender, events) = channel();
    let outgoing = Arc::new(Outgoing::default());
    let reader = Arc::clone(&outgoing);
    forward_output(stdout, sender.clone(), move || reader.wait_for_room());
    let server = Arc::clone(&outgoing);
    // An error means that QEMU is gone, or that nobody can connect: then the run goes on alone.
    thread::spawn(move || serial::serve(&line, &server, stdin).is_ok());
    forward_signals(sender)?;
    follow(qemu, &events, deadline, Screen::new(Target::Serial(outgoing)))
}

/// Shows what comes, until the end.
fn follow(mut qemu: Qemu, events: &Receiver<Event>, deadline: Deadline, mut screen: Screen) -> Result<u8> {
    loop {
        match next_event(events, deadline, screen.filter.is_waiting())? {
            None => screen.flush()?,
            Some(Event::Output(bytes)) => screen.show(&bytes)?,
            Some(Event::OutputEnded) => return screen.finish(qemu.wait()?),
            Some(Event::Leave) => return Ok(0),
            Some(Event::Signal(number)) => return Ok(u8::try_from(SIGNAL_CODES + number).unwrap_or(1)),
        }
    }
}

/// When a run must have ended.
#[derive(Debug, Clone, Copy)]
struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.map(|timeout| (Instant::now(), timeout)))
    }

    /// The time that is left; an error if there is none.
    fn left(self) -> Result<Option<Duration>> {
        let Some((start, timeout)) = self.0 else { return Ok(None) };
        match timeout.checked_sub(start.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Failure::timed_out(timeout.as_secs()).into()),
        }
    }
}

/// Waits for the next event; with `hold` only for as long as output may be held back, after which it returns `None`.
fn next_event(events: &Receiver<Event>, deadline: Deadline, hold: bool) -> Result<Option<Event>> {
    let limit = match (deadline.left()?, hold) {
        (Some(left), true) => Some(left.min(HOLD)),
        (None, true) => Some(HOLD),
        (left, false) => left,
    };
    let Some(limit) = limit else { return Ok(Some(events.recv()?)) };
    match events.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => Ok(None),
        event => Ok(Some(event?)),
    }
}

/// Sends what QEMU prints as events; `wait_for_room` says when more of it is welcome.
fn forward_output(
    mut console: ChildStdout,
    events: Sender<Event>,
    wait_for_room: impl Fn() + Send + 'static,
) {
    thread::spawn(move || {
        // A read error means the same as the end: QEMU is gone. A send error means that nobody wants the output any more.
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = console.read(&mut buffer) {
            if events.send(Event::Output(buffer[..count].to_vec())).is_err() {
                return;
            }
            wait_for_room();
        }
        let _ = events.send(Event::OutputEnded);
    });
}

/// Sends what is typed to the guest; without a terminal, the input as it is.
fn forward_input(console: ChildStdin, keys: Option<Keys>, events: Sender<Event>) {
    thread::spawn(move || {
        // An error means that QEMU is gone, or that nobody wants its output any more.
        let _ = match keys {
            Some(keys) => forward_keys(console, keys, &events),
            None => forward_file(console),
        };
    });
}

fn forward_keys(mut console: ChildStdin, mut keys: Keys, events: &Sender<Event>) -> Result<()> {
    let mut buffer = [0; 1024];
    while let count @ 1.. = io::stdin().read(&mut buffer)? {
        match keys.typed(&buffer[..count]) {
            Typed::Bytes(bytes) => console.write_all(&bytes).and_then(|()| console.flush())?,
            Typed::Leave => events.send(Event::Leave)?,
        }
    }
    Ok(())
}

/// A guest sees no end of its console, so it gets what stands for one.
fn forward_file(mut console: ChildStdin) -> Result<()> {
    io::copy(&mut io::stdin().lock(), &mut console)?;
    Ok(console.write_all(&[CTRL_D]).and_then(|()| console.flush())?)
}

fn forward_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot handle signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = events.send(Event::Signal(signal));
        }
    });
    Ok(())
}

/// Whom the output is for.
enum Target {
    /// Standard output.
    Terminal(Newlines),
    /// Whoever has opened the serial port: every byte as it is.
    Serial(Arc<Outgoing>),
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Self::Serial(outgoing) => outgoing.put(bytes),
            Self::Terminal(_) if stdout.is_terminal() => stdout.write_all(bytes)?,
            Self::Terminal(newlines) => stdout.write_all(&newlines.convert(bytes))?,
        }
        stdout.flush()
    }

    fn finish(&mut self) {
        if let Self::Serial(outgoing) = self {
            outgoing.finish();
        }
    }
}

/// Where the output goes, with the exit line taken out.
struct Screen {
    filter: ExitFilter,
    target: Target,
}

impl Screen {
    fn new(target: Target) -> Self {
        Self { filter: ExitFilter::default(), target }
    }

    fn show(&mut self, bytes: &[u8]) -> Result<()> {
        let passed = self.filter.feed(bytes);
        self.write(&passed)
    }

    fn flush(&mut self) -> Result<()> {
        let passed = self.filter.flush();
        self.write(&passed)
    }

    fn finish(mut self, status: ExitStatus) -> Result<u8> {
        let end = std::mem::take(&mut self.filter).finish();
        if let Err(rest) = &end {
            self.write(rest)?;
        }
        self.target.finish();
        match end {
            Ok(code) => Ok(code),
            Err(_) => bail!("the hypervisor stopped without saying why (QEMU: {status})"),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.target.write(bytes).context("cannot write the output")
    }
}

/// What a run without a user left behind.
#[derive(Debug)]
pub struct Captured {
    /// Everything on the console but the exit line, with LF line ends.
    pub output: String,
    /// The exit code that the hypervisor gave.
    pub code: u8,
}

/// Runs `command` with `input` typed at once, and returns what it printed. What QEMU itself says is shown in errors only.
pub fn capture(mut command: Command, input: &[u8], timeout: Duration) -> Result<Captured> {
    let mut said = tempfile::tempfile().context("cannot make a temporary file")?;
    command.stderr(said.try_clone()?);
    captured(command, input, timeout).map_err(|error| {
        let mut text = String::new();
        // Without QEMU's words the error is still an error.
        let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
        if text.is_empty() { error } else { error.context(text.trim_end().to_owned()) }
    })
}

fn captured(command: Command, input: &[u8], timeout: Duration) -> Result<Captured> {
    let (output, status) = to_the_end(command, input, timeout)?;
    let mut filter = ExitFilter::default();
    let mut output = filter.feed(&output);
    let rest = filter.finish();
    output.extend(rest.as_ref().err().into_iter().flatten());
    let output = text(&output);
    match rest {
        Ok(code) => Ok(Captured { output, code }),
        Err(_) => bail!("the hypervisor stopped without saying why (QEMU: {status}); its output:\n{output}"),
    }
}

/// Runs an emulator without the hypervisor to its end, and returns what is printed.
pub fn printed(command: Command, timeout: Duration) -> Result<String> {
    let (output, status) = to_the_end(command, &[], timeout)?;
    let output = text(&output);
    ensure!(status.success(), "QEMU: {status}; its output:\n{output}");
    Ok(output)
}

fn to_the_end(command: Command, input: &[u8], timeout: Duration) -> Result<(Vec<u8>, ExitStatus)> {
    let deadline = Deadline::after(Some(timeout));
    let (mut qemu, mut stdin, stdout) = Qemu::start(command)?;
    let (sender, events) = channel();
    forward_output(stdout, sender, || {});
    stdin.write_all(input).and_then(|()| stdin.flush()).context("cannot write to QEMU")?;
    let mut output = Vec::new();
    while let Event::Output(bytes) = next_captured(&events, deadline, &output)? {
        output.extend(bytes);
    }
    Ok((output, qemu.wait()?))
}

/// Output with the line ends of a text.
fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(&Newlines::default().convert(output)).into_owned()
}

fn next_captured(events: &Receiver<Event>, deadline: Deadline, output: &[u8]) -> Result<Event> {
    loop {
        let event = next_event(events, deadline, false);
        let event = event.with_context(|| format!("QEMU's output:\n{}", String::from_utf8_lossy(output)));
        if let Some(event) = event? {
            return Ok(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{TIMED_OUT, exit_code};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A stand-in for QEMU.
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn captures_output_and_exit_code() {
        let script = r"read line; printf 'got %s\r\n\r\ntinyvmm: exit code 7\r\n' $line";
        let captured = capture(shell(script), b"input\n", LIMIT).unwrap();
        assert_eq!((captured.output.as_str(), captured.code), ("got input\n", 7));
    }

    #[test]
    fn an_end_without_a_reason_is_an_error_with_all_that_was_said() {
        let error = capture(shell("echo out; echo why >&2; exit 3"), b"", LIMIT).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("why: the hypervisor stopped without saying why"), "{text}");
        assert!(text.contains("exit status: 3") && text.ends_with("out\n"), "{text}");
    }

    #[test]
    fn a_run_that_takes_too_long_is_ended() {
        let error = capture(shell("exec sleep 60"), b"", Duration::from_millis(50)).unwrap_err();
        assert_eq!(exit_code(&error), TIMED_OUT);
    }
}
