//! Messages for and from a `virt` machine, whose programs find them at a port of the hypervisor's as a stream of
//! [`Record`]s, each followed by the bytes of its message.

use crate::devices::virtio::vsock::Service;
use alloc::{boxed::Box, vec};
use core::mem::offset_of;
use heapless::Deque;
use tinyvmm_abi::{
    EMSGSIZE,
    vms::{CHANNEL_PORT, MESSAGE_MAX, Record, VM_NAME_SIZE},
};

const HEADER: usize = size_of::<Record>();
const LENGTH: usize = offset_of!(Record, length);
const ERROR: usize = offset_of!(Record, error);
/// Size of the longest record with its message.
const SIZE: usize = HEADER + 4096;
const _: () = assert!(SIZE as u64 == HEADER as u64 + MESSAGE_MAX);

/// Messages that were refused, and of which the guest was not told yet.
const REFUSALS: usize = 8;

/// Both directions of a stream.
pub struct Channel {
    /// What comes from the guest.
    incoming: Box<[u8]>,
    received: usize,
    /// Bytes of a message that is too long, which are left out.
    ignored: u32,
    /// What goes to the guest.
    outgoing: Box<[u8]>,
    sent: usize,
    end: usize,
    refusals: Deque<Refusal, REFUSALS>,
    /// The guest sends on and on, but does not read what becomes of it.
    is_overrun: bool,
}

/// Who did not get a message, and why.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    receiver: Name,
    error: u32,
}

type Name = [u8; VM_NAME_SIZE];

/// A message that has come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Name of the VM that shall get it.
    pub receiver: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Channel {
    /// A channel that is not in use.
    #[must_use]
    pub fn new() -> Self {
        let buffer = || vec![0; SIZE].into_boxed_slice();
        Self {
            incoming: buffer(),
            received: 0,
            ignored: 0,
            outgoing: buffer(),
            sent: 0,
            end: 0,
            refusals: Deque::new(),
            is_overrun: false,
        }
    }

    /// Whether there is room for a message to the guest.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sent == self.end
    }

    /// The message that has come, if it is whole.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        let end = self.length()?.checked_add(HEADER)?;
        let bytes = self.incoming.get(HEADER..end).filter(|_| self.received == end)?;
        Some(Message { receiver: self.receiver(), bytes })
    }

    /// The length of the message that comes, if that is known already.
    fn length(&self) -> Option<usize> {
        let bytes = self.incoming.get(LENGTH..ERROR)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok().filter(|_| self.received >= HEADER)
    }

    fn receiver(&self) -> &str {
        let name = &self.incoming[..VM_NAME_SIZE];
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        core::str::from_utf8(&name[..length]).unwrap_or_default()
    }

    /// The message that had come is seen to, or refused with an error number.
    pub fn settle(&mut self, result: Result<(), i64>) {
        self.received = 0;
        let Err(number) = result else { return };
        let mut receiver = [0; VM_NAME_SIZE];
        receiver.copy_from_slice(&self.incoming[..VM_NAME_SIZE]);
        let refusal = Refusal { receiver, error: u32::try_from(number).unwrap_or(u32::MAX) };
        self.is_overrun |= self.refusals.push_back(refusal).is_err();
        self.tell_refusal();
    }

    /// Tells the guest of the next message that was refused, when it has got everything before.
    fn tell_refusal(&mut self) {
        if self.has_room()
            && let Some(Refusal { receiver, error }) = self.refusals.pop_front()
        {
            self.put_header(&receiver, 0, error);
        }
    }

    /// Puts a message for the guest, from the VM of this name, whose bytes `fill` gives. There has to be room.
    pub fn put(&mut self, sender: &Name, length: u32, fill: impl FnOnce(&mut [u8])) {
        let Some(end) = usize::try_from(length).ok().map(|length| HEADER + length).filter(|end| *end <= SIZE)
        else {
            return;
        };
        self.put_header(sender, length, 0);
        fill(&mut self.outgoing[HEADER..end]);
        self.end = end;
    }

    fn put_header(&mut self, name: &Name, length: u32, error: u32) {
        self.outgoing[..LENGTH].copy_from_slice(name);
        self.outgoing[LENGTH..ERROR].copy_from_slice(&length.to_le_bytes());
        self.outgoing[ERROR..HEADER].copy_from_slice(&error.to_le_bytes());
        (self.sent, self.end) = (0, HEADER);
    }

    /// Leaves out what follows of a message that is too long. Returns how many bytes.
    fn ignore(&mut self, count: usize) -> usize {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.ignored);
        self.ignored -= count;
        usize::try_from(count).unwrap_or(0)
    }

    /// Takes bytes of a record up to `end`. Returns how many.
    fn append(&mut self, bytes: &[u8], end: usize) -> usize {
        let count = bytes.len().min(end - self.received);
        self.incoming[self.received..self.received + count].copy_from_slice(&bytes[..count]);
        self.received += count;
        count
    }

    /// Takes bytes that follow one another. Returns how many: none if it has to be seen to something before.
    fn take_some(&mut self, bytes: &[u8]) -> usize {
        if self.ignored > 0 {
            return self.ignore(bytes.len());
        }
        match self.length() {
            None => self.append(bytes, HEADER),
            Some(length) if HEADER + length <= SIZE => self.append(bytes, HEADER + length),
            Some(length) => {
                self.settle(Err(EMSGSIZE));
                self.ignored = u32::try_from(length).unwrap_or(u32::MAX);
                self.ignore(bytes.len())
            }
        }
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::new()
    }
}

