//! The end of the log: what is older than fits is lost.

use core::fmt;
use tinyvmm_abi::vms::LOG_SIZE;

const SIZE: usize = 8 << 10;
const _: () = assert!(SIZE as u64 == LOG_SIZE);

/// The latest bytes of the log.
pub(super) struct Ring {
    bytes: [u8; SIZE],
    /// Bytes that were ever written.
    written: usize,
}

impl Ring {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; SIZE], written: 0 }
    }

    /// Gives `take` the last bytes, at most `limit`: from the start of a line, unless it is all that was written.
    pub(super) fn read(&self, limit: usize, mut take: impl FnMut(&[u8])) {
        let count = self.written.min(SIZE).min(limit);
        let mut start = self.written - count;
        if start > 0 && !self.ends_line(start - 1) {
            start = (start..self.written).find(|at| self.ends_line(*at)).map_or(self.written, |at| at + 1);
        }
        let length = self.written - start;
        let (wrapped, first) = self.bytes.split_at(start % SIZE);
        let split = length.min(first.len());
        take(&first[..split]);
        take(&wrapped[..length - split]);
    }

    /// Whether the byte that was written at this place is the last of a line. The one before the oldest is not known.
    fn ends_line(&self, at: usize) -> bool {
        at + SIZE >= self.written && self.bytes[at % SIZE] == b'\n'
    }
}

impl fmt::Write for Ring {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.bytes[self.written % SIZE] = byte;
            self.written += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec::Vec};
    use core::fmt::Write;

    fn read(ring: &Ring, limit: usize) -> String {
        let mut bytes = Vec::new();
        ring.read(limit, |piece| bytes.extend_from_slice(piece));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        let mut ring = Ring::new();
        assert_eq!(read(&ring, 100), "");
        ring.write_str("one\ntwo\n").unwrap();
        assert_eq!(read(&ring, 100), "one\ntwo\n");
        assert_eq!(
            (read(&ring, 7), read(&ring, 4), read(&ring, 3)),
            ("two\n".into(), "two\n".into(), "".into())
        );
        for n in 0..3000 {
            writeln!(ring, "line {n}").unwrap();
        }
        let all = read(&ring, usize::MAX);
        assert!(SIZE - 10 < all.len() && all.len() <= SIZE && all.starts_with("line "), "{}", all.len());
        assert!(all.ends_with("line 2998\nline 2999\n"));
        let mut next = all.lines().map(|line| line[5..].parse::<u32>().unwrap());
        let first = next.next().unwrap();
        assert!(next.eq(first + 1..3000), "no line is missing");
    }
}
