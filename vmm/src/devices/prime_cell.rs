//! What Arm's PrimeCell peripherals have in common: registers of 32 bits on a bus without byte lanes, and
//! the identification registers at their end.

use super::{Device, Width};
use crate::word::low_word;

/// A peripheral as its manual describes it.
pub(super) trait PrimeCell {
    /// What `PeriphID0` to `PeriphID3` tell, lowest byte first.
    const PERIPHERAL_ID: u32;

    /// Reads the register at `offset`, a multiple of 4.
    fn read_register(&mut self, offset: u64) -> u32;

    /// Writes the register at `offset`, a multiple of 4.
    fn write_register(&mut self, offset: u64, value: u32);
}

/// What `PCellID0` to `PCellID3` tell of every PrimeCell, lowest byte first.
const PRIME_CELL_ID: u32 = 0xb105_f00d;
/// Offset of `PeriphID0`.
const PERIPHERAL_ID_BASE: u64 = 0xfe0;
/// Offset of `PCellID0`.
const PRIME_CELL_ID_BASE: u64 = 0xff0;

/// As on the APB: the bus moves words; a narrower access gets its lanes of one, and a wider one is two.
impl<T: PrimeCell> Device for T {
    #[inline]
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        let first = u64::from(read_word(self, offset & !3));
        match width {
            Width::Doubleword => first | u64::from(read_word(self, (offset & !3).wrapping_add(4))) << 32,
            _ => width.truncate(first >> lane(offset)),
        }
    }

    #[inline]
    fn write(&mut self, offset: u64, width: Width, value: u64) {
        match width {
            Width::Doubleword => {
                self.write_register(offset & !3, low_word(value));
                self.write_register((offset & !3).wrapping_add(4), low_word(value >> 32));
            }
            _ => self.write_register(offset & !3, low_word(width.truncate(value) << lane(offset))),
        }
    }
}

/// Position of the byte at `offset` in its word, in bits.
const fn lane(offset: u64) -> u64 {
    offset % 4 * 8
}

#[inline]
fn read_word<T: PrimeCell>(device: &mut T, offset: u64) -> u32 {
    match offset {
        PRIME_CELL_ID_BASE.. => id_byte(PRIME_CELL_ID, offset),
        PERIPHERAL_ID_BASE.. => id_byte(T::PERIPHERAL_ID, offset),
        _ => device.read_register(offset),
    }
}

/// The byte of `id` that the register at `offset` shows.
fn id_byte(id: u32, offset: u64) -> u32 {
    id >> (offset / 4 % 4 * 8) & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words([u32; 2]);

    impl PrimeCell for Words {
        const PERIPHERAL_ID: u32 = 0x0034_1011;

        fn read_register(&mut self, offset: u64) -> u32 {
            self.0[usize::from(offset == 4)]
        }

        fn write_register(&mut self, offset: u64, value: u32) {
            self.0[usize::from(offset == 4)] = value;
        }
    }

    #[test]
    fn narrow_and_wide_accesses() {
        let mut device = Words([0x4433_2211, 0x8877_6655]);
        assert_eq!(device.read(0, Width::Byte), 0x11);
        assert_eq!(device.read(3, Width::Byte), 0x44);
        assert_eq!(device.read(2, Width::Halfword), 0x4433);
        assert_eq!(device.read(4, Width::Word), 0x8877_6655);
        assert_eq!(device.read(0, Width::Doubleword), 0x8877_6655_4433_2211);
        device.write(1, Width::Byte, 0x1ab);
        assert_eq!(device.0[0], 0xab00);
        device.write(0, Width::Doubleword, 0x1_0000_0002);
        assert_eq!(device.0, [2, 1]);
    }

    #[test]
    fn identification_is_by_bytes() {
        let mut device = Words([0; 2]);
        let bytes: [u64; 8] =
            core::array::from_fn(|index| device.read(0xfe0 + 4 * index as u64, Width::Word));
        assert_eq!(bytes, [0x11, 0x10, 0x34, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
    }
}
