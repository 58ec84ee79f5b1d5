//! VMs at the ports of the switch.
//!
//! A frame is carried by whoever has it: the vCPU that sends it, while that is at EL2, or the core that the uplink
//! interrupts. It is copied once out of the sender's memory and once into each receiver's; a receiver that has no room for it
//! does not get it. Nobody waits for another VM.
//!
//! Locks are taken in the order sender's queue, switch, receiver's queue; the switch's is released before the receiver's is
//! taken.

use super::{VirtioDevice, Vm, VmId, fleet};
use crate::{
    arch::timer,
    devices::virtio::{
        net,
        queue::{Progress, Queue, Served, Violation},
    },
    monitor,
    network::{Header, Mac, Port, Switch, Way, uplink},
    scheduler,
};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Mutex;

/// Frames that a vCPU sends at a time, and how often they are delivered, if they are for many.
const FRAMES_AT_A_TIME: usize = 32;

/// The switch and who is at its ports.
pub struct Fabric {
    switch: Switch,
    /// In the order of the manifest.
    vms: Vec<Weak<Vm>>,
}

static FABRIC: Mutex<Option<Fabric>> = Mutex::new(None);

/// What a VM's network card has besides its queues.
pub struct Card {
    mac: Mac,
    /// Where what it sends is on its way.
    frame: Mutex<net::Buffer>,
    traffic: Traffic,
}

/// What went through a card, in frames: see [`monitor::Card`].
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

/// Where a frame goes.
enum Route {
    /// To one, who may not be there.
    To(Option<Receiver>),
    All,
}

/// Who gets a frame.
enum Receiver {
    Vm(Arc<Vm>),
    Uplink,
}

impl Fabric {
    /// A switch with so many VMs, none of which is there yet.
    #[must_use]
    pub fn new(switch: Switch, vms: usize) -> Self {
        Self { switch, vms: core::iter::repeat_n(Weak::new(), vms).collect() }
    }

    /// Takes the place of the one before.
    pub fn install(self) {
        let before = FABRIC.lock().replace(self);
        drop(before);
    }

    fn route(&mut self, from: Port, header: Header) -> Option<Route> {
        match self.switch.forward(from, header, timer::now()).ok()? {
            Way::To(port) => Some(Route::To(self.receiver(port))),
            Way::All => Some(Route::All),
        }
    }

    fn receiver(&self, port: Port) -> Option<Receiver> {
        match self.vms.get(port.0) {
            Some(vm) => vm.upgrade().map(Receiver::Vm),
            None => Some(Receiver::Uplink),
        }
    }
}

/// A VM begins to run.
pub fn connect(vm: &Arc<Vm>) {
    if vm.card().is_some() {
        set_port(vm.id, Arc::downgrade(vm));
    }
}

/// A VM is gone.
pub fn disconnect(id: VmId) {
    set_port(id, Weak::new());
}

fn set_port(VmId(index): VmId, vm: Weak<Vm>) {
    let mut fabric = FABRIC.lock();
    if let Some(place) = fabric.as_mut().and_then(|fabric| fabric.vms.get_mut(index)) {
        *place = vm;
    }
}

