//! A request: what a chain of descriptors leads to (Virtual I/O Device 1.2, 2.7.5).

use super::queue::Violation;
use crate::memory::guest::{GuestMemory, GuestRange};
use heapless::Vec;

/// Buffers that a chain can have: more than any request of these devices needs.
const SEGMENTS_MAX: usize = 32;

const DESCRIPTOR_SIZE: usize = 16;

/// A descriptor, read once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// `VIRTQ_DESC_F_NEXT`.
const NEXT: u16 = 1 << 0;
/// `VIRTQ_DESC_F_WRITE`.
const WRITE: u16 = 1 << 1;
/// `VIRTQ_DESC_F_INDIRECT`.
const INDIRECT: u16 = 1 << 2;

impl Descriptor {
    /// From its two words in memory.
    pub(super) const fn new([address, rest]: [u64; 2]) -> Self {
        let [a, b, c, d, e, f, g, h] = rest.to_le_bytes();
        Self {
            address,
            length: u32::from_le_bytes([a, b, c, d]),
            flags: u16::from_le_bytes([e, f]),
            next: u16::from_le_bytes([g, h]),
        }
    }

    const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What follows a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing.
    Last,
    /// Another one of the same table.
    Next(u16),
    /// It is not a buffer, but a table of further ones, which end the chain.
    Indirect,
}

/// The buffers of a request: first those that the device may read, then those that it may write.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    segments: Vec<GuestRange, SEGMENTS_MAX>,
    /// How many of them are to be read.
    readable: usize,
    /// Bytes that are done already.
    done: u64,
}

impl Chain {
    /// Room for a chain.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: 0, segments: Vec::new(), readable: 0, done: 0 }
    }

    /// Begins a chain, of which so many bytes are done.
    pub(super) fn start(&mut self, head: u16, done: u64) {
        self.segments.clear();
        (self.head, self.readable, self.done) = (head, 0, done);
    }

    /// Bytes of it that were done when it was put back.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Number of its first descriptor, by which the driver knows it.
    pub(super) const fn head(&self) -> u16 {
        self.head
    }

    /// Adds the buffer of a descriptor, unless that is an indirect one. Returns what follows.
    #[inline]
    pub(super) fn add(&mut self, memory: &GuestMemory, descriptor: Descriptor) -> Result<Link, Violation> {
        if descriptor.has(INDIRECT) {
            // 2.7.5.3.1: not with NEXT, whose field would be of no meaning.
            return if descriptor.has(NEXT) { Err(Violation::Indirect) } else { Ok(Link::Indirect) };
        }
        let segment = memory.check(descriptor.address, u64::from(descriptor.length))?;
        if !descriptor.has(WRITE) {
            if self.segments.len() > self.readable {
                return Err(Violation::Order);
            }
            self.readable += 1;
        }
        self.segments.push(segment).map_err(|_| Violation::TooLong)?;
        Ok(if descriptor.has(NEXT) { Link::Next(descriptor.next) } else { Link::Last })
    }

    /// Adds the buffers of a table of indirect descriptors.
    #[inline]
    pub(super) fn add_indirect(&mut self, memory: &GuestMemory, table: Descriptor) -> Result<(), Violation> {
        let size = u64::from(table.length);
        let count = size / DESCRIPTOR_SIZE as u64;
        if count == 0 || !size.is_multiple_of(DESCRIPTOR_SIZE as u64) {
            return Err(Violation::IndirectSize(table.length));
        }
        let range = memory.check(table.address, size)?;
        let mut next = 0;
        for _ in 0..count {
            if u64::from(next) >= count {
                return Err(Violation::NoSuchDescriptor(next));
            }
            let descriptor = read_descriptor(memory, range.skip(u64::from(next) * DESCRIPTOR_SIZE as u64));
            match self.add(memory, descriptor)? {
                Link::Last => return Ok(()),
                Link::Next(number) => next = number,
                Link::Indirect => return Err(Violation::Indirect),
            }
        }
        Err(Violation::TooLong)
    }

    /// What the device may read.
    #[must_use]
    pub fn to_read(&self) -> Cursor<'_> {
        Cursor::new(&self.segments[..self.readable])
    }

    /// What the device may write.
    #[must_use]
    pub fn to_write(&self) -> Cursor<'_> {
        Cursor::new(&self.segments[self.readable..])
    }
}

fn read_descriptor(memory: &GuestMemory, range: GuestRange) -> Descriptor {
    let mut words = [[0; size_of::<u64>()]; 2];
    memory.read(range, words.as_flattened_mut());
    Descriptor::new(words.map(u64::from_le_bytes))
}

/// The buffers of a request one after another, and how far they were used.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    segments: &'a [GuestRange],
    /// Bytes of the first segment that were used.
    done: u64,
    /// Bytes that are left in all.
    left: u64,
}

impl<'a> Cursor<'a> {
    fn new(segments: &'a [GuestRange]) -> Self {
        // Each is no longer than 32 bits tell, so that the sum is no problem.
        Self { segments, done: 0, left: segments.iter().map(|segment| segment.len()).sum() }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The first `count` bytes of what is left, and the rest.
    #[must_use]
    pub fn split_at(mut self, count: u64) -> (Self, Self) {
        let first = Self { left: self.left.min(count), ..self.clone() };
        self.skip(count);
        (first, self)
    }

    /// Fills `buffer` with what is read, as far as there is something. Returns the bytes read.
    #[inline]
    pub fn read(&mut self, memory: &GuestMemory, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let Some(piece) = self.next((buffer.len() - done) as u64) else { break };
            done += memory.read(piece, &mut buffer[done..]);
        }
        done
    }

    /// Writes `bytes`, as far as there is room. Returns the bytes written.
    #[inline]
    pub fn write(&mut self, memory: &GuestMemory, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let Some(piece) = self.next((bytes.len() - done) as u64) else { break };
            done += memory.write(piece, &bytes[done..]);
        }
        done
    }

    /// Leaves out so many bytes.
    pub fn skip(&mut self, count: u64) {
        let mut left = count;
        while left > 0 {
            let Some(piece) = self.next(left) else { return };
            left -= piece.len();
        }
    }

    /// The next bytes that are in one buffer, at most `limit`.
    #[inline]
    fn next(&mut self, limit: u64) -> Option<GuestRange> {
        loop {
            let (first, rest) = self.segments.split_first()?;
            let piece = first.skip(self.done).truncate(limit.min(self.left));
            if !piece.is_empty() {
                self.done += piece.len();
                self.left -= piece.len();
                return Some(piece);
            }
            if self.left == 0 {
                return None;
            }
            (self.segments, self.done) = (rest, 0);
        }
    }
}
