//! How the RAM of the VM is divided: image, then heap, then the stacks of the vCPUs at the top.

use core::ops::Range;

use tinyvmm_abi as abi;

use crate::info;

/// A lone vCPU's stack is this part of RAM ...
const STACK_SHARE: usize = 8;
/// ... but no less, ...
const STACK_MIN: usize = 16 << 10;
/// ... and no more, bytes.
const STACK_MAX: usize = 256 << 10;
/// The RAM of a VM is a multiple of it.
const PAGE_SIZE: usize = 4 << 10;

unsafe extern "C" {
    /// End of the image; `guest.ld` defines it.
    static __image_end: u8;
}

/// Addresses that the image and the stacks leave free.
pub fn free() -> Range<usize> {
    let start = image_end();
    let end = ram_top().saturating_sub(stack_size() * vcpus());
    start..end.max(start)
}

/// Size of the RAM that is needed so that `free` bytes of it are free, in the pages that a VM has.
pub fn ram_needed(free: usize) -> usize {
    let other = image_end() + free;
    let stacks = match vcpus() {
        1 => other.div_ceil(STACK_SHARE - 1).clamp(STACK_MIN, STACK_MAX),
        vcpus => stack_size() * vcpus,
    };
    (other + stacks).next_multiple_of(PAGE_SIZE)
}

fn image_end() -> usize {
    (&raw const __image_end).addr()
}

/// Number of vCPUs.
pub fn vcpus() -> usize {
    usize::try_from(info::vcpu_count()).unwrap_or(1)
}

/// Address after the last byte of RAM: where the stack of vCPU 0 starts to grow down.
pub fn ram_top() -> usize {
    usize::try_from(abi::RAM_BASE + info::ram_size()).unwrap_or(usize::MAX)
}

/// Bytes that the stack of a vCPU may take. Several vCPUs start as far apart as the ABI says.
pub fn stack_size() -> usize {
    match info::vcpu_count() {
        1 => (ram_top() / STACK_SHARE).clamp(STACK_MIN, STACK_MAX),
        _ => usize::try_from(abi::STACK_SPACING).unwrap_or(STACK_MIN),
    }
}
