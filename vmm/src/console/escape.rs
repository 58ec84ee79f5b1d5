//! Keys that are for the hypervisor: Ctrl-A, and the one after it.

/// What Ctrl-A sends.
const CTRL_A: u8 = 1;

/// What the hypervisor tells of its keys.
pub const HELP: &str = "\
[tinyvmm] Ctrl-A 1 to 9  input goes to that VM of the manifest
[tinyvmm] Ctrl-A M       monitor: lists VMs, pauses, resumes, kills and restarts them
[tinyvmm] Ctrl-A A       sends a Ctrl-A
[tinyvmm] Ctrl-A ?       this help
";

/// What was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A byte for whoever has the input.
    Byte(u8),
    /// The input goes to another VM, by its place in the manifest, counted from 1.
    Focus(usize),
    /// The user wants to know the keys.
    Help,
    /// The user wants the monitor.
    Monitor,
}

/// Finds the hypervisor's keys in what is typed.
#[derive(Debug)]
pub struct Escape {
    enabled: bool,
    after_ctrl_a: bool,
}

impl Escape {
    /// Ctrl-A is special.
    #[must_use]
    pub const fn new() -> Self {
        Self { enabled: true, after_ctrl_a: false }
    }

    /// Makes Ctrl-A special, or a byte like any other.
    pub fn enable(&mut self, enabled: bool) {
        *self = Self { enabled, after_ctrl_a: false };
    }

    /// Whether Ctrl-A is a byte like any other.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !self.enabled
    }

    /// Takes a byte. Returns the key that it completes. Ctrl-A with a key that means nothing is nothing.
    pub fn key(&mut self, byte: u8) -> Option<Key> {
        let after_ctrl_a = core::mem::take(&mut self.after_ctrl_a);
        match byte {
            _ if !self.enabled => Some(Key::Byte(byte)),
            CTRL_A if !after_ctrl_a => {
                self.after_ctrl_a = true;
                None
            }
            _ if !after_ctrl_a => Some(Key::Byte(byte)),
            CTRL_A | b'a' | b'A' => Some(Key::Byte(CTRL_A)),
            b'1'..=b'9' => Some(Key::Focus(usize::from(byte - b'0'))),
            b'm' | b'M' => Some(Key::Monitor),
            b'?' => Some(Key::Help),
            _ => None,
        }
    }
}

impl Default for Escape {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    fn keys(escape: &mut Escape, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| escape.key(*byte)).collect()
    }

    #[test]
    fn keys_after_ctrl_a_are_for_the_hypervisor() {
        let mut escape = Escape::new();
        let typed = keys(&mut escape, b"m\x01m\x013\x01?3\x01M");
        let expected =
            [Key::Byte(b'm'), Key::Monitor, Key::Focus(3), Key::Help, Key::Byte(b'3'), Key::Monitor];
        assert_eq!(typed, expected);
    }

    #[test]
    fn ctrl_a_can_be_sent() {
        let mut escape = Escape::new();
        assert_eq!(keys(&mut escape, b"\x01a\x01A\x01\x01a"), [1, 1, 1, b'a'].map(Key::Byte));
    }

    #[test]
    fn what_means_nothing_is_nothing() {
        assert_eq!(keys(&mut Escape::new(), b"\x010\x01z\x01\x00y"), vec![Key::Byte(b'y')]);
    }

    #[test]
    fn every_byte_passes_when_it_is_off() {
        let mut escape = Escape::new();
        assert_eq!(escape.key(1), None);
        escape.enable(false);
        let all: Vec<u8> = (0..=255).chain([1, b'm', 1, 1]).collect();
        let passed: Vec<Key> = all.iter().map(|byte| Key::Byte(*byte)).collect();
        assert_eq!(keys(&mut escape, &all), passed);
    }
}
