//! What the ABI passes in memory.

use super::Errno;
use crate::memory::guest::GuestMemory;
use tinyvmm_abi::{
    files::{Entry, Space, Status},
    vms::VmInfo,
};

/// Integers and bytes, without padding.
pub(super) trait Record: Copy {}
impl Record for Status {}
impl Record for Entry {}
impl Record for Space {}
impl Record for VmInfo {}

/// Writes a record to the guest.
pub(super) fn put<T: Record>(memory: &GuestMemory, address: u64, record: &T) -> Result<(), Errno> {
    // SAFETY: a record has no padding, so all its bytes are initialised.
    let bytes = unsafe { core::slice::from_raw_parts((&raw const *record).cast::<u8>(), size_of::<T>()) };
    memory.write(memory.check(address, bytes.len() as u64)?, bytes);
    Ok(())
}
