//! The registers of a device on the bus (Virtual I/O Device 1.2, 4.2.2), as far as they set the device up. What a driver
//! uses all the time, its notifications and the interrupt's status, is the [`Slot`](super::Slot)'s.

use super::{Kind, queue::Layout};
use crate::{
    devices::Width,
    word::{high_word, low_word},
};
use bitflags::bitflags;
use heapless::Vec;

/// Most queues of a device.
pub const QUEUES_MAX: usize = 3;
/// Most bytes of a device's configuration.
const CONFIG_MAX: usize = 32;

/// Offsets of the registers (table 4.1).
pub(super) mod register {
    pub(in super::super) const MAGIC: u64 = 0x000;
    pub(in super::super) const VERSION: u64 = 0x004;
    pub(in super::super) const DEVICE_ID: u64 = 0x008;
    pub(in super::super) const VENDOR_ID: u64 = 0x00c;
    pub(in super::super) const DEVICE_FEATURES: u64 = 0x010;
    pub(in super::super) const DEVICE_FEATURES_SELECT: u64 = 0x014;
    pub(in super::super) const DRIVER_FEATURES: u64 = 0x020;
    pub(in super::super) const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub(in super::super) const QUEUE_SELECT: u64 = 0x030;
    pub(in super::super) const QUEUE_SIZE_MAX: u64 = 0x034;
    pub(in super::super) const QUEUE_SIZE: u64 = 0x038;
    pub(in super::super) const QUEUE_READY: u64 = 0x044;
    pub(in super::super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(in super::super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(in super::super) const INTERRUPT_ACK: u64 = 0x064;
    pub(in super::super) const STATUS: u64 = 0x070;
    pub(in super::super) const DESCRIPTORS_LOW: u64 = 0x080;
    pub(in super::super) const DESCRIPTORS_HIGH: u64 = 0x084;
    pub(in super::super) const AVAILABLE_LOW: u64 = 0x090;
    pub(in super::super) const AVAILABLE_HIGH: u64 = 0x094;
    pub(in super::super) const USED_LOW: u64 = 0x0a0;
    pub(in super::super) const USED_HIGH: u64 = 0x0a4;
    pub(in super::super) const SHARED_LENGTH_LOW: u64 = 0x0b0;
    pub(in super::super) const SHARED_LENGTH_HIGH: u64 = 0x0b4;
    pub(in super::super) const SHARED_BASE_LOW: u64 = 0x0b8;
    pub(in super::super) const SHARED_BASE_HIGH: u64 = 0x0bc;
    pub(in super::super) const CONFIG_GENERATION: u64 = 0x0fc;
    pub(in super::super) const CONFIG: u64 = 0x100;
}

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// Version of the registers: not the legacy one.
const VERSION: u32 = 2;
/// "TVMM".
const VENDOR: u32 = u32::from_le_bytes(*b"TVMM");

bitflags! {
    /// The device's status (2.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Status: u8 {
        /// The driver has seen the device.
        const ACKNOWLEDGE = 1 << 0;
        /// The driver can drive it.
        const DRIVER = 1 << 1;
        /// The driver is ready.
        const DRIVER_OK = 1 << 2;
        /// Both agree about the features.
        const FEATURES_OK = 1 << 3;
        /// The driver has broken the rules, and the device waits for a reset.
        const NEEDS_RESET = 1 << 6;
        /// The driver has given up.
        const FAILED = 1 << 7;
    }

    /// Features of all devices (6).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Features: u64 {
        /// Tables of indirect descriptors.
        const INDIRECT = 1 << 28;
        /// Both sides say by index when they want to hear of the other.
        const EVENT_INDEX = 1 << 29;
        /// Not a legacy device.
        const VERSION_1 = 1 << 32;
        /// Those of the kind of device.
        const _ = 0xff_ffff;
    }
}

/// What a device is, to its driver.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// What it offers besides what all devices do: bits 0 to 23.
    pub features: u64,
    /// Number of its queues.
    pub queues: usize,
    config: Vec<u8, CONFIG_MAX>,
}

impl Identity {
    /// A device with this configuration.
    #[must_use]
    pub fn new(kind: Kind, features: u64, queues: usize, config: &[u8]) -> Self {
        let config = config.iter().copied().take(CONFIG_MAX).collect();
        Self { kind, features, queues: queues.min(QUEUES_MAX), config }
    }

    fn offered(&self) -> Features {
        let own = Features::from_bits_truncate(self.features);
        own | Features::INDIRECT | Features::EVENT_INDEX | Features::VERSION_1
    }

    /// The bytes of the configuration from `offset` on.
    fn config(&self, offset: u64, width: Width) -> u64 {
        let byte = |place: u64| usize::try_from(place).ok().and_then(|place| self.config.get(place)).copied();
        let bytes = (0..width.bytes()).rev().map(|place| byte(offset.saturating_add(place)).unwrap_or(0));
        bytes.fold(0, |value, byte| value << 8 | u64::from(byte))
    }
}

/// What a write to a register means for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing yet.
    None,
    /// All starts anew.
    Reset,
    /// The driver is ready.
    Live,
    /// A queue is in use from now on.
    Start(usize, Layout),
    /// A queue is no longer in use.
    Stop(usize),
}

/// What the driver has set up.
#[derive(Debug)]
pub(super) struct Transport {
    identity: Identity,
    status: Status,
    accepted: u64,
    device_features_select: u32,
    driver_features_select: u32,
    queue_select: u32,
    queues: [Setup; QUEUES_MAX],
}

/// What the driver says of a queue.
#[derive(Debug, Clone, Copy, Default)]
struct Setup {
    layout: Layout,
    is_ready: bool,
}

