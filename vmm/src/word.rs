//! Parts of words.

/// The low 32 bits.
#[inline]
pub(crate) const fn low_word(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The high 32 bits.
#[inline]
pub(crate) const fn high_word(value: u64) -> u32 {
    low_word(value >> 32)
}
