//! Messages for programs of a `virt` machine: between a VM's socket and the mailboxes.
//!
//! Locks are taken in the order queue, link, fleet or mailbox. None is held when the receiver of a message is told of it.

use super::{Channel, Header, VirtioDevice, Vm, VmId, fleet};
use crate::{
    devices::{
        vgic::VcpuSet,
        virtio::{
            Slot,
            chain::Chain,
            queue::{Progress, Served, Violation},
            transport::Identity,
            vsock::{self, Socket},
        },
    },
    monitor::Target,
};
use alloc::sync::Arc;
use spin::Mutex;
use tinyvmm_abi::{EAGAIN, EPERM, ESRCH};

/// Packets that are looked at, in each direction, until others have their turn.
const PACKETS_AT_A_TIME: usize = 8;

/// Who gets a message, if he is there, and the error number of why he did not get it, if so.
type Passed = (Option<Arc<Vm>>, Result<(), i64>);

/// What is behind a VM's socket.
pub struct Link(Mutex<Parts>);

struct Parts {
    socket: Socket,
    channel: Channel,
    /// Someone may send again who found no room before.
    has_made_room: bool,
}

impl Link {
    /// A link that is not in use.
    #[must_use]
    pub fn new(VmId(index): VmId) -> Self {
        Self(Mutex::new(Parts { socket: Socket::new(index), channel: Channel::new(), has_made_room: false }))
    }

    /// What its driver sees.
    pub(super) fn identity(&self) -> Identity {
        self.0.lock().socket.identity()
    }

    /// Does what there is to do in both directions, for the VM itself.
    pub(super) fn exchange(&self, vm: &Vm, slot: &Slot) -> Progress {
        let mut progress = Progress::default();
        for _ in 0..PACKETS_AT_A_TIME {
            let is_idle = !self.transmit(vm, slot, &mut progress) & !self.pass_on(vm);
            progress.has_news |= self.receive(vm, slot).has_news;
            if is_idle {
                return progress;
            }
        }
        Progress { has_more: true, ..progress }
    }

    /// Takes a packet of the guest's. Returns whether there was one, and something could be done with it.
    fn transmit(&self, vm: &Vm, slot: &Slot, progress: &mut Progress) -> bool {
        let mut is_done = false;
        let step = slot.serve(vsock::TRANSMIT, |queue| {
            queue.serve(&vm.memory, 1, |chain| {
                let Parts { socket, channel, .. } = &mut *self.0.lock();
                let served = socket.transmit(&vm.memory, chain, channel)?;
                is_done = served != Served::Later { done: chain.done() };
                Ok(served)
            })
        });
        progress.has_news |= step.has_news;
        is_done
    }

    /// Passes a message on that has come whole from the guest. Returns whether there was one.
    fn pass_on(&self, vm: &Vm) -> bool {
        let mut parts = self.0.lock();
        let Some((receiver, result)) = parts.pass_on(vm) else { return false };
        parts.channel.settle(result);
        drop(parts);
        if let Some(receiver) = receiver {
            fleet::delivered(&receiver);
            // It may have ended meanwhile.
            fleet::let_go(receiver);
        }
        true
    }

    /// Moves what there is for the guest, by whoever has it.
    pub(super) fn receive(&self, vm: &Vm, slot: &Slot) -> Progress {
        let progress = slot.serve(vsock::RECEIVE, |queue| {
            let mut progress = Progress::default();
            for _ in 0..PACKETS_AT_A_TIME {
                let mut is_taken = false;
                let mut parts = self.0.lock();
                if !parts.prepare(vm) {
                    break;
                }
                let step = queue.serve(&vm.memory, 1, |chain| {
                    is_taken = true;
                    parts.receive(vm, chain)
                })?;
                progress.has_news |= step.has_news;
                if !is_taken {
                    break;
                }
            }
            Ok(progress)
        });
        if core::mem::take(&mut self.0.lock().has_made_room) {
            fleet::stir();
        }
        progress
    }
}

impl Parts {
    /// Puts the message that has come whole into its receiver's mailbox, if there is one.
    fn pass_on(&self, vm: &Vm) -> Option<Passed> {
        let message = self.channel.message()?;
        let receiver = fleet::find(Target::Name(message.receiver)).and_then(fleet::peer);
        let result = receiver.as_ref().map_or(Err(ESRCH), |receiver| {
            let mut mailbox = receiver.mailbox.as_ref().ok_or(EPERM)?.lock();
            let mut rest = message.bytes;
            let has_room = mailbox.push(Header::of(vm.id, rest.len() as u64), |piece| {
                let (now, later) = rest.split_at(piece.len());
                piece.copy_from_slice(now);
                rest = later;
            });
            if has_room { Ok(()) } else { Err(EAGAIN) }
        });
        Some((receiver, result))
    }

    /// Sees whether there is something for the guest: takes a message out of the mailbox when the one before is gone.
    fn prepare(&mut self, vm: &Vm) -> bool {
        if self.socket.is_open() && self.channel.has_room() {
            self.take_message(vm);
        }
        self.socket.has_news(&self.channel)
    }

    fn take_message(&mut self, vm: &Vm) {
        let Some(mut mailbox) = vm.mailbox.as_ref().map(Mutex::lock) else { return };
        let Some(header) = mailbox.first() else { return };
        let sender = usize::try_from(header.sender).ok().and_then(|number| number.checked_sub(1));
        let name = sender.and_then(|index| fleet::info(VmId(index))).map_or([0; _], |info| info.name);
        self.channel.put(&name, header.length, |bytes| {
            let mut rest = bytes;
            self.has_made_room |= mailbox.pop(header, |piece| {
                let (now, later) = core::mem::take(&mut rest).split_at_mut(piece.len());
                now.copy_from_slice(piece);
                rest = later;
            });
        });
    }

    fn receive(&mut self, vm: &Vm, chain: &Chain) -> Result<Served, Violation> {
        self.socket.receive(&vm.memory, chain, &mut self.channel)
    }
}

impl Vm {
    /// Moves messages that have come to the programs that wait for them, if they do so by a socket. Returns the vCPUs that
    /// must look at their interrupts.
    pub fn feed_messages(&self) -> VcpuSet {
        let link = |(number, device): (usize, _)| Some((number, device, VirtioDevice::link(device)?));
        let Some((number, device, link)) = self.board.virtio.iter().enumerate().find_map(link) else {
            return VcpuSet::EMPTY;
        };
        match link.receive(self, &device.slot).has_news {
            true => self.update_line(number, device),
            false => VcpuSet::EMPTY,
        }
    }
}
