//! The PL031 real-time clock (Arm DDI 0224): seconds since 1970, and an alarm.
//!
//! The model has no clock of its own: whoever uses it first says what time it is, in ticks
//! ([`Pl031::advance`]). The counter runs from the start, as if firmware had enabled it.

use super::prime_cell::PrimeCell;
use crate::word::low_word;
use core::num::NonZeroU64;

/// Offsets of the registers (DDI 0224, table 3-1).
mod register {
    pub(super) const DR: u64 = 0x00;
    pub(super) const MR: u64 = 0x04;
    pub(super) const LR: u64 = 0x08;
    pub(super) const CR: u64 = 0x0c;
    pub(super) const IMSC: u64 = 0x10;
    pub(super) const RIS: u64 = 0x14;
    pub(super) const MIS: u64 = 0x18;
    pub(super) const ICR: u64 = 0x1c;
}

/// A PL031.
#[derive(Debug)]
pub struct Pl031 {
    ticks_per_second: NonZeroU64,
    /// Whole seconds that the tick counter had counted when the model was last told the time.
    uptime: u64,
    /// The clock less the low 32 bits of `uptime`.
    offset: u32,
    load: u32,
    alarm: u32,
    interrupt_enabled: bool,
    alarm_due: bool,
}

impl Pl031 {
    /// A clock that shows `seconds` since 1970 when the tick counter is at `now`.
    #[must_use]
    pub fn new(seconds: u32, now: u64, ticks_per_second: NonZeroU64) -> Self {
        let uptime = now / ticks_per_second;
        Self {
            ticks_per_second,
            uptime,
            offset: seconds.wrapping_sub(low_word(uptime)),
            load: 0,
            alarm: 0,
            interrupt_enabled: false,
            alarm_due: false,
        }
    }

    /// Brings the clock up to the time `now`, in ticks: before each access, and when [`Self::next_event`] is
    /// due.
    pub fn advance(&mut self, now: u64) {
        let uptime = (now / self.ticks_per_second).max(self.uptime);
        // The distance to an alarm at the present second is a whole round.
        let to_alarm = u64::from(self.seconds_to_alarm().wrapping_sub(1)) + 1;
        self.alarm_due |= uptime - self.uptime >= to_alarm;
        self.uptime = uptime;
    }

    /// The level of the interrupt line. It can change with each access, and as time goes on.
    #[must_use]
    pub const fn interrupt_level(&self) -> bool {
        self.interrupt_enabled && self.alarm_due
    }

    /// When the interrupt line rises without an access, in ticks.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        let waits = self.interrupt_enabled && !self.alarm_due && self.seconds_to_alarm() != 0;
        let at = self.uptime.checked_add(u64::from(self.seconds_to_alarm()))?;
        at.checked_mul(self.ticks_per_second.get()).filter(|_| waits)
    }

    /// What the clock shows.
    fn time(&self) -> u32 {
        low_word(self.uptime).wrapping_add(self.offset)
    }

    fn seconds_to_alarm(&self) -> u32 {
        self.alarm.wrapping_sub(self.time())
    }

    fn set_time(&mut self, value: u32) {
        self.load = value;
        self.offset = value.wrapping_sub(low_word(self.uptime));
        self.compare();
    }

    fn set_alarm(&mut self, value: u32) {
        self.alarm = value;
        self.compare();
    }

    /// An alarm set for the present second is due.
    fn compare(&mut self) {
        self.alarm_due |= self.seconds_to_alarm() == 0;
    }
}

impl PrimeCell for Pl031 {
    /// Part 031 by Arm.
    const PERIPHERAL_ID: u32 = 0x0004_1031;

