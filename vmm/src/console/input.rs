//! Console input on its way to a VM.

use heapless::Deque;
use tinyvmm_abi::{CONSOLE_INPUT, CONSOLE_INTERRUPT};

/// Bytes that may wait for a VM. When it is full, the rest waits in the UART.
const SIZE: usize = 1024;
/// What Ctrl-C sends.
const CTRL_C: u8 = 3;

/// The bytes that wait to be read by a VM.
#[derive(Debug, Default)]
pub struct InputQueue {
    bytes: Deque<u8, SIZE>,
    interrupts: usize,
}

impl InputQueue {
    /// How many more bytes can be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        SIZE - self.bytes.len()
    }

    /// Whether so many bytes can be taken that it is worth while to fetch them.
    #[must_use]
    pub fn has_much_room(&self) -> bool {
        self.bytes.len() <= SIZE / 2
    }

    /// Takes a received byte. It is lost when there is no room.
    pub fn push(&mut self, byte: u8) {
        if self.bytes.push_back(byte).is_ok() {
            self.interrupts += usize::from(byte == CTRL_C);
        }
    }

    /// Moves bytes into `buffer`, as many as it holds. Returns how many.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut count = 0;
        for slot in buffer {
            let Some(byte) = self.bytes.pop_front() else { break };
            self.interrupts -= usize::from(byte == CTRL_C);
            *slot = byte;
            count += 1;
        }
        count
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The console flags of the info page.
    #[must_use]
    pub fn flags(&self) -> u32 {
        let input = if self.bytes.is_empty() { 0 } else { CONSOLE_INPUT };
        let interrupt = if self.interrupts == 0 { 0 } else { CONSOLE_INTERRUPT };
        input | interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_follow_what_waits() {
        let mut queue = InputQueue::default();
        assert_eq!(queue.flags(), 0);
        b"a\x03b".iter().for_each(|byte| queue.push(*byte));
        assert_eq!(queue.flags(), CONSOLE_INPUT | CONSOLE_INTERRUPT);
        let mut two = [0; 2];
        assert_eq!(queue.read(&mut two), 2);
        assert_eq!((&two, queue.flags()), (b"a\x03", CONSOLE_INPUT));
        assert_eq!(queue.read(&mut two), 1);
        assert_eq!(queue.flags(), 0);
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut queue = InputQueue::default();
        (0..SIZE).for_each(|_| queue.push(CTRL_C));
        assert_eq!(queue.room(), 0);
        queue.push(CTRL_C);
        assert_eq!(queue.len(), SIZE);
        let mut all = [0; SIZE];
        queue.read(&mut all);
        assert_eq!(queue.flags(), 0);
    }
}
