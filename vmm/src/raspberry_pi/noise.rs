//! The RNG200: a generator of random numbers by noise, which has no public manual. Linux' `iproc-rng200.c` drives it
//! likewise.

use crate::{deadline::Deadline, mmio::Registers};
use core::ops::Range;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, ReadWrite},
};

register_structs! {
    /// The registers of the generator.
    Rng200 {
        /// `RNG_CTRL`: whether it works.
        (0x00 => control: ReadWrite<u32>),
        (0x04 => reserved0),
        /// `RNG_INT_STATUS`: what its own tests have found.
        (0x18 => status: ReadOnly<u32>),
        (0x1c => reserved1),
        /// `RNG_FIFO_DATA`: the next word.
        (0x20 => data: ReadOnly<u32>),
        /// `RNG_FIFO_COUNT`: how many words wait.
        (0x24 => count: ReadOnly<u32>),
        (0x28 => @END),
    }
}

/// `RNG_CTRL.RBGEN`: all of these set means on, ...
const ON_MASK: u32 = 0x1fff;
/// ... and so does this.
const ON: u32 = 1;
/// `RNG_INT_STATUS`: the tests of NIST failed, or the generator has locked itself.
const FAILED: u32 = 1 << 5 | 1 << 31;
/// `RNG_FIFO_COUNT`.
const COUNT_MASK: u32 = 0xff;
/// Words to start from: as many as the key of the hypervisor's own generator has.
const WORDS: usize = 8;
/// How long each may take. It is some 30 us at the usual rate of a million bits a second, after a pause at the start.
const PATIENCE_MS: u64 = 20;

/// As many random bytes as secrets need, if the generator works.
///
/// # Safety
/// Its registers are mapped as device memory.
pub(super) unsafe fn collect(range: &Range<u64>) -> Option<[u8; WORDS * 4]> {
    // SAFETY: the caller's promise.
    let rng: Registers<Rng200> = unsafe { Registers::at(range) };
    if rng.control.get() & ON_MASK == 0 {
        rng.control.set(ON);
    }
    let mut seed = [0; WORDS * 4];
    for word in seed.chunks_exact_mut(4) {
        if !Deadline::after_ms(PATIENCE_MS).wait(|| rng.count.get() & COUNT_MASK != 0) {
            return None;
        }
        word.copy_from_slice(&rng.data.get().to_ne_bytes());
    }
    (rng.status.get() & FAILED == 0).then_some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmio::tests::Memory;

    fn collected(changes: [(usize, u32); 3]) -> Option<[u8; 32]> {
        let memory = Memory::<10>::new(changes);
        // SAFETY: memory that is as large as the registers.
        let seed = unsafe { collect(&memory.range()) };
        assert_ne!(memory.word(0) & ON_MASK, 0, "it is on");
        seed
    }

    #[test]
    fn words_are_taken_from_a_generator_that_works() {
        let seed = Some([0x5a; 32]);
        assert_eq!(collected([(0, 0), (8, 0x5a5a_5a5a), (9, 0x101)]), seed);
        assert_eq!(collected([(0, 0x1fff), (8, 0x5a5a_5a5a), (9, 1)]), seed);
    }

    #[test]
    fn what_failed_its_tests_is_not_used() {
        assert_eq!(collected([(6, 1 << 5), (8, 0x5a5a_5a5a), (9, 1)]), None);
        assert_eq!(collected([(6, 1 << 31), (8, 0x5a5a_5a5a), (9, 1)]), None);
    }
}
