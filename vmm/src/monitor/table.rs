//! The monitor's list of VMs.

use crate::vm::{State, Usage};
use core::fmt;

/// The heads of the columns, which fit a terminal of 80.
pub const HEAD: &str = "  # name       state      CPU     time calls waits  irqs traps   memory restarts";

/// A VM as the list shows it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its place in the manifest, counted from 1.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Whether it has the input.
    pub has_focus: bool,
    /// What it does.
    pub state: State,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// What it has used since it was last started; the time in milliseconds.
    pub usage: Usage,
    /// Its RAM in bytes; 0 when it has none.
    pub memory: u64,
    /// How often it was started again.
    pub restarts: u32,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, state, vcpus, usage, memory, restarts, .. } = self;
        let focus = if self.has_focus { '*' } else { ' ' };
        let (seconds, ms) = (usage.time / 1000, usage.time % 1000);
        write!(f, "{focus}{number:>2} {name:<10} {state:<10} {vcpus:>3} {seconds:>4}.{ms:03}")?;
        for count in [usage.hypercalls(), usage.waits, usage.interrupts, usage.traps] {
            f.write_str(" ")?;
            Short(count).fmt(f)?;
        }
        write!(f, " {:>4} KiB{restarts:>9}", memory >> 10)
    }
}

/// A count in five columns: thousands, millions and so on when it is large.
pub(super) struct Short(pub(super) u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LARGEST: u64 = 99_999;
        const UNITS: &[(u64, char)] = &[(1000, 'k'), (1_000_000, 'M'), (1_000_000_000, 'G')];
        if self.0 <= LARGEST {
            return write!(f, "{:>5}", self.0);
        }
        let fits = |(size, _): &&(u64, char)| self.0 / size < 10_000;
        match UNITS.iter().find(fits) {
            Some((size, unit)) => write!(f, "{:>4}{unit}", self.0 / size),
            None => f.write_str(" many"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn columns_stand_below_their_heads() {
        let row = Row {
            number: 12,
            name: "py",
            has_focus: true,
            state: State::Restarting,
            vcpus: 2,
            usage: Usage { time: 12_345, exits: 1_234_567, waits: 5, interrupts: 20, traps: 3, steal: 0 },
            memory: 4 << 20,
            restarts: 7,
        };
        let expected = "*12 py         restarting   2   12.345 1234k     5    20     3 4096 KiB        7";
        assert_eq!(row.to_string(), expected);
        assert_eq!((HEAD.len(), expected.len()), (80, 80));
    }

    #[test]
    fn counts_have_five_columns() {
        for (count, shown) in [
            (0, "    0"),
            (99_999, "99999"),
            (100_000, " 100k"),
            (9_999_999, "9999k"),
            (10_000_000, "  10M"),
            (1_000_000_000_000, "1000G"),
            (u64::MAX, " many"),
        ] {
            assert_eq!(Short(count).to_string(), shown);
        }
    }
}
