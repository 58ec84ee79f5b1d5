//! List registers: how the virtual CPU interface is told about interrupts, and tells what became of them.
//!
//! ```text
//! GICv3 ICH_LR<n>_EL2 (IHI 0069, 12.4)
//!  63..62  61  60     59..56  55..48    47..45  44..32                           31..0
//!  state   HW  group  0       priority  0       physical; if HW = 0, 41 is EOI   virtual INTID
//!
//! GICv2 GICH_LR<n> (IHI 0048B, 5.3.9)
//!  31  30      29..28  27..23          22..20  19..10                                       9..0
//!  HW  group1  state   priority[7:3]   0       physical; if HW = 0, 19 is EOI, 12..10 CPU   virtual INTID
//! ```

use super::{IntId, Version};
use crate::word::low_word;

/// What the virtual CPU interface makes of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// The list register is free.
    #[default]
    Invalid,
    /// To be acknowledged by the guest.
    Pending,
    /// Acknowledged, and not yet deactivated.
    Active,
    /// Acknowledged, and to be acknowledged again once it is deactivated.
    PendingAndActive,
}

impl State {
    pub(super) const fn new(pending: bool, active: bool) -> Self {
        match (pending, active) {
            (false, false) => Self::Invalid,
            (true, false) => Self::Pending,
            (false, true) => Self::Active,
            (true, true) => Self::PendingAndActive,
        }
    }

    /// Whether the interrupt is to be acknowledged, now or later.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::PendingAndActive)
    }

    /// Whether the interrupt is acknowledged and not yet deactivated.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::PendingAndActive)
    }

    /// The two bits are the same in both versions.
    const fn bits(self) -> u32 {
        self.is_pending() as u32 | (self.is_active() as u32) << 1
    }

    const fn from_bits(bits: u32) -> Self {
        Self::new(bits & 1 != 0, bits & 2 != 0)
    }
}

/// Where an interrupt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the hypervisor.
    Software {
        /// Ask for a maintenance interrupt when the list register becomes free.
        eoi: bool,
        /// GICv2: the vCPU that sent the SGI, else 0. Has no place in a GICv3 list register.
        source: u8,
    },
    /// From this physical interrupt, which becomes inactive when the guest deactivates the virtual one.
    Hardware(IntId),
}

/// A list register's contents, for either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRegister {
    /// The interrupt as the guest sees it.
    pub intid: IntId,
    /// Its state.
    pub state: State,
    /// Its priority, of which the highest five bits count.
    pub priority: u8,
    /// Whether it is of group 1 (signalled as an IRQ) rather than of group 0.
    pub group1: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Bits of a physical interrupt number in a GICv3 list register.
const V3_PHYSICAL: u64 = 0x1fff;
/// Bits of an interrupt number in a GICv2 list register.
const V2_INTID: u32 = 0x3ff;

impl ListRegister {
    /// A free list register.
    pub const EMPTY: Self = Self {
        intid: 0,
        state: State::Invalid,
        priority: 0,
        group1: false,
        origin: Origin::Software { eoi: false, source: 0 },
    };

    /// As the hardware has it: a value for `ICH_LR<n>_EL2`, or one of 32 bits for `GICH_LR<n>`.
    #[inline]
    #[must_use]
    pub fn encode(self, version: Version) -> u64 {
        match version {
            Version::V2 => u64::from(self.encode_v2()),
            Version::V3 => self.encode_v3(),
        }
    }

    /// The meaning of what the hardware has.
    #[inline]
    #[must_use]
    pub fn decode(version: Version, value: u64) -> Self {
        match version {
            Version::V2 => Self::decode_v2(low_word(value)),
            Version::V3 => Self::decode_v3(value),
        }
    }

    /// The value for `ICH_LR<n>_EL2`.
    #[inline]
    fn encode_v3(self) -> u64 {
        let origin = match self.origin {
            Origin::Software { eoi, .. } => u64::from(eoi) << 41,
            Origin::Hardware(physical) => 1 << 61 | (u64::from(physical) & V3_PHYSICAL) << 32,
        };
        u64::from(self.state.bits()) << 62
            | u64::from(self.group1) << 60
            | u64::from(self.priority) << 48
            | origin
            | u64::from(self.intid)
    }

