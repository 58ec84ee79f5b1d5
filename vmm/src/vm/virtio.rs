//! The virtio devices of a `virt` machine: what is behind them, and who does their work.
//!
//! A device's work is done by the vCPU that notifies it, while it is at EL2, and a bounded piece at a time: if there is
//! more, the guest's store is not over yet. The vCPU comes back for the next piece, after whatever interrupt is due.

use super::{Card, Link, Vm, VmId, board::Effect};
use crate::{
    bundle::manifest::{Console, VmConfig},
    devices::{
        Width,
        vgic::VcpuSet,
        virtio::{
            Request, Slot, block, console, entropy, net,
            queue::{Progress, Queue, Violation},
        },
    },
    disks::Disk,
    network::Mac,
};
use alloc::{boxed::Box, vec::Vec};
use tinyvmm_abi::{
    virt::{VIRTIO_INTID, VIRTIO_SPACING},
    vms::CAPABILITY_MESSAGES,
};

/// Requests that are carried out at a time, if none of them waits for hardware.
const REQUESTS_AT_A_TIME: usize = 8;

/// A device and what is behind it.
pub struct VirtioDevice {
    pub(super) slot: Slot,
    backend: Backend,
}

/// What is behind a device.
enum Backend {
    Disk(Disk),
    /// The VM's side of the console.
    Console,
    Network(Box<Card>),
    Entropy,
    /// Messages from and to other VMs.
    Messages(Box<Link>),
}

impl VirtioDevice {
    fn new(backend: Backend) -> Self {
        let identity = match &backend {
            Backend::Disk(disk) => block::identity(disk),
            Backend::Console => console::identity(),
            Backend::Network(card) => net::identity(card.mac()),
            Backend::Entropy => entropy::identity(),
            Backend::Messages(link) => link.identity(),
        };
        Self { slot: Slot::new(identity), backend }
    }

    /// The devices of a VM, in the order of their slots: those that have names after it come first.
    #[must_use]
    pub fn all(id: VmId, config: &VmConfig, disks: &[Disk], card: Option<Mac>) -> Vec<Self> {
        let disks = disks.iter().cloned().map(Backend::Disk);
        let console = (config.console == Console::Virtio).then_some(Backend::Console);
        let card = card.map(|mac| Backend::Network(Box::new(Card::new(mac))));
        let has_messages = config.capabilities.has(CAPABILITY_MESSAGES);
        let link = has_messages.then(|| Backend::Messages(Box::new(Link::new(id))));
        let backends = disks.chain(console).chain(card).chain([Backend::Entropy]).chain(link);
        backends.map(Self::new).collect()
    }

    /// What it has as a network card, if it is one.
    pub(super) fn card(&self) -> Option<&Card> {
        match &self.backend {
            Backend::Network(card) => Some(card),
            _ => None,
        }
    }

    /// What it has as a socket, if it is one.
    pub(super) fn link(&self) -> Option<&Link> {
        match &self.backend {
            Backend::Messages(link) => Some(link),
            _ => None,
        }
    }

    /// Looks at a queue.
    fn serve(&self, vm: &Vm, index: usize, queue: &mut Queue) -> Result<Progress, Violation> {
        let memory = &vm.memory;
        match (&self.backend, index) {
            (Backend::Disk(disk), _) => {
                let limit = if disk.is_in_memory() { REQUESTS_AT_A_TIME } else { 1 };
                queue.serve(memory, limit, |chain| {
                    block::request(memory, chain, disk, |error| disk.complain(&vm.name, error))
                })
            }
            (Backend::Console, console::RECEIVE) => receive(vm, queue),
            (Backend::Console, _) => queue.serve(memory, REQUESTS_AT_A_TIME, |chain| {
                Ok(console::transmit(memory, chain, |bytes| vm.write(bytes)))
            }),
            // That there are buffers is seen when a frame comes.
            (Backend::Network(_), net::RECEIVE) => Ok(Progress::default()),
            (Backend::Network(card), _) => card.transmit(vm, queue),
            (Backend::Messages(_), _) => Ok(Progress::default()),
            (Backend::Entropy, _) => {
                queue.serve(memory, 1, |chain| entropy::request(memory, chain, |bytes| vm.fill_random(bytes)))
            }
        }
    }
}

/// Passes console input on, as long as there is some and the driver has room for it.
fn receive(vm: &Vm, queue: &mut Queue) -> Result<Progress, Violation> {
    let mut progress = Progress::default();
    while vm.console.waiting() > 0 {
        let mut is_taken = false;
        let step = queue.serve(&vm.memory, 1, |chain| {
            is_taken = true;
            console::receive(&vm.memory, chain, |take| vm.console.read(take))
        })?;
        progress.has_news |= step.has_news;
        if !is_taken {
            break;
        }
    }
    Ok(progress)
}

/// The interrupt of a slot.
fn intid(number: usize) -> u32 {
    VIRTIO_INTID + u32::try_from(number).unwrap_or(0)
}

impl Vm {
    /// A guest's access to a virtio slot.
    pub(super) fn virtio(&self, offset: u64, width: Width, written: Option<u64>) -> Effect {
        let number = usize::try_from(offset / VIRTIO_SPACING).unwrap_or(usize::MAX);
        let Some(device) = self.board.virtio.get(number) else { return Effect::default() };
        let offset = offset % VIRTIO_SPACING;
        let Some(value) = written else { return Effect::of(device.slot.read(offset, width)) };
        match device.slot.write(&self.memory, offset, width, value) {
            Request::None => Effect::default(),
            Request::Serve(queue) => self.serve(number, device, queue),
            Request::UpdateLine => Effect::on(self.update_line(number, device)),
            Request::Acknowledge(reasons) => Effect::on(self.acknowledge(number, device, reasons)),
        }
    }

    fn serve(&self, number: usize, device: &VirtioDevice, queue: usize) -> Effect {
        let progress = match device.link() {
            // What one queue has may be for the other one.
            Some(link) => link.exchange(self, &device.slot),
            None => device.slot.serve(queue, |parts| device.serve(self, queue, parts)),
        };
        let changed = if progress.has_news { self.update_line(number, device) } else { VcpuSet::EMPTY };
        Effect { changed, again: progress.has_more, ..Effect::default() }
    }

    /// Tells the interrupt controller of a device's line. What the device says is read when nobody else can tell it
    /// something newer.
    pub(super) fn update_line(&self, number: usize, device: &VirtioDevice) -> VcpuSet {
        let mut vgic = self.vgic.lock();
        vgic.set_spi_level(intid(number), device.slot.interrupt_level())
    }

    /// Takes back what the driver has heard. If another core has something new meanwhile, the line falls first and then
    /// rises, for the interrupt comes with the edge.
    fn acknowledge(&self, number: usize, device: &VirtioDevice, reasons: u32) -> VcpuSet {
        let mut vgic = self.vgic.lock();
        vgic.set_spi_level(intid(number), device.slot.acknowledge(reasons))
    }

    /// Moves console input to the device that shows it to the guest, if there is one. Returns the vCPUs that must look at
    /// their interrupts.
    pub fn feed_console(&self) -> VcpuSet {
        let is_console = |device: &VirtioDevice| matches!(device.backend, Backend::Console);
        match self.board.virtio.iter().position(is_console) {
            Some(number) => self.serve(number, &self.board.virtio[number], console::RECEIVE).changed,
            None => self.feed_uart(),
        }
    }
}
