//! The uplink: a virtio network device of the board (Virtual I/O Device 1.2, 5.1), such as QEMU's `virt` can have one.
//!
//! The queues and the transport are those of the crate `virtio-drivers`. Nothing here waits: a frame that finds no room is
//! dropped, and what has come in is told by an interrupt.

use super::{FRAME_MAX, Mac};
use crate::{
    arch::gic,
    memory::{frames::FrameBlock, heap::FRAMES},
    platform::VirtioSlot,
    virtio_bus::{self, Memory},
};
use alloc::{boxed::Box, vec::Vec};
use bitflags::bitflags;
use core::ops::Range;
use spin::{Mutex, Once};
use virtio_drivers::{
    queue::VirtQueue,
    transport::{Transport, mmio::MmioTransport},
};

/// Numbers of the queues, and buffers of each.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const BUFFERS: usize = 128;
/// Size of a buffer in bytes.
const BUFFER_SIZE: usize = 2048;

/// Length of what stands in front of each frame (5.1.6), and of the same for legacy devices.
const HEADER: usize = 12;
const LEGACY_HEADER: usize = 10;
const _: () = assert!(HEADER + FRAME_MAX <= BUFFER_SIZE);

/// Frames that are taken for an interrupt. If there are more, another one follows.
const BATCH: usize = 32;

bitflags! {
    /// What a network device may offer, as far as it is used (5.1.3).
    #[derive(Debug, Clone, Copy)]
    struct Features: u64 {
        const MAC = 1 << 5;
        const VERSION_1 = 1 << 32;
    }
}

/// The board's network device.
pub struct Uplink {
    // Dropped first, which resets the device, before its buffers are given back.
    transport: Mutex<MmioTransport<'static>>,
    received: Mutex<Ring>,
    sent: Mutex<Ring>,
    header: usize,
    mac: Mac,
    interrupt: u32,
}

/// The uplink, once it was looked for.
static UPLINK: Once<Option<Uplink>> = Once::new();

/// The uplink, if it was wanted and the board has one.
pub fn get() -> Option<&'static Uplink> {
    UPLINK.get()?.as_ref()
}

/// Sets the uplink up when it is first wanted, to interrupt this core: no boot takes longer for a device that no VM has.
pub fn open() -> Option<&'static Uplink> {
    let uplink = UPLINK.call_once(|| {
        let slot = virtio_bus::find(virtio_bus::Kind::Network, 0)?;
        // SAFETY: it is opened once.
        unsafe { Uplink::open(slot) }
    });
    let uplink = uplink.as_ref()?;
    gic::enable(uplink.interrupt);
    Some(uplink)
}

/// Sends a frame to the uplink. If there is no room for it, it is lost.
pub fn send(frame: &[u8]) {
    if let Some(uplink) = get() {
        uplink.send(frame);
    }
}

impl Uplink {
    /// Sets up the device in a slot of the bus.
    ///
    /// # Safety
    /// It is one of [`virtio_bus::find`], and nothing else uses the device.
    unsafe fn open(slot: &VirtioSlot) -> Option<Self> {
        let interrupt = slot.interrupt?;
        // SAFETY: the caller's promise.
        let mut transport = unsafe { virtio_bus::transport(slot) }?;
        let features = transport.begin_init(Features::all());
        let header = if features.contains(Features::VERSION_1) { HEADER } else { LEGACY_HEADER };
        let mut mac = [0; 6];
        for (offset, byte) in mac.iter_mut().enumerate() {
            *byte = transport.read_config_space(offset).ok()?;
        }
        let (mut received, mut sent) =
            (Ring::new(&mut transport, RECEIVE)?, Ring::new(&mut transport, TRANSMIT)?);
        received.lend_all()?;
        // That a frame is on its way is seen when the next one follows.
        sent.queue.set_dev_notify(false);
        transport.finish_init();
        transport.notify(RECEIVE);
        let (received, sent, transport) = (Mutex::new(received), Mutex::new(sent), Mutex::new(transport));
        Some(Self { transport, received, sent, header, mac: Mac::from_bytes(mac), interrupt })
    }

    /// Its address.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Number of its interrupt.
    #[must_use]
    pub fn interrupt(&self) -> u32 {
        self.interrupt
    }

