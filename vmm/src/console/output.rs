//! The console's output side: whose bytes go where on the screen.
//!
//! A single VM owns it bare: its bytes pass unchanged. Several VMs share it line by line, each line with
//! the VM's name in front; a VM's unfinished line waits in a buffer of its own until it is finished, or
//! until the VM waits itself (a prompt, for example). While the hypervisor's own prompt is open it is
//! the last line of the screen, and lines of VMs appear above it.

use super::line::{Edit, Line};
use crate::vm::VmId;
use core::fmt::{self, Write};
use heapless::Vec;

/// What the hypervisor's last line says, before the exit code. It starts on a line of its own whatever
/// came before, so that whoever reads the console can take it away again without loss.
pub const EXIT_LINE: &str = "\r\ntinyvmm: exit code ";

/// What stands in front of what is typed for the hypervisor.
const PROMPT: &[u8] = b"monitor> ";

/// Erases the line that the cursor is in (ECMA-48: EL).
const ERASE_LINE: &[u8] = b"\r\x1b[K";

/// Longest piece of a line that is kept back, in bytes.
const LINE_SIZE: usize = 256;

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

impl LineBuffer {
    /// Whether no line has been begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
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

/// What has been typed for the hypervisor.
#[derive(Debug, Clone)]
pub enum Typed {
    /// Nothing that is complete.
    Nothing,
    /// A line. The prompt is away until it is resumed.
    Line(Line),
    /// The user wants no prompt any more.
    Quit,
}

/// The console's output side.
pub struct Output<S> {
    sink: S,
    style: Style,
    open_line: OpenLine,
    prompt: Prompt,
    /// What VMs write is not sent.
    muted: bool,
}

/// What stands in the line of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenLine {
    None,
    /// An unfinished line of a VM.
    Of(VmId),
    /// The prompt.
    Prompt,
}

/// The hypervisor's own prompt.
enum Prompt {
    Closed,
    Open(Line),
    /// What was typed last is being carried out.
    Busy,
}

impl<S: Sink> Output<S> {
    /// An output whose cursor is at the start of a line.
    pub const fn new(sink: S) -> Self {
        Self { sink, style: Style::Bare, open_line: OpenLine::None, prompt: Prompt::Closed, muted: false }
    }

    /// The device below.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Chooses how VMs' output is told apart.
    pub fn set_style(&mut self, style: Style) {
        self.style = style;
    }

    /// Loses what VMs write from now on, or sends it again.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Sends what a VM wrote.
    pub fn write_guest(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer, bytes: &[u8]) {
        if self.muted {
            return;
        }
        if self.is_bare() {
            return self.write_bare(speaker.id, line, bytes);
        }
        bytes.iter().for_each(|byte| self.write_prefixed(speaker, line, *byte));
        self.show_prompt();
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
        if self.muted {
            return;
        }
        self.put_unfinished(speaker, line);
        self.show_prompt();
    }

    /// Writes lines of the hypervisor's own.
    pub fn write_own(&mut self, message: fmt::Arguments<'_>) {
        self.close_line();
        // Writing to a sink cannot fail.
        let _ = TextWriter(&mut self.sink).write_fmt(message);
        self.show_prompt();
    }

    /// Writes the line that says how the run ended, see [`EXIT_LINE`].
    pub fn write_exit_line(&mut self, code: u8) {
        self.close_prompt();
        let _ = write!(RawWriter(&mut self.sink), "{EXIT_LINE}{code}\r\n");
    }

    /// Opens the hypervisor's own prompt, or opens it again after a line was carried out.
    pub fn open_prompt(&mut self) {
        self.prompt = Prompt::Open(Line::default());
        self.show_prompt();
    }

    /// Takes the prompt away.
    pub fn close_prompt(&mut self) {
        if self.open_line == OpenLine::Prompt {
            self.close_line();
        }
        self.prompt = Prompt::Closed;
    }

    /// Takes what is typed at the prompt.
    pub fn type_at_prompt(&mut self, byte: u8) -> Typed {
        let Prompt::Open(line) = &mut self.prompt else { return Typed::Nothing };
        match line.edit(byte) {
            Edit::None => {}
            Edit::Appended => self.sink.put(byte),
            Edit::Changed => {
                self.close_line();
                self.show_prompt();
            }
            Edit::Done => {
                let line = core::mem::take(line);
                self.put_all(b"\r\n");
                self.open_line = OpenLine::None;
                self.prompt = Prompt::Busy;
                return Typed::Line(line);
            }
            Edit::Quit => return Typed::Quit,
        }
        Typed::Nothing
    }

