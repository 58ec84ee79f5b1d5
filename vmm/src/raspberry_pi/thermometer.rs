//! The temperature of the SoC, which the firmware measures.

use super::{NoDevice, firmware};
use crate::arch::timer;
use spin::Mutex;

/// The property "Get temperature", of sensor 0, in thousandths of a degree Celsius.
const GET_TEMPERATURE: u32 = 0x0003_0006;
const SENSOR: u32 = 0;
/// 0 degrees Celsius in millikelvins.
const ZERO_CELSIUS: i64 = 273_150;
/// Measured at most so many times a second, however often it is asked for: the firmware keeps the core waiting.
const RATE: u64 = 10;

/// When it was measured last, and what.
static LAST: Mutex<Option<(u64, u32)>> = Mutex::new(None);

/// The temperature in millikelvins.
pub fn temperature() -> Result<u32, NoDevice> {
    let mut last = LAST.lock();
    let now = timer::now();
    if let Some((_, value)) = last.filter(|(at, _)| now - at < timer::frequency() / RATE) {
        return Ok(value);
    }
    let celsius = firmware::property(GET_TEMPERATURE, SENSOR)?.cast_signed();
    let value = u32::try_from(i64::from(celsius) + ZERO_CELSIUS).map_err(|_| NoDevice)?;
    *last = Some((now, value));
    Ok(value)
}