    /// The meaning of a value of `ICH_LR<n>_EL2`.
    #[inline]
    fn decode_v3(value: u64) -> Self {
        let field = |shift: u32, mask: u64| low_word(value >> shift & mask);
        let origin = if field(61, 1) != 0 {
            Origin::Hardware(field(32, V3_PHYSICAL))
        } else {
            Origin::Software { eoi: field(41, 1) != 0, source: 0 }
        };
        Self {
            intid: field(0, u64::from(u32::MAX)),
            state: State::from_bits(field(62, 0b11)),
            priority: super::low_byte(value >> 48),
            group1: field(60, 1) != 0,
            origin,
        }
    }

    /// The value for `GICH_LR<n>`.
    #[inline]
    fn encode_v2(self) -> u32 {
        let origin = match self.origin {
            Origin::Software { eoi, source } => u32::from(eoi) << 19 | (u32::from(source) & 0b111) << 10,
            Origin::Hardware(physical) => 1 << 31 | (physical & V2_INTID) << 10,
        };
        u32::from(self.group1) << 30
            | self.state.bits() << 28
            | u32::from(self.priority >> 3) << 23
            | origin
            | self.intid & V2_INTID
    }

    /// The meaning of a value of `GICH_LR<n>`.
    #[inline]
    fn decode_v2(value: u32) -> Self {
        let field = |shift: u32, mask: u32| value >> shift & mask;
        let byte = |shift: u32, mask: u32| super::low_byte(u64::from(field(shift, mask)));
        let origin = if field(31, 1) != 0 {
            Origin::Hardware(field(10, V2_INTID))
        } else {
            Origin::Software { eoi: field(19, 1) != 0, source: byte(10, 0b111) }
        };
        Self {
            intid: field(0, V2_INTID),
            state: State::from_bits(field(28, 0b11)),
            priority: byte(23, 0x1f) << 3,
            group1: field(30, 1) != 0,
            origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOFTWARE: ListRegister = ListRegister {
        intid: 33,
        state: State::Pending,
        priority: 0xa0,
        group1: true,
        origin: Origin::Software { eoi: true, source: 5 },
    };
    const HARDWARE: ListRegister = ListRegister {
        intid: 27,
        state: State::Active,
        priority: 0x08,
        group1: false,
        origin: Origin::Hardware(30),
    };

    #[test]
    fn the_bits_of_a_gicv3_list_register() {
        assert_eq!(SOFTWARE.encode_v3(), 1 << 62 | 1 << 60 | 0xa0 << 48 | 1 << 41 | 33);
        assert_eq!(HARDWARE.encode_v3(), 1 << 63 | 1 << 61 | 0x08 << 48 | 30 << 32 | 27);
        assert_eq!(ListRegister::EMPTY.encode_v3(), 0);
    }

    #[test]
    fn the_bits_of_a_gicv2_list_register() {
        assert_eq!(SOFTWARE.encode_v2(), 1 << 30 | 1 << 28 | 0x14 << 23 | 1 << 19 | 5 << 10 | 33);
        assert_eq!(HARDWARE.encode_v2(), 1 << 31 | 1 << 29 | 1 << 23 | 30 << 10 | 27);
        assert_eq!(ListRegister::EMPTY.encode_v2(), 0);
    }

    fn origin() -> impl Strategy<Value = Origin> {
        prop_oneof![
            (any::<bool>(), 0_u8..8).prop_map(|(eoi, source)| Origin::Software { eoi, source }),
            (16_u32..1020).prop_map(Origin::Hardware),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            intid in 0_u32..1020, state in 0_u32..4, priority in 0_u8..32, group1: bool, origin in origin()
        ) {
            let state = State::from_bits(state);
            let register = ListRegister { intid, state, priority: priority << 3, group1, origin };
            prop_assert_eq!(ListRegister::decode_v2(register.encode_v2()), register);
            let back = ListRegister::decode_v3(register.encode_v3());
            let origin = match origin {
                Origin::Software { eoi, .. } => Origin::Software { eoi, source: 0 },
                hardware => hardware,
            };
            prop_assert_eq!(back, ListRegister { origin, ..register });
        }

        /// Reserved bits are dropped, and nothing else.
        #[test]
        fn any_value_decodes(value: u64) {
            let once = ListRegister::decode_v3(value);
            prop_assert_eq!(ListRegister::decode_v3(once.encode_v3()), once);
            let once = ListRegister::decode_v2(low_word(value));
            prop_assert_eq!(ListRegister::decode_v2(once.encode_v2()), once);
        }
    }
}
