//! The physical console, shared by all VMs and the log.
//!
//! A single VM owns it bare: its bytes pass unchanged. Several VMs share it line by line, each line with
//! the VM's name in front; a VM's unfinished line waits in a buffer of its own until it is finished, or
//! until the VM waits itself (a prompt, for example).

mod input;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(target_os = "none")]
mod pl011;

use crate::vm::VmId;
use core::fmt::{self, Write};
use heapless::Vec;
use spin::Mutex;

#[cfg(not(target_os = "none"))]
use host::Device;
pub use input::InputQueue;
#[cfg(target_os = "none")]
pub use pl011::Device;

/// The console. Its lock is the one that all cores share.
static CONSOLE: Mutex<Output<Device>> = Mutex::new(Output::new(Device::NONE));

/// What the hypervisor's last line says, before the exit code. It starts on a line of its own whatever
/// came before, so that whoever reads the console can take it away again without loss.
pub const EXIT_LINE: &str = "\r\ntinyvmm: exit code ";

/// Longest piece of a line that is kept back, in bytes.
const LINE_SIZE: usize = 256;

/// Rows and columns of the terminal, until someone says otherwise: what every terminal has had since the VT100.
static SIZE: Mutex<(u16, u16)> = Mutex::new((24, 80));

/// Sets the size of the terminal from `ROWSxCOLUMNS`. Returns whether it was one.
pub fn set_size(size: &str) -> bool {
    let Some((rows, columns)) = size.split_once('x') else { return false };
    let (Ok(rows), Ok(columns)) = (rows.parse(), columns.parse()) else { return false };
    *SIZE.lock() = (rows, columns);
    true
}

/// Rows and columns of the terminal.
#[must_use]
pub fn size() -> (u16, u16) {
    *SIZE.lock()
}

/// Starts the console.
#[cfg(target_os = "none")]
pub fn init(device: Device) {
    *CONSOLE.lock().sink() = device;
}

/// Chooses how VMs' output is told apart.
pub fn set_style(style: Style) {
    CONSOLE.lock().style = style;
}

/// Sends what a VM wrote.
pub fn write_guest(speaker: Speaker<'_>, line: &mut LineBuffer, bytes: &[u8]) {
    CONSOLE.lock().write_guest(speaker, line, bytes);
}

/// Sends what a VM wrote as text: a line feed also returns the carriage.
pub fn write_guest_text(speaker: Speaker<'_>, line: &mut LineBuffer, text: &[u8]) {
    CONSOLE.lock().write_guest_text(speaker, line, text);
}

/// Shows a VM's unfinished line as it is.
pub fn flush(speaker: Speaker<'_>, line: &mut LineBuffer) {
    CONSOLE.lock().flush(speaker, line);
}

/// Writes lines of the hypervisor's own.
pub fn write_own(message: fmt::Arguments<'_>) {
    CONSOLE.lock().write_own(message);
}

/// Writes the line that says how the run ended, see [`EXIT_LINE`].
pub fn write_exit_line(code: u8) {
    CONSOLE.lock().write_exit_line(code);
}

/// Moves received bytes to where the focus is, as many as find room there.
pub fn receive(queue: &mut InputQueue) {
    let queue = core::cell::RefCell::new(queue);
    let has_room = || queue.borrow().has_room();
    CONSOLE.lock().sink().receive(has_room, |byte| queue.borrow_mut().push(byte));
}

/// Reports a failure and the exit code that goes with it, whoever holds the console.
///
/// # Safety
/// The caller does not return to what it interrupted.
#[cfg(target_os = "none")]
pub unsafe fn emergency(message: fmt::Arguments<'_>, code: u8) {
    // SAFETY: the caller's promise.
    let mut output = Output::new(unsafe { Device::emergency() });
    output.write_own(format_args!("\n{message}\n"));
    output.write_exit_line(code);
}

/// Where bytes go.
pub trait Sink {
    /// Sends a byte, waiting for room if need be.
    fn put(&mut self, byte: u8);
}

/// The unfinished line of a VM.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8, LINE_SIZE>,
}

/// Who speaks for a VM on the console.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// The VM.
    pub id: VmId,
    /// Its name, for the prefix.
    pub name: &'a str,
}

/// How VMs' output is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One VM has the console to itself.
    Bare,
    /// Each line begins with `[name] `.
    Prefixed,
}

/// The console's output side.
pub struct Output<S> {
    sink: S,
    style: Style,
    open_line: OpenLine,
}

/// Whose unfinished line the cursor stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenLine {
    None,
    Of(VmId),
}

impl<S: Sink> Output<S> {
    /// An output whose cursor is at the start of a line.
    pub const fn new(sink: S) -> Self {
        Self { sink, style: Style::Bare, open_line: OpenLine::None }
    }

    /// The device below.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Sends what a VM wrote.
    pub fn write_guest(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer, bytes: &[u8]) {
        match self.style {
            Style::Bare => self.write_bare(speaker.id, bytes),
            Style::Prefixed => bytes.iter().for_each(|byte| self.write_prefixed(speaker, line, *byte)),
        }
    }

