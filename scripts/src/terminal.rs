//! The developer's terminal while a VM has it: raw, with one key to get out.

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal, stdin, stdout};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

/// Tells the user of an interactive run how to get out of it.
pub const HELP: &str = "Ctrl-A X leaves, Ctrl-A ? shows what else Ctrl-A does";

const CTRL_A: u8 = 1;

/// The settings to go back to. Global, because a panic must find them: panics abort, so nothing is dropped.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal is raw as long as this lives.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes standard input raw: every key, Ctrl-C too, becomes a byte. `None` if it is no terminal.
    pub fn enter() -> Result<Option<Self>> {
        if !stdin().is_terminal() {
            return Ok(None);
        }
        let settings = tcgetattr(stdin()).context("cannot read the terminal's settings")?;
        let mut raw = settings.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
        restore_on_panic();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).context("cannot make the terminal raw")?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(settings) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // If the terminal is gone there is nothing left to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &settings);
    }
}

fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
    });
}

/// Rows and columns of the terminal that shows the output.
pub fn size() -> Option<(u16, u16)> {
    let size = stdout().is_terminal().then(|| tcgetwinsize(stdout()).ok()).flatten()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Finds the key that leaves in what is typed. What else Ctrl-A does is the hypervisor's business.
#[derive(Debug, Default)]
pub struct Keys {
    after_ctrl_a: bool,
}

/// What came of some typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// These bytes are for the hypervisor, most of them for a guest.
    Bytes(Vec<u8>),
    /// The user wants to leave.
    Leave,
}

impl Keys {
    /// Takes typed bytes.
    pub fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut forwarded = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match (std::mem::take(&mut self.after_ctrl_a), byte) {
                (true, b'x' | b'X') => return Typed::Leave,
                (true, other) => forwarded.extend([CTRL_A, other]),
                (false, CTRL_A) => self.after_ctrl_a = true,
                (false, other) => forwarded.push(other),
            }
        }
        Typed::Bytes(forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_keys_are_passed_on() {
        let mut keys = Keys::default();
        assert_eq!(keys.typed(b"x\x03\x04\x1b[A"), Typed::Bytes(b"x\x03\x04\x1b[A".to_vec()));
        let for_hypervisor = b"\x01\x01\x01a\x01m\x012\x01\x01x";
        assert_eq!(keys.typed(for_hypervisor), Typed::Bytes(for_hypervisor.to_vec()));
    }

    #[test]
    fn ctrl_a_x_leaves_even_in_two_pieces() {
        let mut keys = Keys::default();
        assert_eq!(keys.typed(b"print\x01"), Typed::Bytes(b"print".to_vec()));
        assert_eq!(keys.typed(b"x"), Typed::Leave);
    }
}
