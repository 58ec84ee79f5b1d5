//! What the two sides say, as bytes and as lines.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc};

/// Bytes of a bundle that are sent at a time; only the last block has fewer.
pub const BLOCK_SIZE: usize = 1024;
/// Longest content of a frame: a kind, a sequence number, a block with its number, and a checksum.
pub const MESSAGE_SIZE: usize = 1 + 4 + 4 + BLOCK_SIZE + 4;
/// How a line begins that is an answer. No line of a guest does: each has the VM's name in front.
pub const REPLY_MARK: &str = "tinyvmm receive ";

const BEGIN: u8 = b'B';
const BLOCK: u8 = b'D';
const END: u8 = b'E';
const ABORT: u8 = b'A';
const CLOSE: u8 = b'C';

/// The CRC-32 of Ethernet, zip and PNG (ISO/IEC 8802-3, 3.2.9).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

/// What tells a bundle from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its length in bytes.
    pub length: u32,
    /// The checksum of all of it.
    pub checksum: u32,
}

impl Identity {
    /// The identity of a bundle; `None` if it is too long to be sent.
    #[must_use]
    pub fn of(bundle: &[u8]) -> Option<Self> {
        Some(Self { length: u32::try_from(bundle.len()).ok()?, checksum: checksum(bundle) })
    }
}

/// What the sender wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Send this bundle; go on with it if a part of it is there.
    Begin(Identity),
    /// The block with this number, counted from 0.
    Block(u32, &'a [u8]),
    /// All was sent: check the bundle and run it.
    End,
    /// Forget what was sent.
    Abort,
    /// Give the console back. Not answered.
    Close,
}

/// A request with the number that its answer bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Another one for each message. The first is any number: a guest that cannot know it cannot answer.
    pub sequence: u32,
    /// What is wanted.
    pub request: Request<'a>,
}

impl<'a> Message<'a> {
    /// The content of its frame.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, numbers, data): (u8, &[u32], &[u8]) = match &self.request {
            Request::Begin(identity) => (BEGIN, &[identity.length, identity.checksum], &[]),
            Request::Block(number, data) => (BLOCK, core::slice::from_ref(number), data),
            Request::End => (END, &[], &[]),
            Request::Abort => (ABORT, &[], &[]),
            Request::Close => (CLOSE, &[], &[]),
        };
        let mut bytes = Vec::from([kind]);
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(data);
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the content of a frame; `None` if it is not as it was sent.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (rest, sum) = bytes.split_last_chunk()?;
        if checksum(rest) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (kind, rest) = rest.split_first()?;
        let (sequence, rest) = number(rest)?;
        let request = match (*kind, rest) {
            (BEGIN, rest) => Request::Begin(identity(rest)?),
            (BLOCK, rest) => {
                let (number, data) = number(rest)?;
                Request::Block(number, data)
            }
            (END, []) => Request::End,
            (ABORT, []) => Request::Abort,
            (CLOSE, []) => Request::Close,
            _ => return None,
        };
        Some(Self { sequence, request })
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn identity(bytes: &[u8]) -> Option<Identity> {
    let (length, rest) = number(bytes)?;
    match number(rest)? {
        (checksum, []) => Some(Identity { length, checksum }),
        _ => None,
    }
}

/// What the receiver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It listens from now on.
    Ready,
    /// Something came that was not as it was sent: say it again.
    Again,
    /// The block with this number comes next; or [`Request::End`], if there is none.
    Want(u32),
    /// The bundle is good, and its VMs take the place of the others.
    Done,
    /// What was sent is forgotten.
    Aborted,
    /// It cannot be done, for this reason; all is as it was, and what was sent is forgotten.
    Refused(String),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Again => f.write_str("again"),
            Self::Want(number) => write!(f, "want {number}"),
            Self::Done => f.write_str("done"),
            Self::Aborted => f.write_str("aborted"),
            Self::Refused(reason) => write!(f, "refused {reason}"),
        }
    }
}

impl Reply {
    /// The line, without its end, that answers the message with this number; 0 if there is none.
    #[must_use]
    pub fn to_line(&self, sequence: u32) -> String {
        let text = format!("{REPLY_MARK}{sequence} {self}").replace(['\r', '\n'], " ");
        let sum = checksum(text.as_bytes());
        format!("{text} *{sum:08x}")
    }

    /// Reads a line; `None` if it is no answer, or not as it was sent.
    #[must_use]
    pub fn parse(line: &str) -> Option<(u32, Self)> {
        let (text, sum) = line.rsplit_once(" *")?;
        if u32::from_str_radix(sum, 16) != Ok(checksum(text.as_bytes())) {
            return None;
        }
        let (sequence, words) = text.strip_prefix(REPLY_MARK)?.split_once(' ')?;
        let reply = match words.split_once(' ').unwrap_or((words, "")) {
            ("ready", "") => Self::Ready,
            ("again", "") => Self::Again,
            ("want", number) => Self::Want(number.parse().ok()?),
            ("done", "") => Self::Done,
            ("aborted", "") => Self::Aborted,
            ("refused", reason) => Self::Refused(reason.to_string()),
            _ => return None,
        };
        Some((sequence.parse().ok()?, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        let data = [0xc0; BLOCK_SIZE];
        let identity = Identity { length: 5, checksum: u32::MAX };
        for request in [
            Request::Begin(identity),
            Request::Block(3, &data),
            Request::Block(u32::MAX, &[]),
            Request::End,
            Request::Abort,
            Request::Close,
        ] {
            let message = Message { sequence: 0x8765_4321, request };
            let bytes = message.to_bytes();
            assert!(bytes.len() <= MESSAGE_SIZE);
            assert_eq!(Message::parse(&bytes), Some(message));
        }
    }

    #[test]
    fn replies_are_read_as_they_were_written() {
        for reply in [
            Reply::Ready,
            Reply::Again,
            Reply::Want(7),
            Reply::Done,
            Reply::Aborted,
            Reply::Refused("no *room* for it".into()),
        ] {
            assert_eq!(Reply::parse(&reply.to_line(9)), Some((9, reply)));
        }
        assert_eq!(Reply::Want(2).to_line(1), "tinyvmm receive 1 want 2 *faf146a7");
        assert_eq!(Reply::parse("[a] tinyvmm receive 1 want 2 *faf146a7"), None);
    }

    #[test]
    fn a_reason_stays_in_its_line() {
        let line = Reply::Refused("two\nlines\r".into()).to_line(1);
        assert_eq!(Reply::parse(&line), Some((1, Reply::Refused("two lines ".into()))));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found(data in prop::collection::vec(any::<u8>(), 0..64), bit: prop::sample::Index) {
            let mut bytes = Message { sequence: 5, request: Request::Block(1, &data) }.to_bytes();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Message::parse(&bytes), None);
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes: Vec<u8>, line in "\\PC*") {
            let _ = Message::parse(&bytes);
            let _ = Reply::parse(&line);
        }
    }
}
