//! Drivers for virtio devices (Virtual I/O Device 1.2, 4.2), for vCPU 0: registers and queues.
//!
//! Each buffer has the descriptor of its number for good: what is on its way is told by the rings alone. A driver may
//! also make descriptors of its own.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use guest_rt::abi::virt::{VIRTIO_BASE, VIRTIO_INTID, VIRTIO_SPACING};

use crate::gic::{self, read, write};

/// Buffers of each queue.
pub const BUFFERS: u16 = 64;
/// Size of a buffer.
pub const BUFFER_SIZE: usize = 2048;

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

/// `VIRTIO_F_RING_EVENT_IDX` and, in the second word, `VIRTIO_F_VERSION_1`.
const FEATURES: [u32; 2] = [1 << 29, 1 << 0];
/// ACKNOWLEDGE, DRIVER and FEATURES_OK; DRIVER_OK.
const AGREED: u32 = 0b1011;
const DRIVER_OK: u32 = 1 << 2;
/// `VIRTQ_DESC_F_NEXT` and `VIRTQ_DESC_F_WRITE`.
pub const NEXT: u64 = 1 << 0;
/// `VIRTQ_DESC_F_NEXT` and `VIRTQ_DESC_F_WRITE`.
pub const WRITE: u64 = 1 << 1;

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

/// A device.
pub struct Device {
    base: u64,
    intid: u32,
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

impl Device {
    /// The first device of a kind, with its interrupt on.
    ///
    /// # Panics
    /// There is none.
    pub fn find(kind: u32) -> Self {
        let is_of_kind = |slot: &u64| read(VIRTIO_BASE + slot * VIRTIO_SPACING + register::DEVICE_ID) == kind;
        let slot = (0..32).find(is_of_kind).expect("a device of this kind");
        let intid = VIRTIO_INTID + u32::try_from(slot).unwrap_or(0);
        gic::init();
        gic::enable(intid, 0x80);
        Self { base: VIRTIO_BASE + slot * VIRTIO_SPACING, intid }
    }

    /// Resets it, and sets it up with these queues.
    ///
    /// # Panics
    /// It refuses.
    pub fn set_up(&self, queues: &mut [&mut Queue]) {
        self.write(register::STATUS, 0);
        queues.iter_mut().for_each(|queue| queue.reset());
        for (select, features) in (0..).zip(FEATURES) {
            self.write(register::DRIVER_FEATURES_SELECT, select);
            self.write(register::DRIVER_FEATURES, features);
        }
        self.write(register::STATUS, AGREED);
        assert!(self.read(register::STATUS) == AGREED, "the device refuses its features");
        (0..).zip(queues).for_each(|(number, queue)| self.lay_out(number, queue.shared));
        self.write(register::STATUS, AGREED | DRIVER_OK);
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

    /// Lets it look at a queue, if it wants to know that something was offered.
    pub fn notify(&self, number: u32, queue: &mut Queue) {
        if queue.wants_to_know() {
            self.write(register::QUEUE_NOTIFY, number);
        }
    }

    /// Waits for an interrupt of it, once.
    ///
    /// # Panics
    /// Something else interrupts.
    pub fn wait(&self) {
        gic::wait();
        if let Some(acknowledged) = gic::acknowledge() {
            assert!(gic::intid(acknowledged) == self.intid, "an interrupt of the device");
            self.write(register::INTERRUPT_ACK, self.read(register::INTERRUPT_STATUS));
            gic::end(acknowledged);
        }
    }
}

impl Queue {
    /// Queue number `number`. What is offered by [`offer`](Self::offer) has these flags. To be called once.
    pub fn new(number: usize, flags: u64) -> Self {
        Self { shared: &QUEUES[number], flags, offered: 0, told: 0, seen: 0 }
    }

    /// As it is when the device was reset.
    fn reset(&mut self) {
        (self.offered, self.told, self.seen) = (0, 0, 0);
        self.shared.available.index.store(0, Ordering::Relaxed);
        self.shared.available.used_event.store(0, Ordering::Relaxed);
        self.shared.used.index.store(0, Ordering::Relaxed);
        self.shared.used.available_event.store(0, Ordering::Relaxed);
    }

    /// A buffer that the device has not got.
    pub fn buffer(&mut self, number: u16) -> &mut [u8; BUFFER_SIZE] {
        // SAFETY: see `Shared`.
        unsafe { &mut *self.shared.buffers[usize::from(number)].get() }
    }

    /// The number of the buffer to offer next, if they are offered in turn.
    pub fn next(&self) -> u16 {
        self.offered % BUFFERS
    }

    /// Offers so many bytes of a buffer to the device.
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

    /// Whether the device wants to know of what was offered since the last call.
    fn wants_to_know(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let wanted = self.shared.used.available_event.load(Ordering::Relaxed);
        let told = core::mem::replace(&mut self.told, self.offered);
        self.offered.wrapping_sub(wanted).wrapping_sub(1) < self.offered.wrapping_sub(told)
    }

    /// Whether the device has used a buffer that was not seen yet. If not, it interrupts when it has.
    pub fn has_used(&self) -> bool {
        let has_used = || self.shared.used.index.load(Ordering::Acquire) != self.seen;
        if has_used() {
            return true;
        }
        self.shared.available.used_event.store(self.seen, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        has_used()
    }

    /// The next buffer that the device has used, and how much of it the device has written.
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
