//! Virtio block devices on a virtio-mmio bus (Virtual I/O Device 1.2, 4.2 and 5.2), such as QEMU's `virt` has them.
//!
//! The queue and the transport are those of the crate `virtio-drivers`. Its own block driver waits for ever.

use super::{BlockDevice, Error};
use crate::{
    deadline::Deadline,
    platform::VirtioSlot,
    virtio_bus::{self, Memory},
};
use bitflags::bitflags;
use tinyvmm_abi::disks::SECTOR_SIZE;
use virtio_drivers::{
    queue::VirtQueue,
    transport::{DeviceStatus, Transport, mmio::MmioTransport},
};

/// The one queue of a block device, and the entries that are used of it: a request has three parts.
const QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 4;
/// Offsets of the capacity in the configuration, in sectors.
const CAPACITY: [usize; 2] = [0, 4];
/// Longest time for a request: a file of a busy host may take seconds.
const PATIENCE_MS: u64 = 10_000;

bitflags! {
    /// What a block device may offer, as far as it is used (5.2.3).
    #[derive(Debug, Clone, Copy)]
    struct Features: u64 {
        const READ_ONLY = 1 << 5;
        const FLUSH = 1 << 9;
        const VERSION_1 = 1 << 32;
    }
}

/// `type` of a request (5.2.6).
#[derive(Debug, Clone, Copy)]
enum Kind {
    In = 0,
    Out = 1,
    Flush = 4,
}

/// A request has succeeded.
const STATUS_OK: u8 = 0;

/// A virtio block device.
pub(super) struct VirtioDisk {
    // The transport resets the device when it is dropped, before the memory of the queue is given back.
    transport: MmioTransport<'static>,
    queue: VirtQueue<Memory, QUEUE_SIZE>,
    sectors: u64,
    features: Features,
}

impl VirtioDisk {
    /// Sets up the device in a slot of the bus.
    ///
    /// # Safety
    /// It is one of [`virtio_bus::find`], and nothing else uses the device.
    pub(super) unsafe fn open(slot: &VirtioSlot) -> Option<Self> {
        // SAFETY: the caller's promise.
        let mut transport = unsafe { virtio_bus::transport(slot) }?;
        let features = transport.begin_init(Features::all());
        let read = |at| transport.read_config_space::<u32>(at).ok().map(u64::from);
        let [low, high] = CAPACITY.map(read);
        let sectors = high? << 32 | low?;
        let queue = VirtQueue::new(&mut transport, QUEUE, false, false).ok()?;
        transport.finish_init();
        Some(Self { transport, queue, sectors, features })
    }

    /// Has the device read or write in `data`, whichever `kind` says, or flush.
    fn request(&mut self, kind: Kind, sector: u64, data: Data<'_>) -> Result<(), Error> {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&(kind as u32).to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        let mut status = [u8::MAX];
        match data {
            Data::None => self.exchange(&[&header], &mut [&mut status]),
            Data::In(buffer) => self.exchange(&[&header], &mut [buffer, &mut status]),
            Data::Out(bytes) => self.exchange(&[&header, bytes], &mut [&mut status]),
        }?;
        if status == [STATUS_OK] { Ok(()) } else { Err(Error::Failed) }
    }

    /// Passes a request to the device and waits until it has used it.
    fn exchange<'a>(&mut self, inputs: &'a [&'a [u8]], outputs: &'a mut [&'a mut [u8]]) -> Result<(), Error> {
        // SAFETY: the buffers are left alone until the device has used them or is reset, below.
        let token = unsafe { self.queue.add(inputs, outputs) }.map_err(|_| Error::Failed)?;
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
        if !Deadline::after_ms(PATIENCE_MS).wait(|| self.queue.can_pop()) {
            self.transport.set_status(DeviceStatus::empty());
            return Err(Error::Gone);
        }
        // SAFETY: the buffers that were added with this token.
        let used = unsafe { self.queue.pop_used(token, inputs, outputs) };
        used.map(drop).map_err(|_| Error::Gone)
    }
}

/// What goes with a request.
enum Data<'a> {
    None,
    In(&'a mut [u8]),
    Out(&'a [u8]),
}

impl BlockDevice for VirtioDisk {
    fn sectors(&self) -> u64 {
        self.sectors.min(u64::MAX / SECTOR_SIZE)
    }

    fn is_read_only(&self) -> bool {
        self.features.contains(Features::READ_ONLY)
    }

    fn read(&mut self, sector: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.request(Kind::In, sector, Data::In(buffer))
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), Error> {
        self.request(Kind::Out, sector, Data::Out(data))
    }

    /// A device that does not offer it has written before it says so (5.2.6.2).
    fn flush(&mut self) -> Result<(), Error> {
        match self.features.contains(Features::FLUSH) {
            true => self.request(Kind::Flush, 0, Data::None),
            false => Ok(()),
        }
    }
}
