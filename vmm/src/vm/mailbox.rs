//! Messages on their way to a VM.
//!
//! A ring of bytes: each message is a header (its sender and its length) and its bytes, filled up to a whole number of
//! headers, so that no header wraps around. The sender copies straight in, the receiver straight out.

use super::VmId;
use crate::memory::frames::{FrameAllocator, FrameBlock, OutOfFrames};
use tinyvmm_abi::vms::{MAILBOX_SIZE, MESSAGE_HEADER, MESSAGE_MAX};

const SIZE: usize = 16 << 10;
const HEADER: usize = 8;
const _: () = assert!(SIZE as u64 == MAILBOX_SIZE && HEADER as u64 == MESSAGE_HEADER);
const _: () = assert!(SIZE.is_multiple_of(HEADER));
const _: () = assert!(MESSAGE_MAX <= MAILBOX_SIZE - MESSAGE_HEADER);

/// The messages that wait for a VM.
pub struct Mailbox {
    ring: FrameBlock,
    /// Where the first message begins.
    head: usize,
    used: usize,
    /// A message found no room since the last one was taken.
    refused: bool,
}

/// What stands in front of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Number of the VM that sent it.
    pub sender: u32,
    /// Length in bytes.
    pub length: u32,
}

impl Header {
    /// What stands in front of a message of this VM's.
    #[must_use]
    pub fn of(VmId(index): VmId, length: u64) -> Self {
        Self {
            sender: u32::try_from(index + 1).unwrap_or(u32::MAX),
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }

    fn to_bytes(self) -> [u8; HEADER] {
        (u64::from(self.sender) << 32 | u64::from(self.length)).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; HEADER]) -> Self {
        let [l0, l1, l2, l3, s0, s1, s2, s3] = bytes;
        Self { sender: u32::from_le_bytes([s0, s1, s2, s3]), length: u32::from_le_bytes([l0, l1, l2, l3]) }
    }

    fn length(self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    /// Bytes of the ring that the message takes.
    fn size(self) -> usize {
        self.length().next_multiple_of(HEADER) + HEADER
    }
}

impl Mailbox {
    /// An empty mailbox.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(frames: &'static FrameAllocator) -> Result<Self, OutOfFrames> {
        Ok(Self { ring: FrameBlock::zeroed(frames, MAILBOX_SIZE)?, head: 0, used: 0, refused: false })
    }

    /// Adds a message, whose bytes `fill` gives, piece by piece. Returns whether there was room.
    pub fn push(&mut self, header: Header, mut fill: impl FnMut(&mut [u8])) -> bool {
        if header.size() > SIZE - self.used {
            self.refused = true;
            return false;
        }
        let at = self.head + self.used;
        self.pieces(at, HEADER)[0].copy_from_slice(&header.to_bytes());
        self.pieces(at + HEADER, header.length()).into_iter().for_each(&mut fill);
        self.used += header.size();
        true
    }

    /// What stands in front of the first message, if there is one.
    #[must_use]
    pub fn first(&mut self) -> Option<Header> {
        if self.used == 0 {
            return None;
        }
        let mut bytes = [0; HEADER];
        bytes.copy_from_slice(self.pieces(self.head, HEADER)[0]);
        Some(Header::from_bytes(bytes))
    }

    /// Takes out the first message, which has this header: `take` gets its bytes, piece by piece. Returns whether another
    /// one found no room before.
    pub fn pop(&mut self, header: Header, mut take: impl FnMut(&[u8])) -> bool {
        self.pieces(self.head + HEADER, header.length()).into_iter().for_each(|piece| take(piece));
        self.head = (self.head + header.size()) % SIZE;
        self.used -= header.size();
        core::mem::take(&mut self.refused)
    }

    /// The `length` bytes from `at` on, which may go on at the start of the ring.
    fn pieces(&mut self, at: usize, length: usize) -> [&mut [u8]; 2] {
        let (start, end) = self.ring.as_mut_slice().split_at_mut(at % SIZE);
        let first = length.min(end.len());
        [&mut end[..first], &mut start[..length - first]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::frames::tests::frames;
    use alloc::{collections::VecDeque, vec, vec::Vec};
    use proptest::prelude::*;

    fn push(mailbox: &mut Mailbox, sender: u32, message: &[u8]) -> bool {
        let mut rest = message;
        mailbox.push(Header { sender, length: u32::try_from(message.len()).unwrap() }, |piece| {
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
        })
    }

    /// The first message with its sender, and whether another one was refused.
    fn pop(mailbox: &mut Mailbox) -> Option<(u32, Vec<u8>, bool)> {
        let header = mailbox.first()?;
        let mut message = Vec::new();
        let refused = mailbox.pop(header, |piece| message.extend_from_slice(piece));
        Some((header.sender, message, refused))
    }

    #[test]
    fn a_full_box_refuses_until_one_is_taken() {
        let mut mailbox = Mailbox::new(frames(16)).unwrap();
        let message = [7; 4096];
        assert_eq!([0; 4].map(|_| push(&mut mailbox, 1, &message)), [true, true, true, false]);
        assert!(push(&mut mailbox, 2, b""), "a small one finds room");
        assert_eq!(pop(&mut mailbox).unwrap(), (1, message.to_vec(), true));
        assert!(!pop(&mut mailbox).unwrap().2);
        assert_eq!(pop(&mut mailbox).unwrap().0, 1);
        assert_eq!(pop(&mut mailbox).unwrap(), (2, vec![], false));
        assert_eq!(pop(&mut mailbox), None);
    }

    proptest! {
        /// What is taken is what was put in, in the same order, whatever the lengths.
        #[test]
        fn nothing_is_lost_or_changed(
            steps in prop::collection::vec((any::<bool>(), 0_u16..=4096, any::<u8>()), 0..200),
        ) {
            let mut mailbox = Mailbox::new(frames(16)).unwrap();
            let mut expected: VecDeque<(u32, Vec<u8>)> = VecDeque::new();
            for (index, (put, length, fill)) in (0..).zip(steps) {
                if put {
                    let message: Vec<u8> = (0..length).map(|n| fill.wrapping_add(n.to_le_bytes()[0])).collect();
                    let held: usize = expected.iter().map(|(_, m)| 8 + m.len().next_multiple_of(8)).sum();
                    let fits = held + 8 + message.len().next_multiple_of(8) <= SIZE;
                    prop_assert_eq!(push(&mut mailbox, index, &message), fits);
                    if fits { expected.push_back((index, message)); }
                } else {
                    let taken = pop(&mut mailbox).map(|(sender, message, _)| (sender, message));
                    prop_assert_eq!(taken, expected.pop_front());
                }
            }
        }
    }
}
