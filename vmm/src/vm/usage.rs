//! What vCPUs use: time, and exits by kind.

use core::sync::atomic::{AtomicU64, Ordering};

/// What a vCPU has used. Hypercalls are what is left of the exits, so that they need no counter of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Ticks that it had a core.
    pub time: u64,
    /// Ticks that it was ready but had none. The vCPU itself does not count them.
    pub steal: u64,
    /// Times it came back to the hypervisor.
    pub exits: u64,
    /// Exits to wait, or to let others run.
    pub waits: u64,
    /// Exits because of an interrupt for the hypervisor.
    pub interrupts: u64,
    /// Exits because of an instruction or an access that the hypervisor emulates.
    pub traps: u64,
}

impl Usage {
    /// Exits to call the hypervisor.
    #[must_use]
    pub const fn hypercalls(&self) -> u64 {
        self.exits.saturating_sub(self.waits + self.interrupts + self.traps)
    }

    /// What both have used.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            time: self.time + other.time,
            steal: self.steal + other.steal,
            exits: self.exits + other.exits,
            waits: self.waits + other.waits,
            interrupts: self.interrupts + other.interrupts,
            traps: self.traps + other.traps,
        }
    }
}

/// A vCPU's [`Usage`] as other cores see it: as of its last interrupt or turn. Only the core that runs it writes.
#[derive(Debug, Default)]
pub struct SharedUsage {
    time: AtomicU64,
    steal: AtomicU64,
    exits: AtomicU64,
    waits: AtomicU64,
    interrupts: AtomicU64,
    traps: AtomicU64,
    /// Since when it has a core; 0 when it has none.
    turn: AtomicU64,
}

impl SharedUsage {
    /// A turn begins, of a vCPU that was ready for one since then.
    pub fn begin(&self, ready_since: u64, now: u64) {
        let steal = self.steal.load(Ordering::Relaxed) + now.saturating_sub(ready_since);
        self.steal.store(steal, Ordering::Relaxed);
        self.turn.store(now, Ordering::Relaxed);
    }

    /// Shows what was used so far.
    pub fn publish(&self, usage: &Usage) {
        self.exits.store(usage.exits, Ordering::Relaxed);
        self.waits.store(usage.waits, Ordering::Relaxed);
        self.interrupts.store(usage.interrupts, Ordering::Relaxed);
        self.traps.store(usage.traps, Ordering::Relaxed);
    }

    /// A turn ends: adds its time.
    pub fn end(&self, usage: &mut Usage, now: u64) {
        usage.time += now.saturating_sub(self.turn.load(Ordering::Relaxed));
        self.turn.store(0, Ordering::Relaxed);
        self.time.store(usage.time, Ordering::Relaxed);
        self.publish(usage);
    }

    /// What was used until now.
    #[must_use]
    pub fn read(&self, now: u64) -> Usage {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let turn =
            Some(load(&self.turn)).filter(|since| *since != 0).map_or(0, |since| now.saturating_sub(since));
        Usage {
            time: load(&self.time) + turn,
            steal: load(&self.steal),
            exits: load(&self.exits),
            waits: load(&self.waits),
            interrupts: load(&self.interrupts),
            traps: load(&self.traps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_counts_while_it_goes_on() {
        let (shared, mut usage) = (SharedUsage::default(), Usage::default());
        shared.begin(80, 100);
        usage.exits = 9;
        usage.waits = 1;
        assert_eq!(shared.read(130), Usage { time: 30, steal: 20, ..Usage::default() });
        shared.publish(&usage);
        assert_eq!(shared.read(140), Usage { time: 40, steal: 20, ..usage });
        shared.end(&mut usage, 150);
        assert_eq!((shared.read(1000), usage.time), (Usage { steal: 20, ..usage }, 50));
        assert_eq!(usage.hypercalls(), 8);
        assert_eq!(usage.plus(usage).exits, 18);
        shared.begin(170, 160);
        assert_eq!(shared.read(160).steal, 20, "the cores' clocks may be read in another order");
    }
}
