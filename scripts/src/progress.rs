//! Long steps and how far they are: a bar in a terminal, plain lines in a pipe, nothing for what is done at once.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Read, stderr};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A step that ends sooner is not worth a word.
const QUIET_TIME: Duration = Duration::from_millis(800);
/// How often a terminal shows that a step is alive.
const TICK: Duration = Duration::from_millis(120);

/// Runs `command` as a step called `title`, and returns its standard output. A failure shows all that it said.
pub fn run(title: &str, command: &mut Command) -> Result<Vec<u8>> {
    Ok(succeed(title, command)?.stdout)
}

/// Runs `command` as a step called `title`, and returns all that it said. A failure shows it.
pub fn succeed(title: &str, command: &mut Command) -> Result<Output> {
    let output = observe(title, command)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{title} failed ({}):\n{}", output.status, said.trim_end())
}

/// Runs `command` as a step called `title`, and returns what became of it.
pub fn observe(title: &str, command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let (sender, lines) = channel();
    let errors = child.stderr.take().map(|pipe| thread::spawn(move || read_lines(pipe, &sender)));
    let shown = thread::spawn({
        let title = title.to_owned();
        move || show(&title, &lines)
    });
    let mut output = child.wait_with_output().with_context(|| format!("cannot run {program}"))?;
    output.stderr = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let _ = shown.join();
    Ok(output)
}

/// How far a step is, as its last line of output says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Status {
    /// Steps done and steps in all.
    count: Option<(u64, u64)>,
    text: String,
}

impl Status {
    fn parse(line: &str) -> Self {
        let count = cargo_count(line).or_else(|| apt_percent(line));
        let text = match apt_text(line) {
            Some(text) => text,
            None => line.rsplit_once(": ").map_or(line, |(_, text)| text),
        };
        Self { count, text: text.trim().to_owned() }
    }

    /// Whether the line is there for the bar only and says nothing once the step has ended.
    fn is_passing(line: &str) -> bool {
        cargo_count(line).is_some() || apt_percent(line).is_some()
    }
}

/// `Building [===>   ] 12/80: serde, syn`
fn cargo_count(line: &str) -> Option<(u64, u64)> {
    let (_, after) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (done, total) = after.split(':').next()?.split_once('/')?;
    Some((done.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// `dlstatus:3:41.7:Retrieving file 3 of 7` or `pmstatus:clang:41.7:Unpacking clang`
fn apt_percent(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.splitn(4, ':');
    fields.next().filter(|kind| ["dlstatus", "pmstatus"].contains(kind))?;
    let percent = fields.nth(1)?.split('.').next()?;
    Some((percent.parse().ok()?, 100))
}

fn apt_text(line: &str) -> Option<&str> {
    apt_percent(line).and(line.splitn(4, ':').nth(3))
}

/// Reads to the end, and sends each line on. Progress bars end their lines with a carriage return.
fn read_lines(mut pipe: impl Read, lines: &Sender<Status>) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        for &byte in &buffer[..count] {
            line.push(byte);
            if matches!(byte, b'\n' | b'\r') {
                take_line(&mut line, &mut kept, lines);
            }
        }
    }
    take_line(&mut line, &mut kept, lines);
    kept
}

fn take_line(line: &mut Vec<u8>, kept: &mut Vec<u8>, lines: &Sender<Status>) {
    let text = String::from_utf8_lossy(line).trim_end().to_owned();
    let erased = text.is_empty() && line.ends_with(b"\r");
    if !erased && !Status::is_passing(&text) {
        kept.extend_from_slice(line);
    }
    if !text.is_empty() {
        // Nobody listens any more: the step has ended.
        let _ = lines.send(Status::parse(&text));
    }
    line.clear();
}

/// Shows the step until its last line was sent.
fn show(title: &str, lines: &Receiver<Status>) {
    let start = Instant::now();
    let mut last = None;
    while let Some(left) = QUIET_TIME.checked_sub(start.elapsed()) {
        match lines.recv_timeout(left) {
            Ok(status) => last = Some(status),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    match stderr().is_terminal() {
        true => show_bar(title, last, lines),
        // A pipe gets one line: the step's result follows.
        false => eprintln!("{title} ..."),
    }
}

fn show_bar(title: &str, last: Option<Status>, lines: &Receiver<Status>) {
    let bar = ProgressBar::no_length().with_prefix(title.to_owned());
    bar.enable_steady_tick(TICK);
    bar.set_style(style("{spinner} {prefix} [{elapsed}] {wide_msg}"));
    let mut counted = false;
    for status in last.into_iter().chain(lines.iter()) {
        bar.set_message(status.text);
        let Some((done, total)) = status.count else { continue };
        if !counted {
            bar.set_style(style("{spinner} {prefix} [{elapsed}] {bar:24} {pos}/{len} {wide_msg}"));
            counted = true;
        }
        bar.set_length(total);
        bar.set_position(done);
    }
    bar.finish_and_clear();
}

/// A bar for so many bytes, in a terminal.
pub fn bytes(title: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_prefix(title.to_owned());
    bar.set_style(style(
        "{spinner} {prefix} [{elapsed}] {bar:24} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
    ));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_progress_of_cargo() {
        let status = Status::parse("    Building [=====>       ] 12/80: serde, syn(build)");
        assert_eq!(status, Status { count: Some((12, 80)), text: "serde, syn(build)".into() });
    }

    #[test]
    fn reads_the_progress_of_apt() {
        let status = Status::parse("pmstatus:clang:41.7391:Unpacking clang (amd64)");
        assert_eq!(status, Status { count: Some((41, 100)), text: "Unpacking clang (amd64)".into() });
        assert_eq!(Status::parse("dlstatus:1:0.0:Retrieving file 1 of 7").count, Some((0, 100)));
    }

    #[test]
    fn other_lines_are_only_text() {
        let status = Status::parse("   Compiling serde v1.0.0");
        assert_eq!(status, Status { count: None, text: "Compiling serde v1.0.0".into() });
    }

    #[test]
    fn keeps_what_is_worth_reading_after_a_failure() {
        let (sender, _lines) = channel();
        let said = b"   Building [=> ] 1/2: a\r\rerror: bad\n  --> a.rs\npmstatus:a:1:b\nlast";
        assert_eq!(read_lines(&said[..], &sender), b"error: bad\n  --> a.rs\nlast");
    }
}
