//! Access to guest memory: the only way from a guest address to a pointer.
//!
//! A guest's address and length are allegations. [`GuestMemory::check`] turns them into a [`GuestRange`],
//! which is known to lie inside the VM's own memory; reads and writes take nothing else. Other vCPUs of
//! the VM may change the bytes at any time, so they are copied, never borrowed.

use super::{stage2::Stage2, window::Window};
use crate::arch::{bulk, cache};
use core::{fmt, ops::Range};
use tinyvmm_abi::EFAULT;

/// The memory of a VM.
pub struct GuestMemory {
    stage2: Stage2,
    ram: Range<u64>,
}

/// A part of a VM's RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestRange {
    start: u64,
    len: u64,
}

impl GuestRange {
    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        self.len
    }

    /// Guest physical address of its first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The first `len` bytes, or all of it when it is shorter.
    #[must_use]
    pub fn truncate(self, len: u64) -> Self {
        Self { len: self.len.min(len), ..self }
    }

    /// The rest after the first `len` bytes.
    #[must_use]
    pub fn skip(self, len: u64) -> Self {
        let len = len.min(self.len);
        Self { start: self.start + len, len: self.len - len }
    }
}

/// The guest named memory that is not its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadAddress;

impl BadAddress {
    /// The error number that the guest gets.
    pub const ERRNO: i64 = EFAULT;
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not inside the VM's memory")
    }
}

impl GuestMemory {
    /// The memory of a VM with its RAM at these guest physical addresses, all of which `stage2` maps.
    #[must_use]
    pub fn new(stage2: Stage2, ram: Range<u64>) -> Self {
        Self { stage2, ram }
    }

    /// The stage 2 tables.
    #[must_use]
    pub fn stage2(&self) -> &Stage2 {
        &self.stage2
    }

    /// Guest physical addresses of RAM.
    #[must_use]
    pub fn ram(&self) -> &Range<u64> {
        &self.ram
    }

    /// Size of RAM in bytes.
    #[must_use]
    pub fn ram_size(&self) -> u64 {
        self.ram.end - self.ram.start
    }

    /// A buffer that a guest named, checked whole.
    #[inline]
    pub fn check(&self, address: u64, len: u64) -> Result<GuestRange, BadAddress> {
        match address.checked_add(len) {
            Some(end) if address >= self.ram.start && end <= self.ram.end => {
                Ok(GuestRange { start: address, len })
            }
            _ => Err(BadAddress),
        }
    }

    /// Whether the guest can execute what is at `address`.
    #[must_use]
    pub fn is_code(&self, address: u64) -> bool {
        self.stage2.is_executable(address)
    }

    /// RAM from `address` to its end, at most `limit` bytes: for what ends at a NUL.
    pub fn check_from(&self, address: u64, limit: u64) -> Result<GuestRange, BadAddress> {
        if !self.ram.contains(&address) {
            return Err(BadAddress);
        }
        Ok(GuestRange { start: address, len: (self.ram.end - address).min(limit) })
    }

    /// Copies from the guest into `buffer`, as much as both hold. Returns the bytes copied.
    pub fn read(&self, range: GuestRange, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        self.for_each_piece(range.truncate(buffer.len() as u64), |guest, len| {
            // SAFETY: `guest` is valid for `len` bytes of this VM's memory, `buffer` has room for what
            // the range was cut to, and the hypervisor's memory never overlaps a guest's.
            unsafe { bulk::copy(guest, buffer[done..done + len].as_mut_ptr(), len) };
            done += len;
        });
        done
    }

    /// Copies from `bytes` into the guest, as much as both hold. Returns the bytes copied.
    pub fn write(&self, range: GuestRange, bytes: &[u8]) -> usize {
        let mut done = 0;
        self.for_each_piece(range.truncate(bytes.len() as u64), |guest, len| {
            // SAFETY: as in `read`; RAM is mapped for this VM alone, so writing changes no other's memory.
            unsafe { bulk::copy(bytes[done..done + len].as_ptr(), guest, len) };
            done += len;
        });
        done
    }

    /// Copies out of a buffer of the guest's piece by piece, each from where the last one ended.
    pub fn reader(&self, mut range: GuestRange) -> impl FnMut(&mut [u8]) {
        move |piece| range = range.skip(self.read(range, piece) as u64)
    }

