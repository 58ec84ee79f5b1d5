//! What a card says of itself: its registers (chapter 5), and its status (4.10.1).

use crate::disks::Error;

/// The address in the answer to CMD3 (R6), where the other commands have it.
pub(super) fn address(response: u32) -> u32 {
    response & 0xffff_0000
}

/// Tells errors from the rest of a card's status.
pub(super) fn check_status(status: u32) -> Result<(), Error> {
    /// `OUT_OF_RANGE` to `WP_VIOLATION`, `LOCK_UNLOCK_FAILED` to `ERROR`, `CSD_OVERWRITE`.
    const ERRORS: u32 = 0xfc00_0000 | 0x01f8_0000 | 0x0001_0000;
    if status & ERRORS == 0 { Ok(()) } else { Err(Error::Failed) }
}

/// The card-specific data (5.3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Csd(u128);

impl Csd {
    /// The register in a long answer, whose words leave out the checksum in bits 0 to 7.
    pub(super) fn new(words: [u32; 4]) -> Self {
        Self(words.iter().rev().fold(0, |bits, word| bits << 32 | u128::from(*word)) << 8)
    }

    /// Some of its bits, as a number.
    fn bits(self, low: u32, count: u32) -> u64 {
        u64::try_from(self.0 >> low & ((1 << count) - 1)).unwrap_or(u64::MAX)
    }

    /// The sectors of an SD (5.3.2) or an SDHC or SDXC card (5.3.3).
    pub(super) fn sectors(self) -> Option<u64> {
        match self.bits(126, 2) {
            0 => {
                let (blocks, block) = ((self.bits(62, 12) + 1) << (self.bits(47, 3) + 2), self.bits(80, 4));
                // Blocks of 512 to 2048 bytes.
                (9..=11).contains(&block).then(|| blocks << (block - 9))
            }
            1 => Some((self.bits(48, 22) + 1) << 10),
            _ => None,
        }
    }

    /// `PERM_WRITE_PROTECT` or `TMP_WRITE_PROTECT`.
    pub(super) fn is_write_protected(self) -> bool {
        self.bits(12, 2) != 0
    }
}
