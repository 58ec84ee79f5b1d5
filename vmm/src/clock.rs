//! The time of day: what the board's clock said at the start, and the counter since.

use crate::arch::timer;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Nanoseconds from 1970 to the power-on of the machine; 0 on a board without a clock.
static POWER_ON: AtomicU64 = AtomicU64::new(0);

/// Takes over the seconds since 1970 that the board's clock shows now.
pub fn set(seconds: u32) {
    let since = Duration::from_secs(u64::from(seconds)).saturating_sub(uptime());
    POWER_ON.store(nanoseconds(since), Ordering::Relaxed);
}

/// Nanoseconds since 1970, or on a board without a clock since power-on.
#[must_use]
pub fn now() -> u64 {
    POWER_ON.load(Ordering::Relaxed) + nanoseconds(uptime())
}

fn uptime() -> Duration {
    let (ticks, frequency) = (timer::now(), timer::frequency().max(1));
    let fraction = Duration::from_secs(ticks % frequency) / u32::try_from(frequency).unwrap_or(u32::MAX);
    Duration::from_secs(ticks / frequency) + fraction
}

/// Enough for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_what_the_board_says() {
        assert_eq!(now(), 1, "the counter of the tests stands at one tick of a nanosecond");
        set(1_700_000_000);
        assert_eq!(now(), 1_700_000_000_000_000_000);
    }
}