    /// Copies into a buffer of the guest's piece by piece, each to where the last one ended.
    pub fn writer(&self, mut range: GuestRange) -> impl FnMut(&[u8]) {
        move |piece| range = range.skip(self.write(range, piece) as u64)
    }

    /// A window on a buffer, unless it is larger than windows are ([`window::SIZE_MAX`](super::window::SIZE_MAX)).
    #[must_use]
    pub fn window(&self, range: GuestRange) -> Option<Window> {
        let mut rest = range;
        Window::new(core::iter::from_fn(|| {
            let piece = self.stage2.piece(rest.start, rest.len).filter(|_| !rest.is_empty())?;
            rest = rest.skip(piece.len);
            Some(piece)
        }))
    }

    /// Makes code that was written into the guest visible to its instruction fetches.
    pub fn publish_code(&self, range: GuestRange) {
        self.for_each_piece(range, |start, len| cache::synchronise_instructions(start, len));
    }

    /// Writes what the caches hold of RAM back to memory, for a guest that starts with its caches off.
    pub fn clean_to_memory(&self) {
        let all = GuestRange { start: self.ram.start, len: self.ram_size() };
        self.for_each_piece(all, |start, len| cache::clean_to_memory(start, len));
    }

    /// Calls `each` with the pieces of `range` that are contiguous in physical memory.
    fn for_each_piece(&self, range: GuestRange, mut each: impl FnMut(*mut u8, usize)) {
        let mut rest = range;
        while !rest.is_empty() {
            // RAM is mapped whole when the VM is built, so a checked range always translates.
            let Some((leaf, _)) = self.stage2.lookup(rest.start) else { return };
            let len = leaf.remaining.min(rest.len);
            let (Ok(address), Ok(count)) = (usize::try_from(leaf.address), usize::try_from(len)) else {
                return;
            };
            each(core::ptr::with_exposed_provenance_mut(address), count);
            rest = rest.skip(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{
        frames::{FrameBlock, tests::frames},
        stage2::Access,
    };
    use alloc::{sync::Arc, vec, vec::Vec};
    use proptest::prelude::*;

    /// RAM of seven pages from blocks that are not contiguous.
    fn memory() -> GuestMemory {
        let frames = frames(64);
        let mut stage2 = Stage2::new(frames).unwrap();
        let mut ipa = 0;
        FrameBlock::zeroed_blocks(frames, 7 * 4096, 8192, |block| {
            let size = block.size();
            let hole = FrameBlock::zeroed(frames, 4096).unwrap();
            stage2.map(ipa, Arc::new(block), Access::ReadWriteExecute).unwrap();
            ipa += size;
            drop(hole);
        })
        .unwrap();
        GuestMemory::new(stage2, 0..7 * 4096)
    }

    #[test]
    fn only_whole_ranges_inside_ram_pass() {
        let memory = memory();
        assert!(memory.check(0, 7 * 4096).is_ok());
        assert!(memory.check(7 * 4096, 0).is_ok());
        for (address, len) in
            [(0, 7 * 4096 + 1), (7 * 4096, 1), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)]
        {
            assert_eq!(memory.check(address, len), Err(BadAddress), "{address:#x} + {len:#x}");
        }
        assert_eq!(memory.check_from(7 * 4096 - 3, 10).unwrap().len(), 3);
        assert_eq!(memory.check_from(7 * 4096, 10), Err(BadAddress));
        assert_eq!(memory.check_from(u64::MAX, 10), Err(BadAddress));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address in 0_u64..7 * 4096, bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
            let memory = memory();
            let Ok(range) = memory.check(address, bytes.len() as u64) else { return Ok(()) };
            prop_assert_eq!(memory.write(range, &bytes), bytes.len());
            let mut back = vec![0; bytes.len()];
            prop_assert_eq!(memory.read(range, &mut back), bytes.len());
            prop_assert_eq!(&back, &bytes);
            let mut all: Vec<u8> = vec![0xff; 7 * 4096];
            memory.read(memory.check(0, 7 * 4096).unwrap(), &mut all);
            let start = usize::try_from(address).unwrap();
            prop_assert!(all[..start].iter().chain(&all[start + bytes.len()..]).all(|byte| *byte == 0));
        }
    }
}