impl Transport {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            status: Status::empty(),
            accepted: 0,
            device_features_select: 0,
            driver_features_select: 0,
            queue_select: 0,
            queues: [Setup::default(); QUEUES_MAX],
        }
    }

    /// Features that both sides have agreed upon.
    pub(super) fn features(&self) -> Features {
        Features::from_bits_truncate(self.accepted)
    }

    pub(super) fn kind(&self) -> Kind {
        self.identity.kind
    }

    /// What is at `offset`. Registers are words; only the configuration has others.
    pub(super) fn read(&self, offset: u64, width: Width) -> u64 {
        match offset.checked_sub(register::CONFIG) {
            Some(offset) => self.identity.config(offset, width),
            None if width == Width::Word => u64::from(self.read_register(offset)),
            None => 0,
        }
    }

    fn read_register(&self, offset: u64) -> u32 {
        match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => self.identity.kind as u32,
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => half(self.identity.offered().bits(), self.device_features_select),
            register::QUEUE_SIZE_MAX => self.queue().map_or(0, |_| u32::from(super::queue::SIZE_MAX)),
            register::QUEUE_READY => self.queue().map_or(0, |queue| u32::from(queue.is_ready)),
            register::STATUS => u32::from(self.status.bits()),
            // There is no shared memory (4.2.2): a length of all ones.
            register::SHARED_LENGTH_LOW
            | register::SHARED_LENGTH_HIGH
            | register::SHARED_BASE_LOW
            | register::SHARED_BASE_HIGH => u32::MAX,
            // The configuration never changes.
            register::CONFIG_GENERATION => 0,
            _ => 0,
        }
    }

    /// The queue that is selected, if it exists.
    fn queue(&self) -> Option<&Setup> {
        self.queues[..self.identity.queues].get(usize::try_from(self.queue_select).ok()?)
    }

    /// Changes what is at `offset`.
    pub(super) fn write(&mut self, offset: u64, width: Width, value: u64) -> Event {
        if width != Width::Word {
            return Event::None;
        }
        let value = low_word(value);
        match offset {
            register::DEVICE_FEATURES_SELECT => self.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => self.driver_features_select = value,
            register::DRIVER_FEATURES => self.accept(value),
            register::QUEUE_SELECT => self.queue_select = value,
            register::QUEUE_READY => return self.set_ready(value & 1 != 0),
            register::STATUS => return self.set_status(value),
            _ => self.lay_out(offset, value),
        }
        Event::None
    }

    /// The driver accepts features, until both have agreed.
    fn accept(&mut self, value: u32) {
        if self.status.contains(Status::FEATURES_OK) {
            return;
        }
        let value = u64::from(value);
        match self.driver_features_select {
            0 => self.accepted = u64::from(high_word(self.accepted)) << 32 | value,
            1 => self.accepted = value << 32 | u64::from(low_word(self.accepted)),
            // The device has none there: a bit that is accepted is one too many.
            _ if value != 0 => self.accepted = u64::MAX,
            _ => {}
        }
    }

    fn set_status(&mut self, value: u32) -> Event {
        let [value, ..] = value.to_le_bytes();
        if value == 0 {
            *self = Self::new(self.identity.clone());
            return Event::Reset;
        }
        let before = self.status;
        self.status = Status::from_bits_truncate(value);
        let agreed = self.accepted & !self.identity.offered().bits() == 0
            && self.features().contains(Features::VERSION_1);
        if !agreed {
            // 2.1.2: the driver reads that they do not agree.
            self.status.remove(Status::FEATURES_OK | Status::DRIVER_OK);
        }
        let is_live = Status::DRIVER_OK | Status::FEATURES_OK;
        if self.status.contains(is_live) && !before.contains(is_live) { Event::Live } else { Event::None }
    }

    fn set_ready(&mut self, ready: bool) -> Event {
        let index = usize::try_from(self.queue_select).unwrap_or(usize::MAX);
        let Some(queue) = self.queues[..self.identity.queues].get_mut(index) else { return Event::None };
        let was_ready = core::mem::replace(&mut queue.is_ready, ready);
        match (was_ready, ready) {
            (false, true) => Event::Start(index, queue.layout),
            (true, false) => Event::Stop(index),
            _ => Event::None,
        }
    }

    /// Notes where a part of a queue is, which must not change while the queue is in use (4.2.3.2).
    fn lay_out(&mut self, offset: u64, value: u32) {
        let index = usize::try_from(self.queue_select).unwrap_or(usize::MAX);
        let Some(queue) = self.queues[..self.identity.queues].get_mut(index) else { return };
        if queue.is_ready {
            return;
        }
        let layout = &mut queue.layout;
        match offset {
            register::QUEUE_SIZE => layout.size = u16::try_from(value).unwrap_or(u16::MAX),
            register::DESCRIPTORS_LOW => set_low(&mut layout.descriptors, value),
            register::DESCRIPTORS_HIGH => set_high(&mut layout.descriptors, value),
            register::AVAILABLE_LOW => set_low(&mut layout.available, value),
            register::AVAILABLE_HIGH => set_high(&mut layout.available, value),
            register::USED_LOW => set_low(&mut layout.used, value),
            register::USED_HIGH => set_high(&mut layout.used, value),
            _ => {}
        }
    }
}

/// Word number `index` of a bit set.
fn half(bits: u64, index: u32) -> u32 {
    match index {
        0 => low_word(bits),
        1 => high_word(bits),
        _ => 0,
    }
}

fn set_low(address: &mut u64, value: u32) {
    *address = u64::from(high_word(*address)) << 32 | u64::from(value);
}

fn set_high(address: &mut u64, value: u32) {
    *address = u64::from(value) << 32 | u64::from(low_word(*address));
}