    /// Sends a frame. Returns whether there was room for it.
    fn send(&self, frame: &[u8]) -> bool {
        let mut ring = self.sent.lock();
        ring.reclaim();
        let length = self.header + frame.len();
        let Some(mut buffer) = ring.free.pop() else { return false };
        buffer.end = buffer.start + length;
        let (header, room) = ring.block.as_mut_slice()[buffer.clone()].split_at_mut(self.header);
        header.fill(0);
        room.copy_from_slice(frame);
        let is_sent = ring.lend(Direction::Out, buffer).is_some();
        if is_sent && ring.queue.should_notify() {
            self.transport.lock().notify(TRANSMIT);
        }
        is_sent
    }

    /// Passes on some of the frames that have come in, after an interrupt.
    pub fn receive(&self, mut take: impl FnMut(&[u8])) {
        let mut ring = self.received.lock();
        let (mut left, mut is_acknowledged) = (BATCH, false);
        while left > 0 {
            if let Some(buffer) = ring.pop(Direction::In) {
                let used = &ring.block.as_mut_slice()[buffer.clone()];
                used.get(self.header..).into_iter().for_each(&mut take);
                let _ = ring.lend(Direction::In, buffer.start..buffer.start + BUFFER_SIZE);
                left -= 1;
            } else if is_acknowledged {
                break;
            } else {
                // What comes in from here on interrupts again. What has come in before, which is no more than the device had
                // buffers for, is still to be seen.
                self.transport.lock().ack_interrupt();
                (left, is_acknowledged) = (BUFFERS, true);
            }
        }
        if ring.queue.should_notify() {
            self.transport.lock().notify(RECEIVE);
        }
    }
}

/// Which side writes a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// A queue with its buffers.
struct Ring {
    queue: VirtQueue<Memory, BUFFERS>,
    /// All the buffers.
    block: FrameBlock,
    /// Parts of it that the device does not have.
    free: Vec<Range<usize>>,
    /// Those that it has, by the queue's tokens.
    lent: Box<[Range<usize>]>,
}

impl Ring {
    fn new(transport: &mut MmioTransport<'_>, number: u16) -> Option<Self> {
        let queue = VirtQueue::new(transport, number, false, false).ok()?;
        let block = FrameBlock::zeroed(&FRAMES, (BUFFERS * BUFFER_SIZE) as u64).ok()?;
        let free = (0..BUFFERS).map(|index| index * BUFFER_SIZE..(index + 1) * BUFFER_SIZE).collect();
        Some(Self { queue, block, free, lent: core::iter::repeat_n(0..0, BUFFERS).collect() })
    }

    /// Lets the device write all buffers.
    fn lend_all(&mut self) -> Option<()> {
        while let Some(buffer) = self.free.pop() {
            self.lend(Direction::In, buffer)?;
        }
        Some(())
    }

    /// Gives the device a buffer.
    fn lend(&mut self, direction: Direction, buffer: Range<usize>) -> Option<()> {
        let bytes = &mut self.block.as_mut_slice()[buffer.clone()];
        // SAFETY: nobody touches the buffer until it was popped, for it is in `lent`; and the block lives as long as the
        // device has it: see `Uplink`.
        let token = unsafe {
            match direction {
                Direction::In => self.queue.add(&[], &mut [bytes]),
                Direction::Out => self.queue.add(&[bytes], &mut []),
            }
        };
        *self.lent.get_mut(usize::from(token.ok()?))? = buffer;
        Some(())
    }

    /// Takes back a buffer that the device has done with, as far as it has written it.
    fn pop(&mut self, direction: Direction) -> Option<Range<usize>> {
        let token = self.queue.peek_used()?;
        let buffer = self.lent.get(usize::from(token))?.clone();
        let bytes = &mut self.block.as_mut_slice()[buffer.clone()];
        // SAFETY: the buffer that was added with this token.
        let written = unsafe {
            match direction {
                Direction::In => self.queue.pop_used(token, &[], &mut [bytes]),
                Direction::Out => self.queue.pop_used(token, &[bytes], &mut []),
            }
        };
        let written = usize::try_from(written.ok()?).unwrap_or(0).min(buffer.len());
        Some(buffer.start..buffer.start + written)
    }

    /// Takes back all buffers that the device has sent.
    fn reclaim(&mut self) {
        while let Some(Range { start, .. }) = self.pop(Direction::Out) {
            self.free.push(start..start + BUFFER_SIZE);
        }
    }
}
