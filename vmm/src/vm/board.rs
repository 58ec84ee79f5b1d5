//! What a VM has besides memory and vCPUs: an interrupt controller and, on the `virt` machine, devices.

use super::{
    VirtioDevice, Vm,
    virt::{self, Region},
};
use crate::{
    arch::{gic, timer},
    clock,
    devices::{
        Bus, Device, Width,
        access::{Direction, MmioAccess},
        bus::BusError,
        pl011::Pl011,
        pl031::Pl031,
        vgic::VcpuSet,
    },
    word::low_word,
};
use alloc::vec::Vec;
use core::num::NonZeroU64;
use spin::Mutex;
use tinyvmm_abi::virt::{GICR_SIZE, RTC_INTID, UART_INTID};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// The devices of a VM.
pub struct Board {
    /// What is where.
    pub bus: Bus<Region>,
    /// The devices of a `virt` machine.
    devices: Option<Mutex<Devices>>,
    /// Its virtio devices, by their slots.
    pub(super) virtio: Vec<VirtioDevice>,
}

/// What a guest's access to a device leads to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effect {
    /// What a load gets.
    pub value: u64,
    /// The vCPUs that must look at their interrupts.
    pub changed: VcpuSet,
    /// The access is not over: the guest comes again with it.
    pub again: bool,
}

impl Effect {
    /// A load of `value`.
    #[inline]
    pub(super) fn of(value: u64) -> Self {
        Self { value, ..Self::default() }
    }

    /// A store that has changed something for these vCPUs.
    #[inline]
    pub(super) fn on(changed: VcpuSet) -> Self {
        Self { changed, ..Self::default() }
    }
}

struct Devices {
    uart: Pl011,
    rtc: Pl031,
}

impl Board {
    /// An interrupt controller alone.
    #[must_use]
    pub fn tiny(bus: Bus<Region>) -> Self {
        Self { bus, devices: None, virtio: Vec::new() }
    }

    /// Whether it is one of a `virt` machine.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices.is_some()
    }

    /// Number of its virtio devices.
    #[must_use]
    pub fn virtio_slots(&self) -> u32 {
        u32::try_from(self.virtio.len()).unwrap_or(0)
    }

    /// All of the `virt` machine. Its clock shows the time of day, as far as the board knows it.
    ///
    /// # Errors
    /// There are more vCPUs than the map has room for.
    pub fn virt(vcpus: u32, virtio: Vec<VirtioDevice>) -> Result<Self, BusError> {
        let frequency = NonZeroU64::new(timer::frequency()).unwrap_or(NonZeroU64::MIN);
        let seconds = low_word(clock::now() / NANOSECONDS_PER_SECOND);
        let devices = Devices { uart: Pl011::new(), rtc: Pl031::new(seconds, timer::now(), frequency) };
        let slots = u32::try_from(virtio.len()).unwrap_or(0);
        let bus = virt::bus(gic::version(), vcpus, slots)?;
        Ok(Self { bus, devices: Some(Mutex::new(devices)), virtio })
    }
}

impl Vm {
    /// Carries out a guest's access to a device.
    #[inline]
    pub fn access(
        &self,
        vcpu: usize,
        region: Region,
        offset: u64,
        access: &MmioAccess,
        value: u64,
    ) -> Effect {
        let width = access.width;
        let read = access.direction == Direction::Read;
        match region {
            Region::Distributor if read => Effect::of(self.vgic.lock().distributor_read(vcpu, offset, width)),
            Region::Distributor => Effect::on(self.vgic.lock().distributor_write(vcpu, offset, width, value)),
            Region::Redistributors => self.redistributor(offset, access, value),
            Region::Uart => self.uart(offset, width, (!read).then_some(value)),
            Region::Rtc => self.rtc(offset, width, (!read).then_some(value)),
            Region::Virtio => self.virtio(offset, width, (!read).then_some(value)),
        }
    }

    fn redistributor(&self, offset: u64, access: &MmioAccess, value: u64) -> Effect {
        let frame = usize::try_from(offset / GICR_SIZE).unwrap_or(usize::MAX);
        let (offset, width) = (offset % GICR_SIZE, access.width);
        let mut vgic = self.vgic.lock();
        match access.direction {
            Direction::Read => Effect::of(vgic.redistributor_read(frame, offset, width)),
            Direction::Write => Effect::on(vgic.redistributor_write(frame, offset, width, value)),
        }
    }

    fn uart(&self, offset: u64, width: Width, written: Option<u64>) -> Effect {
        let Some(devices) = &self.board.devices else { return Effect::default() };
        let mut devices = devices.lock();
        let uart = &mut devices.uart;
        if written.is_none() && !Pl011::takes_by_read(offset) {
            return Effect::of(uart.read(offset, width));
        }
        let before = uart.interrupt_level();
        let value = transfer(uart, offset, width, written);
        let sent = uart.take_transmitted();
        self.console.feed(uart);
        let level = uart.interrupt_level();
        let changed = self.set_line(UART_INTID, before, level);
        drop(devices);
        sent.into_iter().for_each(|byte| self.write(&[byte]));
        Effect { value, changed, again: false }
    }

    fn rtc(&self, offset: u64, width: Width, written: Option<u64>) -> Effect {
        let Some(devices) = &self.board.devices else { return Effect::default() };
        let mut devices = devices.lock();
        let rtc = &mut devices.rtc;
        let before = rtc.interrupt_level();
        rtc.advance(timer::now());
        let value = transfer(rtc, offset, width, written);
        let level = rtc.interrupt_level();
        Effect { value, changed: self.set_line(RTC_INTID, before, level), again: false }
    }

    /// Tells the controller of an interrupt line that may have changed. The caller holds the devices' lock: of two
    /// changes at once, on two cores, the last one has to be the last here as well.
    fn set_line(&self, intid: u32, before: bool, level: bool) -> VcpuSet {
        if before == level {
            return VcpuSet::EMPTY;
        }
        self.vgic.lock().set_spi_level(intid, level)
    }

    /// Moves console input to the UART, if the VM has one. Returns the vCPUs that must look.
    pub(super) fn feed_uart(&self) -> VcpuSet {
        let Some(devices) = &self.board.devices else { return VcpuSet::EMPTY };
        let mut devices = devices.lock();
        let before = devices.uart.interrupt_level();
        self.console.feed(&mut devices.uart);
        let level = devices.uart.interrupt_level();
        self.set_line(UART_INTID, before, level)
    }

    /// When the real-time clock raises its interrupt, in ticks.
    pub fn next_device_event(&self) -> Option<u64> {
        self.board.devices.as_ref()?.lock().rtc.next_event()
    }

    /// Raises the interrupts of devices whose time has come.
    pub fn advance_devices(&self, now: u64) -> VcpuSet {
        let Some(devices) = &self.board.devices else { return VcpuSet::EMPTY };
        let mut devices = devices.lock();
        let before = devices.rtc.interrupt_level();
        devices.rtc.advance(now);
        let level = devices.rtc.interrupt_level();
        self.set_line(RTC_INTID, before, level)
    }
}

/// Reads a register, or writes it if there is a value for it.
fn transfer(device: &mut impl Device, offset: u64, width: Width, written: Option<u64>) -> u64 {
    match written {
        None => device.read(offset, width),
        Some(value) => {
            device.write(offset, width, value);
            0
        }
    }
}
