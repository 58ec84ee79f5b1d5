//! The clock and waiting.

use core::time::Duration;

use aarch64_cpu::asm;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0};
use tock_registers::interfaces::{Readable, Writeable};

/// The counter, which runs at [`frequency`] and never stops. Reading it costs no exit.
pub fn counter() -> u64 {
    CNTVCT_EL0.get()
}

/// Ticks of the counter in a second.
pub fn frequency() -> u64 {
    CNTFRQ_EL0.get()
}

/// Time since the counter was 0, about the power-on of the machine.
pub fn uptime() -> Duration {
    let (ticks, frequency) = (counter(), frequency());
    Duration::from_secs(ticks / frequency) + Duration::from_secs(ticks % frequency) / narrow(frequency)
}

/// Waits for console input that came after the last wait ended.
pub fn wait() {
    asm::wfi();
}

/// Waits as [`wait`] does, but no longer than until the counter has reached `deadline`.
///
/// The timer's interrupt stays masked: a trapped WFI ends when it is due all the same.
pub fn wait_until(deadline: u64) {
    CNTV_CVAL_EL0.set(deadline);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    asm::wfi();
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
}

/// The value of the counter at an [`uptime`]. The last value stands for all that come after it.
pub fn ticks_at(uptime: Duration) -> u64 {
    let frequency = u128::from(frequency());
    let ticks = (uptime.as_nanos() * frequency).div_ceil(Duration::from_secs(1).as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// CNTFRQ_EL0 has 32 bits.
fn narrow(frequency: u64) -> u32 {
    u32::try_from(frequency).unwrap_or(u32::MAX)
}
