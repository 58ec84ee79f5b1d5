//! Amounts of memory on the command line.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written as `512MiB`, `512M`, `1GiB` or `64KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

impl Size {
    /// `count` KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// A number of bytes.
    pub const fn of(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size for QEMU's `-m`.
    pub fn for_qemu(self) -> String {
        self.to_string().replace("iB", "")
    }
}

/// As a manifest wants it.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit);
        let (letter, unit) = UNITS.iter().rev().find(exact).unwrap_or(&("", 1));
        match *letter {
            "" => write!(f, "{}", self.0),
            letter => write!(f, "{}{letter}iB", self.0 / unit),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no size: write it as in 512MiB, 64K or 1G");
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let suffix = text.get(digits.len()..).unwrap_or_default();
        let letter = suffix.strip_suffix("iB").unwrap_or(suffix);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == letter).ok_or_else(wrong)?;
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        match count.checked_mul(*unit) {
            None | Some(0) => Err(wrong()),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_spelling() {
        for (text, bytes) in [("64K", 64 << 10), ("1MiB", 1 << 20), ("16M", 16 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "M", "16", "0M", "-1M", "1MB", "1.5G", "99999999999999G", "1TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn writes_the_largest_exact_unit() {
        assert_eq!(Size::mib(16).to_string(), "16MiB");
        assert_eq!(Size::mib(2048).to_string(), "2GiB");
        assert_eq!(Size(68 << 10).to_string(), "68KiB");
        assert_eq!(Size(68 << 10).for_qemu(), "68K");
    }
}
