//! What comes out of the hypervisor's serial port: the guests' output and, at the very end, the line that tells the
//! exit code.

use vmm::console::EXIT_LINE;

const LINE_END: &[u8] = b"\r\n";
const MAX_DIGITS: usize = 3;

/// Passes the console through and holds the exit line back.
///
/// A guest can print such a line as well, so it counts (and is left out) only where nothing follows it.
#[derive(Debug, Default)]
pub struct ExitFilter {
    /// What may be the beginning of the exit line, or is the whole of it.
    held: Vec<u8>,
    /// How many bytes of `held` were passed on already, because nothing came after them for a while.
    shown: usize,
}

impl ExitFilter {
    /// Takes console output and returns what is certain not to be the exit line.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.held.push(byte);
            while progress(&self.held) == Progress::None {
                passed.extend(self.release_first());
            }
        }
        passed
    }

    /// Whether a line has begun that [`flush`](Self::flush) would pass on.
    pub fn is_waiting(&self) -> bool {
        self.shown < self.held.len() && progress(&self.held) == Progress::Begun
    }

    /// Passes on what has been held for long: most likely just the end of a line of the guest.
    pub fn flush(&mut self) -> Vec<u8> {
        if !self.is_waiting() {
            return Vec::new();
        }
        let passed = self.held[self.shown..].to_vec();
        self.shown = self.held.len();
        passed
    }

    /// Ends the output: the exit code if the exit line came last, else what was still held.
    pub fn finish(self) -> Result<u8, Vec<u8>> {
        match progress(&self.held) {
            Progress::Whole(code) => Ok(code),
            _ => Err(self.held[self.shown..].to_vec()),
        }
    }

    /// Gives up the first held byte; returns it unless it was shown already.
    fn release_first(&mut self) -> Option<u8> {
        let byte = self.held.remove(0);
        match self.shown {
            0 => Some(byte),
            _ => {
                self.shown -= 1;
                None
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    None,
    Begun,
    Whole(u8),
}

/// How much of an exit line `bytes` is.
fn progress(bytes: &[u8]) -> Progress {
    let Some(rest) = bytes.strip_prefix(EXIT_LINE.as_bytes()) else {
        return if EXIT_LINE.as_bytes().starts_with(bytes) { Progress::Begun } else { Progress::None };
    };
    let (digits, end) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let code = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    match code {
        _ if digits.len() > MAX_DIGITS || !LINE_END.starts_with(end) => Progress::None,
        Some(code) if end == LINE_END => Progress::Whole(code),
        None if !end.is_empty() => Progress::None,
        _ => Progress::Begun,
    }
}

/// Turns the console's CR LF into LF, for output that does not go to a terminal.
#[derive(Debug, Default)]
pub struct Newlines {
    carriage_return: bool,
}

impl Newlines {
    /// Converts the next piece of output. A CR at its end waits for what follows.
    pub fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut converted = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.carriage_return && byte != b'\n' {
                converted.push(b'\r');
            }
            self.carriage_return = byte == b'\r';
            if !self.carriage_return {
                converted.push(byte);
            }
        }
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` byte by byte, which is the hardest way to cut it.
    fn run(text: &str) -> (String, Option<u8>) {
        let mut filter = ExitFilter::default();
        let mut out: Vec<u8> = text.bytes().flat_map(|byte| filter.feed(&[byte])).collect();
        let code = filter.finish().map_err(|rest| out.extend(rest)).ok();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn drops_the_exit_line_at_the_end() {
        assert_eq!(run("hello\r\n\r\ntinyvmm: exit code 7\r\n"), ("hello\r\n".into(), Some(7)));
        assert_eq!(run("\r\ntinyvmm: exit code 255\r\n"), (String::new(), Some(255)));
    }

    #[test]
    fn passes_a_forged_line_that_something_follows() {
        let forged = "\r\ntinyvmm: exit code 0\r\n";
        assert_eq!(run(&format!("{forged}\r\ntinyvmm: exit code 3\r\n")), (forged.into(), Some(3)));
        assert_eq!(run(&format!("{forged}more")), (format!("{forged}more"), None));
    }

    #[test]
    fn passes_what_only_looks_like_it() {
        for text in [
            "",
            "\r",
            "\r\n\r\n",
            "\r\r\n",
            "tinyvmm: exit code 1\r\n",
            "\r\ntinyvmm: exit code \r\n",
            "\r\ntinyvmm: exit code 256\r\n",
            "\r\ntinyvmm: exit code 0001\r\n",
            "\r\ntinyvmm: exit code 1",
            "\r\ntinyvmm: exit code 1\n",
            "\r\ntinyvmm: exit code -1\r\n",
        ] {
            assert_eq!(run(text), (text.into(), None), "{text:?}");
        }
    }

    #[test]
    fn a_line_end_that_waits_is_shown_once() {
        let mut filter = ExitFilter::default();
        assert_eq!(filter.feed(b"hi\r\n"), b"hi");
        assert!(filter.is_waiting());
        assert_eq!(filter.flush(), b"\r\n");
        assert_eq!(filter.flush(), b"");
        assert_eq!(filter.feed(b">>> "), b">>> ");
        assert_eq!(filter.feed(b"\r\n"), b"");
        assert_eq!(filter.flush(), b"\r\n");
        assert_eq!(filter.feed(b"tinyvmm: exit code 4\r\n"), b"");
        assert!(!filter.is_waiting());
        assert_eq!(filter.finish(), Ok(4));
    }

    #[test]
    fn newlines_are_converted_across_pieces() {
        let mut newlines = Newlines::default();
        assert_eq!(newlines.convert(b"a\r\nb\r"), b"a\nb");
        assert_eq!(newlines.convert(b"\nc\rd\r\r\n"), b"\nc\rd\r\n");
    }
}