    fn read_register(&mut self, offset: u64) -> u32 {
        match offset {
            register::DR => self.time(),
            register::MR => self.alarm,
            register::LR => self.load,
            // Enabled for good.
            register::CR => 1,
            register::IMSC => u32::from(self.interrupt_enabled),
            register::RIS => u32::from(self.alarm_due),
            register::MIS => u32::from(self.interrupt_level()),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            register::MR => self.set_alarm(value),
            register::LR => self.set_time(value),
            register::IMSC => self.interrupt_enabled = value & 1 != 0,
            register::ICR => self.alarm_due &= value & 1 == 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Device, super::Width, *};
    use proptest::prelude::*;

    const HZ: NonZeroU64 = NonZeroU64::new(100).unwrap();
    const START: u32 = 1_700_000_000;

    /// A clock at [`START`] when the counter is at 1000, with its interrupt on.
    fn clock() -> Pl031 {
        let mut clock = Pl031::new(START, 1000, HZ);
        clock.write(register::IMSC, Width::Word, 1);
        clock
    }

    fn get(clock: &mut Pl031, offset: u64) -> u32 {
        u32::try_from(clock.read(offset, Width::Word)).unwrap()
    }

    fn set(clock: &mut Pl031, offset: u64, value: u32) {
        clock.write(offset, Width::Word, u64::from(value));
    }

    #[test]
    fn the_clock_runs_and_can_be_set() {
        let mut clock = clock();
        assert_eq!(get(&mut clock, register::DR), START);
        clock.advance(1099);
        assert_eq!(get(&mut clock, register::DR), START);
        clock.advance(1250);
        assert_eq!(get(&mut clock, register::DR), START + 2);
        set(&mut clock, register::LR, 5);
        assert_eq!((get(&mut clock, register::DR), get(&mut clock, register::LR)), (5, 5));
        clock.advance(1300);
        assert_eq!(get(&mut clock, register::DR), 6);
        clock.advance(0);
        assert_eq!(get(&mut clock, register::DR), 6, "time does not go back");
        assert_eq!(get(&mut clock, register::CR), 1);
    }

    #[test]
    fn the_alarm_comes_when_it_is_due() {
        let mut clock = clock();
        set(&mut clock, register::MR, START + 3);
        assert_eq!((clock.next_event(), clock.interrupt_level()), (Some(1300), false));
        clock.advance(1299);
        assert!(!clock.interrupt_level());
        clock.advance(1300);
        assert!(clock.interrupt_level());
        assert_eq!((clock.next_event(), get(&mut clock, register::MIS)), (None, 1));
        set(&mut clock, register::ICR, 1);
        assert!(!clock.interrupt_level());
        clock.advance(100_000);
        assert!(!clock.interrupt_level(), "once");
    }

    #[test]
    fn a_masked_alarm_is_remembered() {
        let mut clock = clock();
        set(&mut clock, register::IMSC, 0);
        set(&mut clock, register::MR, START + 1);
        assert_eq!(clock.next_event(), None);
        clock.advance(9000);
        assert_eq!((get(&mut clock, register::RIS), get(&mut clock, register::MIS)), (1, 0));
        set(&mut clock, register::IMSC, 1);
        assert!(clock.interrupt_level());
    }

    #[test]
    fn an_alarm_for_now_is_due_now() {
        let mut clock = clock();
        set(&mut clock, register::MR, START);
        assert!(clock.interrupt_level());
        set(&mut clock, register::ICR, 1);
        set(&mut clock, register::LR, START);
        assert!(clock.interrupt_level());
    }

    proptest! {
        /// The interrupt comes at the time that was told, and not before.
        #[test]
        fn events_are_exact(time: u32, alarm: u32, start in 0..1_u64 << 60, frequency in 1..1_u64 << 31) {
            let mut clock = Pl031::new(time, start, NonZeroU64::new(frequency).unwrap());
            set(&mut clock, register::IMSC, 1);
            set(&mut clock, register::MR, alarm);
            if let Some(at) = clock.next_event() {
                clock.advance(at - 1);
                prop_assert!(!clock.interrupt_level());
                clock.advance(at);
                prop_assert!(clock.interrupt_level());
                prop_assert_eq!(get(&mut clock, register::DR), alarm);
            }
        }

        #[test]
        fn any_use_is_survived(steps in prop::collection::vec((0..0x1000_u64, any::<u64>(), any::<u64>()), 0..50)) {
            let mut clock = clock();
            for (offset, value, now) in steps {
                clock.advance(now);
                clock.write(offset, Width::Doubleword, value);
                clock.read(offset, Width::Doubleword);
                let _ = clock.next_event();
            }
        }
    }
}
