//! An access to a device: what a guest's load or store instruction asks for.
//!
//! A data abort at stage 2 describes the instruction in its syndrome (Arm ARM, "ISS encoding for an
//! exception from a Data Abort"), so that it need not be fetched and decoded. It does so for loads and
//! stores of one general-purpose register without write-back: all that device drivers use.

use crate::arch::{context::GuestRegisters, syndrome::Syndrome};

/// How much is loaded or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Halfword,
    /// 32 bits.
    Word,
    /// 64 bits.
    Doubleword,
}

impl Width {
    /// Number of bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self as u8
    }

    /// The bits of `value` that an access of this width carries.
    #[inline]
    #[must_use]
    pub const fn truncate(self, value: u64) -> u64 {
        value << self.unused_bits() >> self.unused_bits()
    }

    /// As [`truncate`](Self::truncate), with the upper bits filled from the sign.
    #[inline]
    const fn sign_extend(self, value: u64) -> u64 {
        ((value << self.unused_bits()).cast_signed() >> self.unused_bits()).cast_unsigned()
    }

    const fn unused_bits(self) -> u64 {
        64 - 8 * self.bytes()
    }

    /// From `ISS.SAS`.
    const fn from_access_size(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Byte,
            1 => Self::Halfword,
            2 => Self::Word,
            _ => Self::Doubleword,
        }
    }
}

/// Which way the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device to the guest.
    Read,
    /// From the guest to the device.
    Write,
}

/// A load or store that a device has to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmioAccess {
    /// How much.
    pub width: Width,
    /// Which way.
    pub direction: Direction,
    /// Number of the register: 31 is `XZR`.
    register: u8,
    sign_extend: bool,
    /// Whether the register is an `X` rather than a `W`.
    is_64_bit: bool,
}

impl MmioAccess {
    /// Reads the syndrome of a data abort. None if it is not one, or does not describe the instruction (`ISS.ISV`
    /// is 0): it loads or stores several registers or a vector, has write-back, or maintains caches.
    #[inline]
    #[must_use]
    pub const fn decode(syndrome: Syndrome) -> Option<Self> {
        let Syndrome(esr) = syndrome;
        if !syndrome.is_data_abort() || esr >> 24 & 1 == 0 {
            return None;
        }
        Some(Self {
            width: Width::from_access_size(esr >> 22),
            direction: if syndrome.is_write() { Direction::Write } else { Direction::Read },
            register: (esr >> 16).to_le_bytes()[0] & 31,
            sign_extend: esr >> 21 & 1 != 0,
            is_64_bit: esr >> 15 & 1 != 0,
        })
    }

    /// What the guest stores.
    #[inline]
    #[must_use]
    pub fn value(&self, registers: &GuestRegisters) -> u64 {
        // There is no register 31 among them: it reads as zero.
        let value = registers.x.get(usize::from(self.register)).copied().unwrap_or(0);
        self.width.truncate(value)
    }

    /// Gives the guest what it loads. The upper bits of `value` do not count.
    #[inline]
    pub fn complete(&self, registers: &mut GuestRegisters, value: u64) {
        let value = if self.sign_extend { self.width.sign_extend(value) } else { self.width.truncate(value) };
        let value = if self.is_64_bit { value } else { Width::Word.truncate(value) };
        if let Some(register) = registers.x.get_mut(usize::from(self.register)) {
            *register = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ISV: u64 = 1 << 24;
    const SIGN_EXTEND: u64 = 1 << 21;
    const SIXTY_FOUR: u64 = 1 << 15;
    const WRITE: u64 = 1 << 6;

    /// The syndrome of a load or store of `1 << size` bytes through a register.
    fn syndrome(size: u64, register: u64, flags: u64) -> Syndrome {
        Syndrome(0x24 << 26 | 1 << 25 | ISV | size << 22 | register << 16 | flags | 0x07)
    }

    fn load(size: u64, flags: u64, value: u64) -> u64 {
        let access = MmioAccess::decode(syndrome(size, 3, flags)).unwrap();
        assert_eq!(access.direction, Direction::Read);
        let mut registers = GuestRegisters::default();
        registers.x[3] = 0x5555_5555_5555_5555;
        access.complete(&mut registers, value);
        registers.x[3]
    }

    #[test]
    fn loads_extend_as_the_instruction_says() {
        const VALUE: u64 = 0x8877_6655_f4f3_f2f1;
        assert_eq!(load(0, 0, VALUE), 0xf1, "LDRB");
        assert_eq!(load(1, 0, VALUE), 0xf2f1, "LDRH");
        assert_eq!(load(2, 0, VALUE), 0xf4f3_f2f1, "LDR W");
        assert_eq!(load(3, SIXTY_FOUR, VALUE), VALUE, "LDR X");
        assert_eq!(load(0, SIGN_EXTEND, VALUE), 0xffff_fff1, "LDRSB W");
        assert_eq!(load(0, SIGN_EXTEND | SIXTY_FOUR, VALUE), 0xffff_ffff_ffff_fff1, "LDRSB X");
        assert_eq!(load(1, SIGN_EXTEND | SIXTY_FOUR, 0x1234), 0x1234, "LDRSH X");
        assert_eq!(load(2, SIGN_EXTEND | SIXTY_FOUR, VALUE), 0xffff_ffff_f4f3_f2f1, "LDRSW");
    }

    #[test]
    fn stores_carry_as_much_as_their_width() {
        let mut registers = GuestRegisters::default();
        registers.x[30] = 0x8877_6655_f4f3_f2f1;
        let stored = |size, register| {
            let access = MmioAccess::decode(syndrome(size, register, WRITE)).unwrap();
            assert_eq!(access.direction, Direction::Write);
            access.value(&registers)
        };
        assert_eq!(
            [0, 1, 2, 3].map(|size| stored(size, 30)),
            [0xf1, 0xf2f1, 0xf4f3_f2f1, 0x8877_6655_f4f3_f2f1]
        );
        assert_eq!(stored(3, 31), 0, "XZR");
    }

    #[test]
    fn a_load_to_xzr_changes_nothing() {
        let mut registers = GuestRegisters::default();
        MmioAccess::decode(syndrome(3, 31, SIXTY_FOUR)).unwrap().complete(&mut registers, u64::MAX);
        assert_eq!(registers.x, [0; 31]);
    }

    #[test]
    fn what_the_syndrome_does_not_describe_is_no_access() {
        assert_eq!(MmioAccess::decode(Syndrome(0x24 << 26 | 1 << 25 | 0x47)), None);
        assert_eq!(MmioAccess::decode(Syndrome(0x20 << 26 | 1 << 25 | ISV)), None, "an instruction abort");
    }

    proptest! {
        #[test]
        fn no_syndrome_does_harm(esr: u64, value: u64) {
            let mut registers = GuestRegisters::default();
            if let Some(access) = MmioAccess::decode(Syndrome(0x24 << 26 | esr & 0x3ff_ffff)) {
                access.complete(&mut registers, value);
                prop_assert!(access.value(&registers) <= access.width.truncate(u64::MAX));
                prop_assert!(registers.x.iter().filter(|x| **x != 0).count() <= 1);
            }
        }
    }
}
