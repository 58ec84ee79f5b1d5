//! A line as it is typed at the hypervisor's own prompt.

use heapless::Vec;

/// Longest line in bytes.
const SIZE: usize = 80;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// A line that is being typed.
#[derive(Debug, Clone, Default)]
pub struct Line {
    bytes: Vec<u8, SIZE>,
    sequence: Sequence,
}

/// Where in a terminal's escape sequence (ECMA-48, 5.4) the input is: keys without a character send one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    Begun,
    Inside,
}

/// What a byte has done to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Nothing.
    None,
    /// It stands at the end now.
    Appended,
    /// The line has changed otherwise.
    Changed,
    /// The line is complete.
    Done,
    /// The user wants no more lines.
    Quit,
}

impl Line {
    /// Takes a byte.
    pub fn edit(&mut self, byte: u8) -> Edit {
        if self.skips(byte) {
            return Edit::None;
        }
        match byte {
            b'\r' | b'\n' => Edit::Done,
            CTRL_D if self.bytes.is_empty() => Edit::Quit,
            BACKSPACE | DELETE => self.bytes.pop().map_or(Edit::None, |_| Edit::Changed),
            CTRL_C | CTRL_U => {
                self.bytes.clear();
                Edit::Changed
            }
            b' '..=b'~' if self.bytes.push(byte).is_ok() => Edit::Appended,
            _ => Edit::None,
        }
    }

    /// Whether a byte belongs to an escape sequence.
    fn skips(&mut self, byte: u8) -> bool {
        let (next, skips) = match (self.sequence, byte) {
            (_, ESCAPE) => (Sequence::Begun, true),
            (Sequence::Begun, b'[' | b'O') => (Sequence::Inside, true),
            (Sequence::Inside, b' '..=b'?') => (Sequence::Inside, true),
            (Sequence::Inside, b'@'..=b'~') => (Sequence::None, true),
            _ => (Sequence::None, false),
        };
        self.sequence = next;
        skips
    }

    /// What has been typed.
    #[must_use]
    pub fn text(&self) -> &str {
        // Nothing but printable ASCII is taken.
        core::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Line, Edit) {
        let mut line = Line::default();
        let last = keys.iter().fold(Edit::None, |_, key| line.edit(*key));
        (line, last)
    }

    #[test]
    fn a_line_is_edited() {
        let (line, edit) = typed(b"lost\x15kilx\x7fl a\x08b\r");
        assert_eq!((line.text(), edit), ("kill b", Edit::Done));
        assert_eq!(typed(b"\x7f").1, Edit::None);
        assert_eq!(typed(b"abc\x03").1, Edit::Changed);
    }

    #[test]
    fn ctrl_d_quits_at_the_start_only() {
        assert_eq!(typed(b"\x04").1, Edit::Quit);
        assert_eq!(typed(b"a\x04").1, Edit::None);
    }

    #[test]
    fn keys_without_a_character_do_nothing() {
        let (line, edit) = typed(b"a\x1b[A\x1b[1;5D\x1bOPb\xc3\xa4\x07");
        assert_eq!((line.text(), edit), ("ab", Edit::None));
    }

    #[test]
    fn a_line_has_an_end() {
        let (line, edit) = typed(&[b'x'; SIZE + 1]);
        assert_eq!((line.text().len(), edit), (SIZE, Edit::None));
    }
}
