//! The log: lines on the console, each with its level in front.

use crate::console;
use log::{LevelFilter, Log, Metadata, Record};

/// What is logged unless the command line or the manifest says otherwise.
pub const DEFAULT_LEVEL: LevelFilter = LevelFilter::Warn;

struct Logger;

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
            console::write_own(format_args!("[tinyvmm {level}] {}\n", record.args()));
        }
    }

    fn flush(&self) {}
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
    let level = match bootarg {
        Some(name) => Some(name.parse().map_err(|_| name)?),
        None => manifest,
    };
    log::set_max_level(level.unwrap_or(DEFAULT_LEVEL));
    Ok(())
}