impl Service for Channel {
    const PORT: u32 = CHANNEL_PORT;

    fn begin(&mut self) {
        (self.received, self.ignored, self.sent, self.end) = (0, 0, 0, 0);
        self.refusals.clear();
        self.is_overrun = false;
    }

    fn is_over(&self) -> bool {
        self.is_overrun
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.take_some(&bytes[taken..]) {
                0 => break,
                count => taken += count,
            }
        }
        taken
    }

    fn offer(&self) -> &[u8] {
        &self.outgoing[self.sent..self.end]
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        self.tell_refusal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use tinyvmm_abi::{EAGAIN, ESRCH};

    fn name(text: &str) -> Name {
        let mut name = [0; VM_NAME_SIZE];
        name[..text.len()].copy_from_slice(text.as_bytes());
        name
    }

    fn record(receiver: &str, length: u32, bytes: &[u8]) -> Vec<u8> {
        [&name(receiver)[..], &length.to_le_bytes(), &[0; 4], bytes].concat()
    }

    /// What the guest gets.
    fn got(channel: &mut Channel) -> Vec<u8> {
        let offered = channel.offer().to_vec();
        channel.advance(offered.len());
        offered
    }

    #[test]
    fn a_message_comes_whole_and_one_after_another() {
        let mut channel = Channel::new();
        let two = [record("a", 3, b"abc"), record("b", 0, b"")].concat();
        assert_eq!(channel.take(&two), HEADER + 3);
        assert_eq!(channel.message(), Some(Message { receiver: "a", bytes: b"abc" }));
        channel.settle(Ok(()));
        assert_eq!(channel.message(), None);
        assert!(got(&mut channel).is_empty());
        assert_eq!(channel.take(&two[HEADER + 3..]), HEADER);
        assert_eq!(channel.message(), Some(Message { receiver: "b", bytes: b"" }));
    }

    #[test]
    fn what_is_refused_is_told() {
        let mut channel = Channel::new();
        channel.take(&record("nobody", 1, b"x"));
        channel.settle(Err(ESRCH));
        let told = [&name("nobody")[..], &[0; 4], &3_u32.to_le_bytes()].concat();
        channel.take(&record("box", 0, b""));
        channel.settle(Err(EAGAIN));
        assert_eq!(got(&mut channel), told);
        assert_eq!(got(&mut channel)[..LENGTH], name("box"));
        assert!(channel.has_room() && !channel.is_over());
        let long = record("b", 5000, &[1; 5000]);
        assert_eq!(channel.take(&[&long[..], &record("c", 0, b"")].concat()), long.len() + HEADER);
        assert_eq!(got(&mut channel)[ERROR..], 90_u32.to_le_bytes());
        assert_eq!(channel.message().unwrap().receiver, "c");
    }

    #[test]
    fn who_never_reads_is_left() {
        let mut channel = Channel::new();
        for _ in 0..REFUSALS + 2 {
            assert!(!channel.is_over());
            channel.take(&record("nobody", 0, b""));
            channel.settle(Err(ESRCH));
        }
        assert!(channel.is_over());
        channel.begin();
        assert!(!channel.is_over() && channel.has_room());
    }

    #[test]
    fn a_message_for_the_guest_has_its_sender() {
        let mut channel = Channel::new();
        channel.put(&name("peer"), 2, |bytes| bytes.copy_from_slice(b"hi"));
        assert!(!channel.has_room());
        assert_eq!(got(&mut channel), record("peer", 2, b"hi"));
        assert!(channel.has_room());
    }

    proptest! {
        /// Whatever the pieces, and whatever nonsense: what is whole comes out, in order.
        #[test]
        fn pieces_make_no_difference(lengths in prop::collection::vec(0_u32..5000, 1..6), piece in 1_usize..6000) {
            let mut channel = Channel::new();
            let records = lengths.iter().map(|length| record("x", *length, &vec![7; usize::try_from(*length).unwrap()]));
            let stream: Vec<u8> = records.flatten().collect();
            let (mut rest, mut seen) = (&stream[..], Vec::new());
            while !rest.is_empty() {
                let taken = channel.take(&rest[..piece.min(rest.len())]);
                rest = &rest[taken..];
                let refused = got(&mut channel);
                if !refused.is_empty() {
                    seen.push(None);
                }
                if let Some(message) = channel.message() {
                    seen.push(Some(message.bytes.len()));
                    channel.settle(Ok(()));
                }
            }
            let expected = lengths.iter().map(|length| (*length <= 4096).then(|| usize::try_from(*length).unwrap()));
            prop_assert_eq!(seen, expected.collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
            let mut channel = Channel::new();
            channel.take(&bytes);
            let _ = channel.message();
            got(&mut channel);
        }
    }
}