    /// Beside the prompt, a VM's bytes would not be seen to be its own.
    fn is_bare(&self) -> bool {
        self.style == Style::Bare && matches!(self.prompt, Prompt::Closed)
    }

    /// Puts the prompt back where it belongs, if it is open.
    fn show_prompt(&mut self) {
        if self.open_line == OpenLine::Prompt || !matches!(self.prompt, Prompt::Open(_)) {
            return;
        }
        self.close_line();
        self.put_all(PROMPT);
        if let Prompt::Open(line) = &self.prompt {
            line.text().bytes().for_each(|byte| self.sink.put(byte));
        }
        self.open_line = OpenLine::Prompt;
    }

    fn write_bare(&mut self, id: VmId, line: &mut LineBuffer, bytes: &[u8]) {
        // Left from when the prompt was open.
        self.put_all(&line.bytes);
        line.bytes.clear();
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
                    self.put_unfinished(speaker, line);
                    // There is room now.
                    let _ = line.bytes.push(byte);
                }
            }
        }
    }

    fn put_unfinished(&mut self, speaker: Speaker<'_>, line: &mut LineBuffer) {
        if line.is_empty() {
            return;
        }
        if self.open_line != OpenLine::Of(speaker.id) {
            self.close_line();
            if !self.is_bare() {
                self.put_all(b"[");
                self.put_all(speaker.name.as_bytes());
                self.put_all(b"] ");
            }
            self.open_line = OpenLine::Of(speaker.id);
        }
        self.put_all(&line.bytes);
        line.bytes.clear();
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
        self.put_unfinished(speaker, line);
        self.put_all(b"\r\n");
        self.open_line = OpenLine::None;
    }

    fn close_line(&mut self) {
        match self.open_line {
            OpenLine::None => {}
            OpenLine::Of(_) => self.put_all(b"\r\n"),
            OpenLine::Prompt => self.put_all(ERASE_LINE),
        }
        self.open_line = OpenLine::None;
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

    /// An output with an open prompt, at which `status` has been typed.
    fn prompting() -> Output<Vec<u8>> {
        let mut output = Output::new(Vec::new());
        output.open_prompt();
        b"status".iter().for_each(|byte| drop(output.type_at_prompt(*byte)));
        output
    }

    #[test]
    fn lines_appear_above_the_prompt() {
        let (mut output, mut a) = (prompting(), LineBuffer::default());
        output.write_guest(A, &mut a, b"half ");
        assert_eq!(text(&output), "monitor> status", "until the line is finished");
        output.write_guest(A, &mut a, b"and half\n");
        let shown = "monitor> status\r\x1b[K[a] half and half\r\nmonitor> status";
        assert_eq!(text(&output), shown);
        output.write_guest(A, &mut a, b">>> ");
        output.flush(A, &mut a);
        assert_eq!(text(&output), alloc::format!("{shown}\r\x1b[K[a] >>> \r\nmonitor> status"));
    }

    #[test]
    fn the_prompt_comes_back_after_what_was_typed_is_done() {
        let mut output = prompting();
        assert!(matches!(output.type_at_prompt(b'\r'), Typed::Line(line) if line.text() == "status"));
        output.write_own(format_args!("fine\n"));
        assert!(matches!(output.type_at_prompt(b'x'), Typed::Nothing));
        output.open_prompt();
        assert_eq!(text(&output), "monitor> status\r\nfine\r\nmonitor> ");
        assert!(matches!(output.type_at_prompt(4), Typed::Quit));
    }

    #[test]
    fn what_vms_write_can_be_lost() {
        let (mut output, mut a) = (prefixed(), LineBuffer::default());
        output.write_guest(A, &mut a, b"one ");
        output.mute(true);
        output.write_guest(A, &mut a, b"lost\n");
        output.flush(A, &mut a);
        output.write_own(format_args!("own\n"));
        output.mute(false);
        output.write_guest(A, &mut a, b"two\n");
        assert_eq!(text(&output), "own\r\n[a] one two\r\n");
    }

    #[test]
    fn a_closed_prompt_leaves_the_console_bare() {
        let (mut output, mut a) = (prompting(), LineBuffer::default());
        output.write_guest(A, &mut a, b"half ");
        output.close_prompt();
        output.write_guest(A, &mut a, b"a line");
        assert_eq!(text(&output), "monitor> status\r\x1b[Khalf a line");
        output.write_exit_line(0);
        assert!(text(&output).ends_with("a line\r\ntinyvmm: exit code 0\r\n"));
    }
}
