//! Switching the machine off, and starting it anew.

use super::power_manager;
use crate::{console, platform::Psci};
use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};
use smccc::{Hvc, Smc, psci};
use spin::Once;

/// Exit code when the hypervisor itself fails, as a Rust process's.
pub const FATAL_EXIT_CODE: u8 = 101;

static PSCI: Once<Psci> = Once::new();

/// Remembers how the firmware is called.
pub fn init(method: Psci) {
    PSCI.call_once(|| method);
}

/// Says with which code the run ends, and switches the machine off; where nothing does that, the core sleeps for
/// ever.
pub fn end(code: u8) -> ! {
    console::write_exit_line(code);
    off()
}

/// Reports a failure that the hypervisor cannot survive, and ends the run.
pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    /// How often this has been tried: what is reported may be broken enough to fail the report as well.
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let attempts = ATTEMPTS.load(Ordering::Relaxed);
    // Not in one step: that is an exclusive access, which memory does not allow before the MMU is on.
    ATTEMPTS.store(attempts + 1, Ordering::Relaxed);
    let message = match attempts {
        0 => message,
        1 => format_args!("the hypervisor failed, and failed again while it reported that"),
        _ => off(),
    };
    // SAFETY: the machine is switched off.
    unsafe { console::emergency(format_args!("[tinyvmm error] {message}"), FATAL_EXIT_CODE) };
    off()
}

/// Starts the machine anew; where nothing does that, the core sleeps for ever.
pub fn reboot() -> ! {
    console::drain();
    let _ = match PSCI.get() {
        Some(Psci::Smc) => psci::system_reset::<Smc>(),
        Some(Psci::Hvc) => psci::system_reset::<Hvc>(),
        None => Ok(()),
    };
    power_manager::reboot();
    sleep()
}

fn off() -> ! {
    console::drain();
    // An error leaves the core asleep below.
    let _ = match PSCI.get() {
        Some(Psci::Smc) => psci::system_off::<Smc>(),
        Some(Psci::Hvc) => psci::system_off::<Hvc>(),
        None => Ok(()),
    };
    power_manager::off();
    sleep()
}

fn sleep() -> ! {
    loop {
        aarch64_cpu::asm::wfi();
    }
}
