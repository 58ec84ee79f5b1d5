//! A split virtqueue (Virtual I/O Device 1.2, 2.7), seen from the device.
//!
//! ```text
//!   descriptor table    available ring            used ring
//!   address, length,    heads of chains that      heads of chains that the device
//!   flags, next         the driver offers, in     has done with, and how many bytes
//!                       order                     it wrote
//! ```
//!
//! All three are the driver's memory, which may lie and change at any time. Each field is read once; what is
//! made of it is checked; what cannot be is a [`Violation`], after which the device wants a reset (2.1.2).

use super::chain::{Chain, Descriptor, Link};
use crate::memory::{
    guest::{BadAddress, GuestMemory},
    window::Window,
};
use core::{
    fmt,
    sync::atomic::{Ordering, fence},
};

/// Most descriptors of a queue. A descriptor table of this size fits a [`Window`].
pub const SIZE_MAX: u16 = 256;

const DESCRIPTOR_SIZE: u64 = 16;
const RING_HEADER: u64 = 4;
const AVAILABLE_ENTRY: u64 = 2;
const USED_ENTRY: u64 = 8;
/// Offset of `flags` in both rings.
const FLAGS: u64 = 0;
/// Offset of `idx` in both rings.
const INDEX: u64 = 2;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u16 = 1;

/// Where a driver says that the parts of its queue are: guest physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Number of descriptors.
    pub size: u16,
    /// The descriptor table.
    pub descriptors: u64,
    /// The available ring: the driver area.
    pub available: u64,
    /// The used ring: the device area.
    pub used: u64,
}

/// A driver did what the standard forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The queue's size is not a power of two, or too large.
    Size(u16),
    /// A part of the queue is not aligned.
    Unaligned,
    /// A buffer or a part of the queue is not in RAM.
    Address,
    /// The available ring has more entries than the queue.
    Index,
    /// A descriptor that does not exist.
    NoSuchDescriptor(u16),
    /// A chain with more descriptors than a chain can have: a loop.
    TooLong,
    /// A table of indirect descriptors that is empty, or not a whole number of descriptors.
    IndirectSize(u32),
    /// A descriptor is indirect where it must not be.
    Indirect,
    /// What the device may read comes after what it may write.
    Order,
    /// A chain lacks a part that every request has.
    Incomplete,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => {
                write!(f, "a queue of {size} descriptors: up to {SIZE_MAX}, a power of two, are possible")
            }
            Self::Unaligned => f.write_str("a part of a queue is not aligned"),
            Self::Address => f.write_str("a buffer or a part of a queue is not in RAM"),
            Self::Index => f.write_str("more entries are available than the queue has"),
            Self::NoSuchDescriptor(number) => write!(f, "descriptor {number} does not exist"),
            Self::TooLong => f.write_str("a chain of descriptors is too long, or a loop"),
            Self::IndirectSize(size) => write!(f, "a table of indirect descriptors of {size} bytes"),
            Self::Indirect => f.write_str("an indirect descriptor where none is allowed"),
            Self::Order => f.write_str("a buffer to read comes after one to write"),
            Self::Incomplete => f.write_str("a request is incomplete"),
        }
    }
}

impl From<BadAddress> for Violation {
    fn from(_: BadAddress) -> Self {
        Self::Address
    }
}

/// How far a queue was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The driver wants an interrupt.
    pub has_news: bool,
    /// The driver offers more.
    pub has_more: bool,
}

/// How far a request was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// All of it, with so many bytes written into its buffers.
    Whole {
        /// Bytes that the device has written.
        written: u32,
    },
    /// A part of it: the rest follows when others had their turn.
    Part {
        /// Bytes that are done, from its beginning on.
        done: u64,
    },
    /// As much as could be: whoever makes more possible looks at the queue again.
    Later {
        /// Bytes that are done, from its beginning on.
        done: u64,
    },
}

/// A queue that the driver has set up.
pub struct Queue {
    size: u16,
    descriptors: Window,
    available: Window,
    used: Window,
    /// Whether both sides say by index when they want to hear of the other (`VIRTIO_F_EVENT_IDX`).
    has_event_index: bool,
    /// Entries of the available ring that were taken, and those that are known to be there.
    taken: u16,
    offered: u16,
    /// Entries of the used ring that were made, and those of which the driver has heard or did not want to.
    made: u16,
    told: u16,
    /// What is done of the next chain, in bytes.
    done: u64,
}

impl Queue {
    /// A queue as it is after a reset of the device, at the places that the driver has chosen.
    ///
    /// # Errors
    /// It cannot be there.
    pub fn new(memory: &GuestMemory, layout: Layout, has_event_index: bool) -> Result<Self, Violation> {
        let Layout { size, descriptors, available, used } = layout;
        if !size.is_power_of_two() || size > SIZE_MAX {
            return Err(Violation::Size(size));
        }
        let entries = u64::from(size);
        // Each ring ends with the index of an event (2.7.6, 2.7.8).
        let available_size = RING_HEADER + entries * AVAILABLE_ENTRY + 2;
        let used_size = RING_HEADER + entries * USED_ENTRY + 2;
        Ok(Self {
            size,
            descriptors: window(memory, descriptors, entries * DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)?,
            available: window(memory, available, available_size, 2)?,
            used: window(memory, used, used_size, 4)?,
            has_event_index,
            taken: 0,
            offered: 0,
            made: 0,
            told: 0,
            done: 0,
        })
    }

