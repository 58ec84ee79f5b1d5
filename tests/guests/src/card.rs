//! A driver for a virtio network card (Virtual I/O Device 1.2, 4.2 and 5.1), for vCPU 0.
//!
//! Each buffer has the descriptor of its number for good: what is on its way is told by the rings alone.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use guest_rt::abi::virt::{VIRTIO_BASE, VIRTIO_INTID, VIRTIO_SPACING};

use crate::gic::{self, read, write};

/// Buffers of each queue.
pub const BUFFERS: u16 = 64;
/// Length of what stands in front of a frame.
pub const HEADER: usize = 12;
/// Size of a buffer, header included.
pub const BUFFER_SIZE: usize = 2048;

/// Numbers of the queues.
pub const RECEIVE: usize = 0;
/// Numbers of the queues.
pub const TRANSMIT: usize = 1;

/// Registers.
pub mod register {
    #![allow(missing_docs)]
    pub const DEVICE_ID: u64 = 0x008;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub const QUEUE_SELECT: u64 = 0x030;
    pub const QUEUE_SIZE: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const DESCRIPTORS: u64 = 0x080;
    pub const AVAILABLE: u64 = 0x090;
    pub const USED: u64 = 0x0a0;
    pub const CONFIG: u64 = 0x100;
}

/// Device number of a network card.
const NETWORK: u32 = 1;
/// `VIRTIO_F_RING_EVENT_IDX` and, in the second word, `VIRTIO_F_VERSION_1`.
const FEATURES: [u32; 2] = [1 << 29, 1 << 0];
/// ACKNOWLEDGE, DRIVER and FEATURES_OK; DRIVER_OK.
const AGREED: u32 = 0b1011;
const DRIVER_OK: u32 = 1 << 2;
/// `VIRTQ_DESC_F_WRITE`.
const WRITE: u64 = 1 << 1;

/// The memory of a queue, which the device reads and writes at any time.
#[repr(C, align(4096))]
struct Shared {
    /// Address; length, flags and next.
    descriptors: [[AtomicU64; 2]; BUFFERS as usize],
    available: Available,
    used: Used,
    buffers: [UnsafeCell<[u8; BUFFER_SIZE]>; BUFFERS as usize],
}

#[repr(C)]
struct Available {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [AtomicU16; BUFFERS as usize],
    used_event: AtomicU16,
}

#[repr(C, align(4))]
struct Used {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [[AtomicU32; 2]; BUFFERS as usize],
    available_event: AtomicU16,
}

// SAFETY: a buffer is touched by the one [`Queue`] that has this memory, and only while the device has not got it.
unsafe impl Sync for Shared {}

static QUEUES: [Shared; 2] = [const {
    Shared {
        descriptors: [const { [const { AtomicU64::new(0) }; 2] }; _],
        available: Available {
            flags: AtomicU16::new(0),
            index: AtomicU16::new(0),
            ring: [const { AtomicU16::new(0) }; _],
            used_event: AtomicU16::new(0),
        },
        used: Used {
            flags: AtomicU16::new(0),
            index: AtomicU16::new(0),
            ring: [const { [const { AtomicU32::new(0) }; 2] }; _],
            available_event: AtomicU16::new(0),
        },
        buffers: [const { UnsafeCell::new([0; _]) }; _],
    }
}; 2];

/// The network card of the VM.
pub struct Card {
    base: u64,
    intid: u32,
    /// Its address.
    pub mac: [u8; 6],
    /// What the card receives.
    pub received: Queue,
    /// What it sends.
    pub sent: Queue,
}

/// One of its queues.
pub struct Queue {
    shared: &'static Shared,
    flags: u64,
    /// Entries of the available ring that were made, and those that the device was told of.
    offered: u16,
    told: u16,
    /// Entries of the used ring that were seen.
    seen: u16,
}

impl Card {
    /// Sets the card up, with all buffers for what it receives. To be called once.
    ///
    /// # Panics
    /// There is none, or it refuses.
    pub fn start() -> Self {
        let slot =
            (0..32).find(|slot| read(VIRTIO_BASE + slot * VIRTIO_SPACING + register::DEVICE_ID) == NETWORK);
        let slot = slot.expect("a network card");
        let base = VIRTIO_BASE + slot * VIRTIO_SPACING;
        let intid = VIRTIO_INTID + u32::try_from(slot).unwrap_or(0);
        let [received, sent] =
            [(RECEIVE, WRITE), (TRANSMIT, 0)].map(|(number, flags)| Queue::new(number, flags));
        let [low, high] = [0, 4].map(|offset| read(base + register::CONFIG + offset).to_le_bytes());
        let mac = [low[0], low[1], low[2], low[3], high[0], high[1]];
        let mut card = Self { base, intid, mac, received, sent };
        card.set_up();
        gic::init();
        gic::enable(intid, 0x80);
        card
    }

    /// Resets the card, and sets it up again.
    pub fn restart(&mut self) {
        [&mut self.received, &mut self.sent].into_iter().for_each(Queue::reset);
        self.set_up();
    }

