//! Groups 0x50 and 0x58: other VMs, and the hypervisor's log.

use super::{Errno, record::put};
use crate::{
    logger,
    monitor::{Action, Target},
    vm::{Refusal, State, Vm, VmId, fleet},
};
use alloc::{string::String, vec::Vec};
use tinyvmm_abi::{
    ARGS_SIZE, EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH,
    vms::{
        CAPABILITY_CONTROL, CAPABILITY_LOG, CAPABILITY_MESSAGES, LOG_READ, VM_FIND, VM_INFO, VM_KILL,
        VM_LIST, VM_NAME_SIZE, VM_PAUSE, VM_RESUME, VM_SELF, VM_SPAWN, VM_WAIT_EXIT,
    },
};

/// Carries out a call of the groups.
#[inline(never)]
pub(super) fn call(vm: &Vm, number: u64, args: [u64; 4]) -> Result<u64, Errno> {
    let [a1, a2, a3, a4] = args;
    let is_own = number == VM_INFO && id(vm, a1) == Some(vm.id);
    require(vm, if is_own { None } else { Some(needed(number)) })?;
    match number {
        VM_INFO => info(vm, a1, a2),
        VM_LIST => Ok(fleet::count()),
        VM_SPAWN => spawn(vm, [a1, a2], [a3, a4]),
        VM_KILL => act(vm, a1, Action::Kill),
        VM_WAIT_EXIT => wait_exit(vm, a1),
        VM_PAUSE => act(vm, a1, Action::Pause),
        VM_RESUME => act(vm, a1, Action::Resume),
        VM_FIND => find(vm, a1, a2).map(|VmId(index)| index as u64 + 1),
        LOG_READ => log(vm, a1, a2),
        _ => Err(Errno(ENOSYS)),
    }
}

/// The capabilities of which a call needs one.
const fn needed(number: u64) -> u32 {
    match number {
        VM_FIND => CAPABILITY_CONTROL | CAPABILITY_MESSAGES,
        LOG_READ => CAPABILITY_LOG,
        _ => CAPABILITY_CONTROL,
    }
}

/// Refuses a call that the VM may not make.
pub(super) fn require(vm: &Vm, needed: Option<u32>) -> Result<(), Errno> {
    match needed {
        Some(bits) if !vm.capabilities.has(bits) => Err(Errno(EPERM)),
        _ => Ok(()),
    }
}

/// The VM that goes by a number, which need not be there.
pub(super) fn id(vm: &Vm, number: u64) -> Option<VmId> {
    match number {
        VM_SELF => Some(vm.id),
        _ => usize::try_from(number - 1).ok().map(VmId),
    }
}

fn named(vm: &Vm, number: u64) -> Result<VmId, Errno> {
    id(vm, number).ok_or(Errno(ESRCH))
}

fn info(vm: &Vm, number: u64, address: u64) -> Result<u64, Errno> {
    let info = fleet::info(named(vm, number)?).ok_or(Errno(ESRCH))?;
    put(&vm.memory, address, &info).map(|()| 0)
}

fn find(vm: &Vm, address: u64, length: u64) -> Result<VmId, Errno> {
    let range = vm.memory.check(address, length)?;
    let mut name = [0; VM_NAME_SIZE];
    let count = vm.memory.read(range, &mut name);
    let name = core::str::from_utf8(&name[..count]).ok().filter(|_| count as u64 == length);
    name.and_then(|name| fleet::find(Target::Name(name))).ok_or(Errno(ESRCH))
}

fn spawn(vm: &Vm, name: [u64; 2], args: [u64; 2]) -> Result<u64, Errno> {
    let id = find(vm, name[0], name[1])?;
    fleet::spawn(id, arguments(vm, args)?).map_err(|_| Errno(EEXIST))?;
    Ok(id.0 as u64 + 1)
}

/// Argument strings, each with its NUL. They are kept until the VM is started with fleet; this is the only hypercall
/// that takes memory of the heap.
fn arguments(vm: &Vm, [address, length]: [u64; 2]) -> Result<Option<String>, Errno> {
    let range = vm.memory.check(address, length)?;
    if range.is_empty() {
        return Ok(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= ARGS_SIZE).ok_or(Errno(EINVAL))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| Errno(ENOMEM))?;
    bytes.resize(length, 0);
    vm.memory.read(range, &mut bytes);
    let text = String::from_utf8(bytes).ok().filter(|text| text.ends_with('\0'));
    text.map(Some).ok_or(Errno(EINVAL))
}

fn act(vm: &Vm, number: u64, action: Action) -> Result<u64, Errno> {
    let id = named(vm, number)?;
    fleet::info(id).ok_or(Errno(ESRCH))?;
    fleet::act(id, action).map(|()| 0).map_err(|Refusal(state)| match (action, state) {
        (Action::Pause | Action::Resume, State::Created | State::Running | State::Paused) => Errno(EINVAL),
        _ => Errno(ESRCH),
    })
}

fn wait_exit(vm: &Vm, number: u64) -> Result<u64, Errno> {
    fleet::exit_code(named(vm, number)?, vm).map(u64::from).map_err(|state| match state {
        State::Stopped => Errno(ESRCH),
        _ => Errno(EAGAIN),
    })
}

fn log(vm: &Vm, address: u64, length: u64) -> Result<u64, Errno> {
    let range = vm.memory.check(address, length)?;
    let mut write = vm.memory.writer(range);
    let mut total = 0;
    logger::read(range.len(), |piece| {
        write(piece);
        total += piece.len() as u64;
    });
    Ok(total)
}
