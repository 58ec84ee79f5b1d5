//! Groups 0x30 and 0x38: the time of day, waking vCPUs, random numbers.

use super::{Errno, basic::CHUNK};
use crate::{scheduler, vm::Vm};
use tinyvmm_abi::EINVAL;

/// Most random bytes that one call gives: a guest that wants more calls again, so that no call takes long.
const MAX_RANDOM: u64 = 4096;

/// WAKE.
#[inline(never)]
pub(super) fn wake(vm: &Vm, vcpu: u64) -> Result<u64, Errno> {
    match u8::try_from(vcpu) {
        Ok(index) if usize::from(index) < vm.links.len() => {
            scheduler::wake(vm, index);
            Ok(0)
        }
        _ => Err(Errno(EINVAL)),
    }
}

/// RANDOM.
#[inline(never)]
pub(super) fn random(vm: &Vm, address: u64, len: u64) -> Result<u64, Errno> {
    let mut rest = vm.memory.check(address, len)?.truncate(MAX_RANDOM);
    let count = rest.len();
    let mut buffer = [0; CHUNK];
    while !rest.is_empty() {
        vm.fill_random(&mut buffer);
        rest = rest.skip(vm.memory.write(rest, &buffer) as u64);
    }
    Ok(count)
}
