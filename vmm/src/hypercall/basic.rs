//! Group 0: exit, plain text output, what there is.

use super::Errno;
use crate::vm::Vm;
use tinyvmm_abi::{
    CONSOLE_WRITE, EFAULT, EINVAL, EXIT, PUTS_MAX, RANDOM, WALL_CLOCK,
    board::BOARD_LED,
    disks::BLK_INFO,
    files::FILE_OPEN,
    vms::{LOG_READ, SEND, VM_INFO},
};

/// Bytes that are copied from a guest at a time.
pub(super) const CHUNK: usize = 256;

/// The exit code that the guest asks for.
pub(super) fn exit_code(code: u64) -> u8 {
    code.to_le_bytes()[0]
}

/// PUTCHAR.
#[inline(never)]
pub(super) fn putchar(vm: &Vm, byte: u64) -> u64 {
    vm.write_text(&byte.to_le_bytes()[..1]);
    0
}

/// PUTS.
#[inline(never)]
pub(super) fn puts(vm: &Vm, address: u64) -> Result<u64, Errno> {
    let text = vm.memory.check_from(address, PUTS_MAX + 1)?;
    let length = length_to_nul(vm, text.len(), address)?;
    // The length is below what has just been checked.
    let mut rest = vm.memory.check(address, length)?;
    let mut buffer = [0; CHUNK];
    while !rest.is_empty() {
        let count = vm.memory.read(rest, &mut buffer);
        vm.write_text(&buffer[..count]);
        rest = rest.skip(count as u64);
    }
    Ok(length)
}

/// Bytes before the first NUL in the `available` bytes at `address`.
fn length_to_nul(vm: &Vm, available: u64, address: u64) -> Result<u64, Errno> {
    let mut rest = vm.memory.check(address, available)?;
    let mut buffer = [0; CHUNK];
    let mut length = 0;
    while !rest.is_empty() {
        let count = vm.memory.read(rest, &mut buffer);
        if let Some(nul) = buffer[..count].iter().position(|byte| *byte == 0) {
            return Ok(length + nul as u64);
        }
        length += count as u64;
        rest = rest.skip(count as u64);
    }
    // Either the string runs out of RAM, or it is too long.
    Err(Errno(if length > PUTS_MAX { EINVAL } else { EFAULT }))
}

/// FEATURES: bit `n` says that the group which starts at `8 * n` is there.
pub(super) fn features(word: u64) -> u64 {
    let group = |first: u64| 1 << (first / 8);
    let groups =
        [EXIT, CONSOLE_WRITE, FILE_OPEN, WALL_CLOCK, RANDOM, BLK_INFO, VM_INFO, LOG_READ, SEND, BOARD_LED];
    if word == 0 { groups.into_iter().map(group).sum() } else { 0 }
}