/// Shows the cards of all VMs that are there.
pub fn for_each_card(mut show: impl FnMut(&monitor::Card<'_>)) {
    let vm = |index| FABRIC.lock().as_ref()?.vms.get(index).map(Weak::upgrade);
    for vm in (0..).map_while(vm).flatten() {
        if let Some((_, _, card)) = vm.card() {
            show(&card.row(&vm));
        }
        fleet::let_go(vm);
    }
}

/// Passes on what has come in by the uplink, if that is what has interrupted.
pub fn handle_interrupt(intid: u32) {
    let Some(uplink) = uplink::get().filter(|uplink| uplink.interrupt() == intid) else { return };
    let port = FABRIC.lock().as_ref().map(|fabric| fabric.switch.uplink());
    uplink.receive(|frame| {
        port.and_then(|port| forward(port, frame));
    });
}

/// Takes a frame from a port to where it goes. Returns how many have got it or might have; `None` if it goes nowhere.
fn forward(from: Port, frame: &[u8]) -> Option<usize> {
    let header = Header::of(frame)?;
    // The switch is left alone from here on.
    let route = FABRIC.lock().as_mut()?.route(from, header)?;
    match route {
        Route::To(receiver) => {
            receiver.into_iter().for_each(|receiver| receiver.take(frame));
            Some(1)
        }
        Route::All => Some(flood(from, frame)),
    }
}

/// Takes a frame from a port to all others. Returns how many there are.
fn flood(from: Port, frame: &[u8]) -> usize {
    let next = |start| {
        let fabric = FABRIC.lock();
        let fabric = fabric.as_ref()?;
        let port = fabric.switch.next_receiver(from, start)?;
        Some((port, fabric.receiver(port)))
    };
    let (mut start, mut count) = (Port(0), 0);
    while let Some((port, receiver)) = next(start) {
        receiver.into_iter().for_each(|receiver| receiver.take(frame));
        (start, count) = (Port(port.0 + 1), count + 1);
    }
    count
}

impl Receiver {
    fn take(self, frame: &[u8]) {
        match self {
            Self::Uplink => uplink::send(frame),
            Self::Vm(vm) => {
                vm.take_frame(frame);
                // It may have ended meanwhile.
                fleet::let_go(vm);
            }
        }
    }
}

impl Card {
    /// A card with this address.
    #[must_use]
    pub fn new(mac: Mac) -> Self {
        Self { mac, frame: Mutex::new([0; _]), traffic: Traffic::default() }
    }

    /// Its address.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    fn row<'a>(&self, vm: &'a Vm) -> monitor::Card<'a> {
        let VmId(index) = vm.id;
        let Traffic { sent, received, refused, lost } = &self.traffic;
        let [sent, received, refused, lost] =
            [sent, received, refused, lost].map(|counter| counter.load(Ordering::Relaxed));
        monitor::Card { number: index + 1, name: &vm.name, mac: self.mac, sent, received, refused, lost }
    }

    /// Passes on what the VM sends.
    pub(super) fn transmit(&self, vm: &Vm, queue: &mut Queue) -> Result<Progress, Violation> {
        let VmId(index) = vm.id;
        let mut buffer = self.frame.lock();
        let mut left = FRAMES_AT_A_TIME;
        queue.serve(&vm.memory, FRAMES_AT_A_TIME, |chain| {
            if left == 0 {
                return Ok(Served::Part { done: 0 });
            }
            let frame = net::transmit(&vm.memory, chain, &mut buffer)?;
            let receivers = frame.and_then(|frame| forward(Port(index), frame));
            left = left.saturating_sub(receivers.unwrap_or(1));
            count(if receivers.is_some() { &self.traffic.sent } else { &self.traffic.refused });
            Ok(Served::Whole { written: 0 })
        })
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Vm {
    /// Its network card, with the slot that it is in.
    fn card(&self) -> Option<(usize, &VirtioDevice, &Card)> {
        let devices = self.board.virtio.iter().enumerate();
        devices.into_iter().find_map(|(number, device)| Some((number, device, device.card()?)))
    }

    /// Gets a frame, if there is room for it.
    fn take_frame(&self, frame: &[u8]) {
        let Some((number, device, card)) = self.card() else { return };
        let mut is_taken = false;
        let progress = device.slot.serve(net::RECEIVE, |queue| {
            is_taken = net::receive(&self.memory, queue, frame)?;
            Ok(Progress { has_news: queue.take_news(), has_more: false })
        });
        count(if is_taken { &card.traffic.received } else { &card.traffic.lost });
        if progress.has_news {
            scheduler::notify(self, self.update_line(number, device));
        }
    }
}