    /// Has `each` carry out what the driver offers, at most `limit` requests, so that nobody waits for long.
    ///
    /// # Errors
    /// What the driver offers is no request.
    #[inline]
    pub fn serve(
        &mut self,
        memory: &GuestMemory,
        limit: usize,
        mut each: impl FnMut(&Chain) -> Result<Served, Violation>,
    ) -> Result<Progress, Violation> {
        let mut chain = Chain::new();
        for _ in 0..limit {
            let is_taken = self.take(memory, &mut chain)?;
            if !(is_taken || self.await_more()? && self.take(memory, &mut chain)?) {
                return Ok(Progress { has_news: self.take_news(), has_more: false });
            }
            match each(&chain)? {
                Served::Whole { written } => self.give(&chain, written),
                Served::Part { done } => {
                    self.put_back(done);
                    return Ok(Progress { has_news: self.take_news(), has_more: true });
                }
                Served::Later { done } => {
                    self.put_back(done);
                    return Ok(Progress { has_news: self.take_news(), has_more: false });
                }
            }
        }
        Ok(Progress { has_news: self.take_news(), has_more: self.await_more()? })
    }

    /// Takes the next chain that the driver offers into `chain`. Returns whether there was one.
    ///
    /// # Errors
    /// What the driver offers is no chain.
    #[inline]
    pub fn take(&mut self, memory: &GuestMemory, chain: &mut Chain) -> Result<bool, Violation> {
        if self.taken == self.offered && !self.look()? {
            return Ok(false);
        }
        let entry = u64::from(self.taken & (self.size - 1));
        let head = self.available.load_u16(RING_HEADER + entry * AVAILABLE_ENTRY);
        self.taken = self.taken.wrapping_add(1);
        chain.start(head, core::mem::take(&mut self.done));
        self.follow(memory, chain)?;
        Ok(true)
    }

    /// Puts the chain that was taken last back, of which so many bytes are done: it comes again.
    pub fn put_back(&mut self, done: u64) {
        self.taken = self.taken.wrapping_sub(1);
        self.done = done;
    }

    /// Whether the driver offers something that was not taken yet.
    fn has_more(&mut self) -> Result<bool, Violation> {
        Ok(self.taken != self.offered || self.look()?)
    }

    /// Looks for new entries in the available ring.
    #[inline]
    fn look(&mut self) -> Result<bool, Violation> {
        self.offered = self.available.load_u16(INDEX);
        match self.offered.wrapping_sub(self.taken) {
            count if count > self.size => Err(Violation::Index),
            count => Ok(count != 0),
        }
    }

    /// Reads the chain of descriptors that starts at the chain's head.
    #[inline]
    fn follow(&self, memory: &GuestMemory, chain: &mut Chain) -> Result<(), Violation> {
        let mut next = chain.head();
        for _ in 0..self.size {
            let descriptor = self.descriptor(next)?;
            match chain.add(memory, descriptor)? {
                Link::Last => return Ok(()),
                Link::Next(number) => next = number,
                Link::Indirect => return chain.add_indirect(memory, descriptor),
            }
        }
        Err(Violation::TooLong)
    }

    #[inline]
    fn descriptor(&self, number: u16) -> Result<Descriptor, Violation> {
        if number >= self.size {
            return Err(Violation::NoSuchDescriptor(number));
        }
        let at = u64::from(number) * DESCRIPTOR_SIZE;
        Ok(Descriptor::new([self.descriptors.load_u64(at), self.descriptors.load_u64(at + 8)]))
    }

    /// Gives a chain back to the driver, with so many bytes written into it.
    #[inline]
    pub fn give(&mut self, chain: &Chain, written: u32) {
        let at = RING_HEADER + u64::from(self.made & (self.size - 1)) * USED_ENTRY;
        self.used.store_u32(at, u32::from(chain.head()));
        self.used.store_u32(at + 4, written);
        self.made = self.made.wrapping_add(1);
        self.used.store_u16(INDEX, self.made);
    }

    /// Whether the driver wants an interrupt for what was given back since the last call (2.7.7).
    #[inline]
    pub fn take_news(&mut self) -> bool {
        if self.made == self.told {
            return false;
        }
        let count = self.made.wrapping_sub(self.told);
        self.told = self.made;
        // The driver writes what it wants, and then looks at the used ring: one of the two sees the other.
        fence(Ordering::SeqCst);
        if !self.has_event_index {
            return self.available.load_u16(FLAGS) & NO_INTERRUPT == 0;
        }
        let wanted = self.available.load_u16(RING_HEADER + u64::from(self.size) * AVAILABLE_ENTRY);
        self.made.wrapping_sub(wanted).wrapping_sub(1) < count
    }

    /// Asks the driver to say when it offers more (2.7.10). Returns whether it has meanwhile.
    #[inline]
    fn await_more(&mut self) -> Result<bool, Violation> {
        if self.has_event_index {
            self.used.store_u16(RING_HEADER + u64::from(self.size) * USED_ENTRY, self.taken);
            fence(Ordering::SeqCst);
        }
        self.has_more()
    }
}

/// A window on a part of a queue.
fn window(memory: &GuestMemory, start: u64, len: u64, alignment: u64) -> Result<Window, Violation> {
    if !start.is_multiple_of(alignment) {
        return Err(Violation::Unaligned);
    }
    let range = memory.check(start, len)?;
    memory.window(range).ok_or(Violation::Address)
}