    fn set_up(&mut self) {
        self.write(register::STATUS, 0);
        for (select, features) in (0..).zip(FEATURES) {
            self.write(register::DRIVER_FEATURES_SELECT, select);
            self.write(register::DRIVER_FEATURES, features);
        }
        self.write(register::STATUS, AGREED);
        assert!(self.read(register::STATUS) == AGREED, "the card refuses its features");
        (0..)
            .zip([self.received.shared, self.sent.shared])
            .for_each(|(number, shared)| self.lay_out(number, shared));
        self.write(register::STATUS, AGREED | DRIVER_OK);
        (0..BUFFERS).for_each(|number| self.received.offer(number, BUFFER_SIZE));
    }

    fn lay_out(&self, number: u32, shared: &Shared) {
        self.write(register::QUEUE_SELECT, number);
        self.write(register::QUEUE_SIZE, u32::from(BUFFERS));
        let parts = [
            (register::DESCRIPTORS, (&raw const shared.descriptors).addr()),
            (register::AVAILABLE, (&raw const shared.available).addr()),
            (register::USED, (&raw const shared.used).addr()),
        ];
        for (at, address) in parts {
            self.write(at, u32::try_from(address).expect("an address of RAM"));
            self.write(at + 4, 0);
        }
        self.write(register::QUEUE_READY, 1);
    }

    /// What a register holds.
    pub fn read(&self, offset: u64) -> u32 {
        read(self.base + offset)
    }

    /// Changes a register.
    pub fn write(&self, offset: u64, value: u32) {
        write(self.base + offset, value);
    }

    /// Lets the card send what it was offered.
    pub fn notify(&mut self) {
        if self.sent.wants_to_know() {
            self.write(register::QUEUE_NOTIFY, 1);
        }
    }

    /// Waits until the card has used something that was not seen yet, in one of the queues.
    pub fn wait(&self) {
        while !self.received.has_used() && !self.sent.has_used() {
            gic::wait();
            if let Some(acknowledged) = gic::acknowledge() {
                assert!(gic::intid(acknowledged) == self.intid, "an interrupt of the card");
                self.write(register::INTERRUPT_ACK, self.read(register::INTERRUPT_STATUS));
                gic::end(acknowledged);
            }
        }
    }
}

impl Queue {
    fn new(number: usize, flags: u64) -> Self {
        Self { shared: &QUEUES[number], flags, offered: 0, told: 0, seen: 0 }
    }

    /// As it is when the card was reset.
    fn reset(&mut self) {
        (self.offered, self.told, self.seen) = (0, 0, 0);
        self.shared.available.index.store(0, Ordering::Relaxed);
        self.shared.available.used_event.store(0, Ordering::Relaxed);
        self.shared.used.index.store(0, Ordering::Relaxed);
        self.shared.used.available_event.store(0, Ordering::Relaxed);
    }

    /// A buffer that the card has not got.
    pub fn buffer(&mut self, number: u16) -> &mut [u8; BUFFER_SIZE] {
        // SAFETY: see `Shared`.
        unsafe { &mut *self.shared.buffers[usize::from(number)].get() }
    }

    /// The number of the buffer to offer next, if they are offered in turn.
    pub fn next(&self) -> u16 {
        self.offered % BUFFERS
    }

    /// Offers so many bytes of a buffer to the card.
    pub fn offer(&mut self, number: u16, length: usize) {
        let address = self.shared.buffers[usize::from(number)].get().expose_provenance();
        self.describe(number, address as u64, length as u64 | self.flags << 32);
        self.offer_chain(number);
    }

    /// Makes a descriptor whatever it is: address; length, flags and next.
    pub fn describe(&mut self, number: u16, address: u64, rest: u64) {
        let [first, second] = &self.shared.descriptors[usize::from(number % BUFFERS)];
        first.store(address, Ordering::Relaxed);
        second.store(rest, Ordering::Relaxed);
    }

    /// Offers the chain that starts there.
    pub fn offer_chain(&mut self, head: u16) {
        let available = &self.shared.available;
        available.ring[usize::from(self.offered % BUFFERS)].store(head, Ordering::Relaxed);
        self.offered = self.offered.wrapping_add(1);
        available.index.store(self.offered, Ordering::Release);
    }

    /// Says that so many more chains were offered than were.
    pub fn boast(&mut self, count: u16) {
        self.offered = self.offered.wrapping_add(count);
        self.shared.available.index.store(self.offered, Ordering::Release);
    }

    /// Whether the card wants to know of what was offered since the last call.
    fn wants_to_know(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let wanted = self.shared.used.available_event.load(Ordering::Relaxed);
        let told = core::mem::replace(&mut self.told, self.offered);
        self.offered.wrapping_sub(wanted).wrapping_sub(1) < self.offered.wrapping_sub(told)
    }

    /// Whether the card has used a buffer that was not seen yet. If not, it interrupts when it has.
    pub fn has_used(&self) -> bool {
        let has_used = || self.shared.used.index.load(Ordering::Acquire) != self.seen;
        if has_used() {
            return true;
        }
        self.shared.available.used_event.store(self.seen, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        has_used()
    }

    /// The next buffer that the card has used, and how much of it the card has written.
    pub fn take(&mut self) -> Option<(u16, usize)> {
        if self.shared.used.index.load(Ordering::Acquire) == self.seen {
            return None;
        }
        let [number, written] = &self.shared.used.ring[usize::from(self.seen % BUFFERS)];
        self.seen = self.seen.wrapping_add(1);
        let [number, written] = [number, written].map(|field| field.load(Ordering::Relaxed));
        Some((u16::try_from(number).ok()?, usize::try_from(written).ok()?))
    }
}