    /// Sends what a VM wrote as text: a line feed also returns the carriage.
    pub fn write_guest_text(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer, text: &[u8]) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            match piece.split_last() {
                Some((b'\n', rest)) => {
                    self.write_guest(speaker, line, rest);
                    self.write_guest(speaker, line, b"\r\n");
                }
                _ => self.write_guest(speaker, line, piece),
            }
        }
    }

    /// Shows a VM's unfinished line as it is.
    pub fn flush(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer) {
        if line.bytes.is_empty() {
            return;
        }
        if self.open_line != OpenLine::Of(speaker.id) {
            self.close_line();
            self.put_all(b"[");
            self.put_all(speaker.name.as_bytes());
            self.put_all(b"] ");
            self.open_line = OpenLine::Of(speaker.id);
        }
        self.put_all(&line.bytes);
        line.bytes.clear();
    }

    /// Writes lines of the hypervisor's own.
    pub fn write_own(&mut self, message: fmt::Arguments<'_>) {
        self.close_line();
        // Writing to a sink cannot fail.
        let _ = TextWriter(&mut self.sink).write_fmt(message);
    }

    /// Writes the line that says how the run ended, see [`EXIT_LINE`].
    pub fn write_exit_line(&mut self, code: u8) {
        let _ = write!(RawWriter(&mut self.sink), "{EXIT_LINE}{code}\r\n");
    }

    fn write_bare(&mut self, id: VmId, bytes: &[u8]) {
        self.put_all(bytes);
        if let Some(last) = bytes.last() {
            self.open_line = if *last == b'\n' { OpenLine::None } else { OpenLine::Of(id) };
        }
    }

    fn write_prefixed(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer, byte: u8) {
        match byte {
            b'\n' => self.finish_line(speaker, line),
            // The line's end brings its own.
            b'\r' => {}
            _ => {
                if line.bytes.push(byte).is_err() {
                    self.flush(speaker, line);
                    // There is room now.
                    let _ = line.bytes.push(byte);
                }
            }
        }
    }

    fn finish_line(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer) {
        let continues = self.open_line == OpenLine::Of(speaker.id);
        if line.bytes.is_empty() && !continues {
            // An empty line has its prefix, too.
            self.close_line();
            self.put_all(b"[");
            self.put_all(speaker.name.as_bytes());
            self.put_all(b"]");
        }
        self.flush(speaker, line);
        self.put_all(b"\r\n");
        self.open_line = OpenLine::None;
    }

    fn close_line(&mut self) {
        if self.open_line != OpenLine::None {
            self.put_all(b"\r\n");
            self.open_line = OpenLine::None;
        }
    }

    fn put_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.sink.put(*byte));
    }
}

/// Formats into a sink, as it is.
struct RawWriter<'a, S>(&'a mut S);

impl<S: Sink> Write for RawWriter<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.0.put(byte));
        Ok(())
    }
}

/// Formats into a sink; a line feed also returns the carriage.
pub struct TextWriter<'a, S>(pub &'a mut S);

impl<S: Sink> Write for TextWriter<'_, S> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0.put(b'\r');
            }
            self.0.put(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec::Vec};

    impl Sink for Vec<u8> {
        fn put(&mut self, byte: u8) {
            self.push(byte);
        }
    }

    const A: Speaker<'static> = Speaker { id: VmId(0), name: "a" };
    const B: Speaker<'static> = Speaker { id: VmId(1), name: "b" };

    fn prefixed() -> Output<Vec<u8>> {
        let mut output = Output::new(Vec::new());
        output.style = Style::Prefixed;
        output
    }

    fn text(output: &Output<Vec<u8>>) -> String {
        String::from_utf8(output.sink.clone()).unwrap()
    }

    #[test]
    fn a_single_vm_owns_the_console_bare() {
        let (mut output, mut line) = (Output::new(Vec::new()), LineBuffer::default());
        output.write_guest(A, &mut line, b"raw\n\x1b[31m");
        output.write_guest_text(A, &mut line, b"text\nmore");
        assert_eq!(text(&output), "raw\n\x1b[31mtext\r\nmore");
        output.write_own(format_args!("[tinyvmm warn] log\n"));
        output.write_own(format_args!("[tinyvmm warn] again\n"));
        assert!(text(&output).ends_with("more\r\n[tinyvmm warn] log\r\n[tinyvmm warn] again\r\n"));
    }

    #[test]
    fn lines_of_several_vms_do_not_mix() {
        let (mut output, mut a, mut b) = (prefixed(), LineBuffer::default(), LineBuffer::default());
        output.write_guest(A, &mut a, b"one ");
        output.write_guest(B, &mut b, b"two\r\n\r\n");
        output.write_guest(A, &mut a, b"three\n");
        assert_eq!(text(&output), "[b] two\r\n[b]\r\n[a] one three\r\n");
    }

    #[test]
    fn a_prompt_is_shown_and_the_next_speaker_starts_a_new_line() {
        let (mut output, mut a, mut b) = (prefixed(), LineBuffer::default(), LineBuffer::default());
        output.write_guest(A, &mut a, b">>> ");
        output.flush(A, &mut a);
        output.flush(A, &mut a);
        output.write_guest(A, &mut a, b"1 + 1\n");
        output.write_guest(A, &mut a, b">>> ");
        output.flush(A, &mut a);
        output.write_guest(B, &mut b, b"hi\n");
        output.write_guest(A, &mut a, b"x\n");
        assert_eq!(text(&output), "[a] >>> 1 + 1\r\n[a] >>> \r\n[b] hi\r\n[a] x\r\n");
    }

    #[test]
    fn a_long_line_is_passed_on_in_pieces() {
        let (mut output, mut a) = (prefixed(), LineBuffer::default());
        output.write_guest(A, &mut a, &[b'x'; 1000]);
        output.write_guest(A, &mut a, b"\n");
        let expected = alloc::format!("[a] {}\r\n", "x".repeat(1000));
        assert_eq!(text(&output), expected);
    }

    #[test]
    fn the_exit_line_can_be_taken_away_without_loss() {
        let mut output = Output::new(Vec::new());
        output.write_guest(A, &mut LineBuffer::default(), b"no newline");
        output.write_exit_line(7);
        assert_eq!(text(&output), alloc::format!("no newline{EXIT_LINE}7\r\n"));
    }
}
