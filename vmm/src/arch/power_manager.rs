//! The BCM2835's power manager, also in the BCM2711: how a Raspberry Pi is switched off, and
//! started anew.
//!
//! There is no firmware to call. A reset by the watchdog starts the boot ROM's program anew, which halts if the
//! boot partition that it finds in the status register is number 63. Linux' `bcm2835_wdt.c` does the same.

use core::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::ReadWrite,
};

register_structs! {
    /// The registers of the watchdog. Each write needs [`PASSWORD`].
    Watchdog {
        (0x00 => reserved),
        /// `PM_RSTC`: what the watchdog does at its end.
        (0x1c => control: ReadWrite<u32>),
        /// `PM_RSTS`: what a reset leaves for the next boot.
        (0x20 => status: ReadWrite<u32>),
        /// `PM_WDOG`: the time that is left, in units of 16 microseconds.
        (0x24 => time: ReadWrite<u32>),
        (0x28 => @END),
    }
}

const PASSWORD: u32 = 0x5a << 24;
/// `PM_RSTC.WRCFG`, ...
const CONFIGURATION: u32 = 0b11 << 4;
/// ... and its value for a full reset.
const FULL_RESET: u32 = 0b10 << 4;
/// Partition 63, in every second bit of `PM_RSTS`.
const HALT: u32 = 0x555;
/// Partition 0: whichever has the firmware.
const USUAL: u32 = 0;
/// Time enough for the writes to arrive.
const SOON: u32 = 10;

/// Address of the registers. 0: none.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

/// Remembers where the power manager is.
///
/// # Safety
/// The device tree says so, and the registers are mapped as device memory.
pub unsafe fn init(registers: &Range<u64>) {
    REGISTERS.store(usize::try_from(registers.start).unwrap_or(0), Ordering::Relaxed);
}

/// Switches the machine off, if there is a power manager. It takes a moment.
pub(super) fn off() {
    reset(HALT);
}

/// Starts the machine anew, if there is a power manager. It takes a moment.
pub(super) fn reboot() {
    reset(USUAL);
}

/// Resets the machine, whose boot program then looks for this partition.
fn reset(partition: u32) {
    let address = REGISTERS.load(Ordering::Relaxed);
    if address == 0 {
        return;
    }
    // SAFETY: `init`'s caller has promised it.
    let watchdog: &Watchdog = unsafe { &*core::ptr::with_exposed_provenance(address) };
    watchdog.status.set(PASSWORD | watchdog.status.get() & !HALT | partition);
    watchdog.time.set(PASSWORD | SOON);
    watchdog.control.set(PASSWORD | watchdog.control.get() & !CONFIGURATION | FULL_RESET);
}
