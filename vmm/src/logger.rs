//! The log: lines on the console, each with its level in front, and the latest of them in memory.

mod ring;

use crate::console;
use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering},
};
use log::{LevelFilter, Log, Metadata, Record};
use ring::Ring;
use spin::Mutex;

/// What is logged unless the command line or the manifest says otherwise.
pub const DEFAULT_LEVEL: LevelFilter = LevelFilter::Warn;

struct Logger;

/// The command line says how much is logged.
static FIXED: AtomicBool = AtomicBool::new(false);

static LATEST: Mutex<Ring> = Mutex::new(Ring::new());

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                log::Level::Error => "error",
                log::Level::Warn => "warn",
                log::Level::Info => "info",
                log::Level::Debug => "debug",
                log::Level::Trace => "trace",
            };
            let line = format_args!("[tinyvmm {level}] {}\n", record.args());
            // A ring takes anything.
            let _ = LATEST.lock().write_fmt(line);
            console::write_own(line);
        }
    }

    fn flush(&self) {}
}

/// Gives `take` the end of the log, at most `limit` bytes, piece by piece; from the start of a line if not all fits.
pub fn read(limit: u64, take: impl FnMut(&[u8])) {
    LATEST.lock().read(usize::try_from(limit).unwrap_or(usize::MAX), take);
}

/// Starts the log at its default level.
pub fn init() {
    // Only a second call fails.
    let _ = log::set_logger(&Logger);
    log::set_max_level(DEFAULT_LEVEL);
}

/// Chooses the level: the command line's `loglevel` if there is one, else the manifest's.
///
/// Returns what stood on the command line if it is no level.
pub fn set_level(bootarg: Option<&str>, manifest: Option<LevelFilter>) -> Result<(), &str> {
    let Some(name) = bootarg else {
        follow(manifest);
        return Ok(());
    };
    log::set_max_level(name.parse().map_err(|_| name)?);
    FIXED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Takes the level of a manifest, unless the command line has one.
pub fn follow(manifest: Option<LevelFilter>) {
    if !FIXED.load(Ordering::Relaxed) {
        log::set_max_level(manifest.unwrap_or(DEFAULT_LEVEL));
    }
}
