//! Random numbers that nobody can foresee, as far as the board has something to start from: ChaCha20 (RFC 8439)
//! with a key that changes with each use, so that what was given out cannot be found from what is kept.

use crate::arch::{cpu, timer};
use spin::Mutex;

/// Words of a key.
const KEY_WORDS: usize = 8;
type Key = [u32; KEY_WORDS];
/// Words of a block, and its bytes.
const BLOCK_WORDS: usize = 16;
const BLOCK_SIZE: usize = BLOCK_WORDS * 4;
/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// What the generators of the VMs come from.
static SOURCE: Mutex<Generator> = Mutex::new(Generator { key: [0; KEY_WORDS] });

/// Mixes in what the boot loader has put into the device tree.
pub fn seed(bytes: &[u8]) {
    SOURCE.lock().stir(bytes);
}

/// A generator for a VM.
#[must_use]
pub fn generator() -> Generator {
    let mut source = SOURCE.lock();
    // No two boots take the same time, on real hardware, and some cores have a source of their own.
    source.stir(&timer::now().to_le_bytes());
    source.stir(&cpu::random().unwrap_or(0).to_le_bytes());
    Generator { key: source.next_key() }
}

/// A source of random bytes.
pub struct Generator {
    key: Key,
}

impl Generator {
    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let key = self.next_key();
        for (counter, piece) in (1..).zip(buffer.chunks_mut(BLOCK_SIZE)) {
            let bytes = block(&key, counter).into_iter().flat_map(u32::to_le_bytes);
            piece.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        }
    }

    /// A key for one use. The generator's own is another one from now on.
    fn next_key(&mut self) -> Key {
        let words = block(&self.key, 0);
        self.key = core::array::from_fn(|index| words[index]);
        core::array::from_fn(|index| words[KEY_WORDS + index])
    }

    /// Makes the key depend on these bytes as well.
    fn stir(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(size_of::<Key>()) {
            for (index, byte) in piece.iter().enumerate() {
                self.key[index / 4] ^= u32::from(*byte) << (index % 4 * 8);
            }
            self.next_key();
        }
    }
}

/// Block number `counter` of the stream that belongs to a key (RFC 8439, 2.3), with a nonce of zeros.
fn block(key: &Key, counter: u32) -> [u32; BLOCK_WORDS] {
    let mut start = [0; BLOCK_WORDS];
    start[..4].copy_from_slice(&CONSTANTS);
    start[4..12].copy_from_slice(key);
    start[12] = counter;
    let mut words = start;
    for _ in 0..10 {
        for column in 0..4 {
            quarter_round(&mut words, [column, column + 4, column + 8, column + 12]);
        }
        for column in 0..4 {
            let on = |row: usize| row * 4 + (column + row) % 4;
            quarter_round(&mut words, [column, on(1), on(2), on(3)]);
        }
    }
    core::array::from_fn(|index| words[index].wrapping_add(start[index]))
}

/// RFC 8439, 2.1.
fn quarter_round(words: &mut [u32; BLOCK_WORDS], [a, b, c, d]: [usize; 4]) {
    for (x, y, z, distance) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        words[x] = words[x].wrapping_add(words[y]);
        words[z] = (words[z] ^ words[x]).rotate_left(distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Test vector #1 of RFC 8439, A.1: all zeros.
    #[test]
    fn a_block_is_as_in_the_standard() {
        let words = block(&[0; KEY_WORDS], 0);
        assert_eq!(words[..4], [0xade0_b876, 0x903d_f1a0, 0xe56a_5d40, 0x28bd_8653]);
        // Test vector #2: the next one.
        assert_eq!(block(&[0; KEY_WORDS], 1)[..2], [0xbee7_079f, 0x7a38_5155]);
    }

    #[test]
    fn no_two_pieces_are_the_same() {
        let mut seen = BTreeSet::new();
        let (mut first, mut second) = (generator(), generator());
        for _ in 0..100 {
            for generator in [&mut first, &mut second] {
                let mut buffer = [0; 150];
                generator.fill(&mut buffer);
                assert!(buffer.chunks_exact(8).all(|piece| seen.insert(piece.to_vec())));
            }
        }
    }

    #[test]
    fn each_byte_of_a_seed_counts() {
        let first = |seed: &[u8]| {
            let mut generator = Generator { key: [0; KEY_WORDS] };
            generator.stir(seed);
            generator.next_key()
        };
        let keys: BTreeSet<Key> = (0..40).map(|place| first(&[&[0; 40][..place], &[1]].concat())).collect();
        assert_eq!(keys.len(), 40);
    }
}
