//! Group 0x10: the console as bytes.

use super::{Errno, basic::CHUNK};
use crate::{console, vm::Vm};

/// Most bytes that one call writes: a guest that wants more calls again, so that no call takes long.
const MAX_WRITE: u64 = 4096;

/// WRITE.
#[inline(never)]
pub(super) fn write(vm: &Vm, address: u64, len: u64) -> Result<u64, Errno> {
    let mut rest = vm.memory.check(address, len)?.truncate(MAX_WRITE);
    let written = rest.len();
    let mut buffer = [0; CHUNK];
    while !rest.is_empty() {
        let count = vm.memory.read(rest, &mut buffer);
        vm.write(&buffer[..count]);
        rest = rest.skip(count as u64);
    }
    Ok(written)
}

/// READ.
#[inline(never)]
pub(super) fn read(vm: &Vm, address: u64, len: u64) -> Result<u64, Errno> {
    let mut rest = vm.memory.check(address, len)?;
    let count = vm.console.read(|piece| {
        let count = vm.memory.write(rest, piece);
        rest = rest.skip(count as u64);
        count
    });
    Ok(count as u64)
}

/// POLL.
#[inline(never)]
pub(super) fn poll(vm: &Vm) -> u64 {
    vm.console.waiting() as u64
}

/// SIZE.
#[inline(never)]
pub(super) fn size() -> u64 {
    let (rows, columns) = console::size();
    u64::from(rows) << 16 | u64::from(columns)
}
