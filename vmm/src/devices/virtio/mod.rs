//! Virtio devices on a memory-mapped bus (Virtual I/O Device 1.2, 4.2), version 2 of the registers.
//!
//! ```text
//!   driver's loads and stores         driver's memory
//!            |                              |
//!   +--------v--------+   set-up   +--------v-------+   chains   +--------------------+
//!   | Slot, Transport |----------->| Queue (window) |----------->| block, console ... |
//!   +-----------------+            +----------------+            +--------------------+
//!            | interrupt's level
//! ```
//!
//! A [`Slot`] is the same for all kinds of devices. What a device does with the requests in its queues is a function of a
//! queue, the guest's memory, and whatever is behind the device. A driver that breaks the rules gets a device that wants a
//! reset ([`Status::NEEDS_RESET`](transport::Status)), and no more.

pub mod block;
pub mod chain;
pub mod console;
pub mod entropy;
pub mod net;
pub mod queue;
#[cfg(test)]
mod tests;
pub mod transport;
pub mod vsock;

use super::Width;
use crate::{memory::guest::GuestMemory, word::low_word};
use bitflags::bitflags;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use queue::{Progress, Queue, Violation};
use spin::Mutex;
use transport::{Event, Features, Identity, QUEUES_MAX, Status, Transport, register};

/// Kinds of devices (5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network card.
    Network = 1,
    /// A disk.
    Block = 2,
    /// A serial line.
    Console = 3,
    /// A source of random bytes.
    Entropy = 4,
    /// A socket.
    Socket = 19,
}

impl Kind {
    /// What it is called in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "virtio-net",
            Self::Block => "virtio-blk",
            Self::Console => "virtio-console",
            Self::Entropy => "virtio-rng",
            Self::Socket => "virtio-vsock",
        }
    }
}

bitflags! {
    /// Why a device interrupts (4.2.2, `InterruptStatus`).
    struct Interrupt: u32 {
        /// The device has used a buffer.
        const USED = 1 << 0;
        /// The configuration has changed, or the device wants a reset.
        const CONFIGURATION = 1 << 1;
    }
}

/// What a driver's store asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Nothing more.
    None,
    /// To look at this queue.
    Serve(usize),
    /// To bring the interrupt line up to date.
    UpdateLine,
    /// To [acknowledge](Slot::acknowledge) these reasons for an interrupt, and to tell what is left of the line.
    Acknowledge(u32),
}

/// A device on the bus: its registers and queues.
pub struct Slot {
    transport: Mutex<Transport>,
    queues: [Mutex<Option<Queue>>; QUEUES_MAX],
    interrupt: AtomicU32,
    /// The driver is ready, and has broken no rule.
    is_live: AtomicBool,
    /// The driver has broken a rule.
    is_broken: AtomicBool,
}

impl Slot {
    /// A device as it is after a reset.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            transport: Mutex::new(Transport::new(identity)),
            queues: [const { Mutex::new(None) }; QUEUES_MAX],
            interrupt: AtomicU32::new(0),
            is_live: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        }
    }

    /// Whether it asserts its interrupt.
    #[must_use]
    pub fn interrupt_level(&self) -> bool {
        self.interrupt.load(Ordering::SeqCst) != 0
    }

    /// Takes back reasons for an interrupt. Returns whether others are left just then: what the device has to say after
    /// that makes the line rise again, however soon it comes.
    pub fn acknowledge(&self, reasons: u32) -> bool {
        self.interrupt.fetch_and(!reasons, Ordering::SeqCst) & !reasons != 0
    }

    /// What is at `offset`.
    #[inline]
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        if (offset, width) == (register::INTERRUPT_STATUS, Width::Word) {
            return u64::from(self.interrupt.load(Ordering::SeqCst));
        }
        let value = self.transport.lock().read(offset, width);
        let is_status = (offset, width) == (register::STATUS, Width::Word);
        let broken = is_status && self.is_broken.load(Ordering::SeqCst);
        value | if broken { u64::from(Status::NEEDS_RESET.bits()) } else { 0 }
    }

    /// Changes what is at `offset`.
    #[inline]
    pub fn write(&self, memory: &GuestMemory, offset: u64, width: Width, value: u64) -> Request {
        match (offset, width) {
            (register::QUEUE_NOTIFY, Width::Word) => {
                usize::try_from(low_word(value)).map_or(Request::None, Request::Serve)
            }
            (register::INTERRUPT_ACK, Width::Word) => Request::Acknowledge(low_word(value)),
            _ => self.set_up(memory, offset, width, value),
        }
    }

    #[inline(never)]
    fn set_up(&self, memory: &GuestMemory, offset: u64, width: Width, value: u64) -> Request {
        let mut transport = self.transport.lock();
        match transport.write(offset, width, value) {
            Event::None => Request::None,
            Event::Reset => self.reset(),
            Event::Live => {
                self.is_live.store(!self.is_broken.load(Ordering::SeqCst), Ordering::SeqCst);
                Request::None
            }
            Event::Start(index, layout) => {
                let has_event_index = transport.features().contains(Features::EVENT_INDEX);
                match Queue::new(memory, layout, has_event_index) {
                    Ok(queue) => *self.queues[index].lock() = Some(queue),
                    Err(violation) => {
                        log::debug!("{}: queue {index}: {violation}", transport.kind().name());
                        return self.give_up();
                    }
                }
                Request::None
            }
            Event::Stop(index) => {
                *self.queues[index].lock() = None;
                Request::None
            }
        }
    }

    fn reset(&self) -> Request {
        self.is_live.store(false, Ordering::SeqCst);
        self.queues.iter().for_each(|queue| *queue.lock() = None);
        self.is_broken.store(false, Ordering::SeqCst);
        self.interrupt.store(0, Ordering::SeqCst);
        Request::UpdateLine
    }

    /// The driver has broken a rule: the device does nothing more until it is reset, and says so (2.1.2).
    fn give_up(&self) -> Request {
        self.is_broken.store(true, Ordering::SeqCst);
        if self.is_live.swap(false, Ordering::SeqCst) {
            self.interrupt.fetch_or(Interrupt::CONFIGURATION.bits(), Ordering::SeqCst);
        }
        Request::UpdateLine
    }

    /// Has `serve` look at a queue, if the driver uses it. The interrupt line may be another one after that.
    #[inline]
    pub fn serve(
        &self,
        index: usize,
        serve: impl FnOnce(&mut Queue) -> Result<Progress, Violation>,
    ) -> Progress {
        let Some(queue) = self.queues.get(index) else { return Progress::default() };
        let mut queue = queue.lock();
        let Some(queue) = queue.as_mut().filter(|_| self.is_live.load(Ordering::SeqCst)) else {
            return Progress::default();
        };
        match serve(queue) {
            Ok(progress) => {
                if progress.has_news {
                    self.interrupt.fetch_or(Interrupt::USED.bits(), Ordering::SeqCst);
                }
                progress
            }
            Err(violation) => self.stop(index, violation),
        }
    }

    #[cold]
    fn stop(&self, index: usize, violation: Violation) -> Progress {
        log::debug!("virtio queue {index}: {violation}");
        self.give_up();
        Progress { has_news: true, has_more: false }
    }
}
