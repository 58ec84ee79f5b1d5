//! Group 0x70: messages between VMs.

use super::{
    Errno,
    vms::{id, require},
};
use crate::vm::{Header, Mailbox, Vm, fleet};
use spin::Mutex;
use tinyvmm_abi::{
    EAGAIN, EMSGSIZE, EPERM, ESRCH,
    vms::{CAPABILITY_MESSAGES, MESSAGE_MAX},
};

fn mailbox(vm: &Vm) -> Result<&Mutex<Mailbox>, Errno> {
    vm.mailbox.as_ref().ok_or(Errno(EPERM))
}

/// SEND.
#[inline(never)]
pub(super) fn send(vm: &Vm, number: u64, address: u64, length: u64) -> Result<u64, Errno> {
    require(vm, Some(CAPABILITY_MESSAGES))?;
    vm.memory.check(address, length)?;
    if length > MESSAGE_MAX {
        return Err(Errno(EMSGSIZE));
    }
    let id = id(vm, number).ok_or(Errno(ESRCH))?;
    if id == vm.id {
        return deliver(vm, vm, address, length);
    }
    let receiver = fleet::peer(id).ok_or(Errno(ESRCH))?;
    let result = deliver(vm, &receiver, address, length);
    // It may have ended meanwhile.
    fleet::let_go(receiver);
    result
}

fn deliver(sender: &Vm, receiver: &Vm, address: u64, length: u64) -> Result<u64, Errno> {
    let range = sender.memory.check(address, length)?;
    let mut mailbox = mailbox(receiver)?.lock();
    if !mailbox.push(Header::of(sender.id, length), sender.memory.reader(range)) {
        // While the mailbox is locked, so that whoever makes room knows.
        sender.wait_for_others();
        return Err(Errno(EAGAIN));
    }
    drop(mailbox);
    fleet::delivered(receiver);
    Ok(0)
}

/// RECEIVE.
#[inline(never)]
pub(super) fn receive(vm: &Vm, address: u64, room: u64) -> Result<u64, Errno> {
    let mut mailbox = mailbox(vm)?.lock();
    let range = vm.memory.check(address, room)?;
    let header = mailbox.first().ok_or(Errno(EAGAIN))?;
    if u64::from(header.length) > room {
        return Err(Errno(EMSGSIZE));
    }
    let was_refused = mailbox.pop(header, vm.memory.writer(range));
    drop(mailbox);
    if was_refused {
        fleet::stir();
    }
    Ok(u64::from(header.sender) << 32 | u64::from(header.length))
}
