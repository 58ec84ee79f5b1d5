//! Console input on its way to a VM.

use tinyvmm_abi::{CONSOLE_INPUT, CONSOLE_INTERRUPT};

/// Bytes that may wait for a VM. When it is full, the rest waits in the UART.
const SIZE: usize = 1024;
/// What Ctrl-C sends.
const CTRL_C: u8 = 3;

/// The bytes that wait to be read by a VM: a ring, which is filled and emptied by pieces.
#[derive(Debug)]
pub struct InputQueue {
    bytes: [u8; SIZE],
    /// Where the oldest is.
    start: usize,
    len: usize,
    interrupts: usize,
}

impl Default for InputQueue {
    fn default() -> Self {
        Self { bytes: [0; SIZE], start: 0, len: 0, interrupts: 0 }
    }
}

fn interrupts_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == CTRL_C).count()
}

impl InputQueue {
    /// How many more bytes can be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        SIZE - self.len
    }

    /// Whether so many bytes can be taken that it is worth while to fetch them.
    #[must_use]
    pub fn has_much_room(&self) -> bool {
        self.len <= SIZE / 2
    }

    /// Takes received bytes. Those that there is no room for are lost.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.room())];
        let end = (self.start + self.len) % SIZE;
        let (first, second) = bytes.split_at(bytes.len().min(SIZE - end));
        self.bytes[end..end + first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
        self.len += bytes.len();
        self.interrupts += interrupts_in(bytes);
    }

    /// Shows the oldest bytes to `take`, which says how many it has taken, until it takes none. Returns how many it took.
    pub fn read(&mut self, mut take: impl FnMut(&[u8]) -> usize) -> usize {
        let before = self.len;
        while self.len > 0 {
            let piece = &self.bytes[self.start..SIZE.min(self.start + self.len)];
            let taken = take(piece).min(piece.len());
            if taken == 0 {
                break;
            }
            if self.interrupts > 0 {
                self.interrupts -= interrupts_in(&piece[..taken]);
            }
            self.start = (self.start + taken) % SIZE;
            self.len -= taken;
        }
        before - self.len
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The console flags of the info page.
    #[must_use]
    pub fn flags(&self) -> u32 {
        let input = if self.is_empty() { 0 } else { CONSOLE_INPUT };
        let interrupt = if self.interrupts == 0 { 0 } else { CONSOLE_INTERRUPT };
        input | interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Reads up to so many bytes.
    fn read(queue: &mut InputQueue, count: usize) -> Vec<u8> {
        let mut read = Vec::new();
        queue.read(|piece| {
            let taken = piece.len().min(count - read.len());
            read.extend_from_slice(&piece[..taken]);
            taken
        });
        read
    }

    #[test]
    fn flags_follow_what_waits() {
        let mut queue = InputQueue::default();
        assert_eq!(queue.flags(), 0);
        queue.push(b"a\x03b");
        assert_eq!(queue.flags(), CONSOLE_INPUT | CONSOLE_INTERRUPT);
        assert_eq!(read(&mut queue, 2), b"a\x03");
        assert_eq!(queue.flags(), CONSOLE_INPUT);
        assert_eq!(read(&mut queue, 2), b"b");
        assert_eq!(queue.flags(), 0);
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut queue = InputQueue::default();
        queue.push(&[CTRL_C; SIZE - 1]);
        queue.push(b"ab");
        assert_eq!((queue.room(), queue.len()), (0, SIZE));
        let all = read(&mut queue, SIZE);
        assert_eq!((all.len(), all.last()), (SIZE, Some(&b'a')));
        assert_eq!(queue.flags(), 0);
    }

    #[test]
    fn what_goes_in_comes_out_across_the_end() {
        let mut queue = InputQueue::default();
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for round in 0..100_u8 {
            let piece: Vec<u8> =
                (0..usize::from(round) * 7).map(|at| round ^ u8::try_from(at % 251).unwrap()).collect();
            let piece = &piece[..piece.len().min(queue.room())];
            queue.push(piece);
            sent.extend_from_slice(piece);
            received.extend(read(&mut queue, 331));
        }
        received.extend(read(&mut queue, SIZE));
        assert!(sent.len() > 20 * SIZE && received == sent);
        assert_eq!(queue.flags(), 0);
    }
}
