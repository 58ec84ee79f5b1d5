//! A source of random bytes (Virtual I/O Device 1.2, 5.4).

use super::{
    Kind,
    chain::Chain,
    queue::{Served, Violation},
    transport::Identity,
};
use crate::memory::guest::GuestMemory;

/// Most bytes for a request: a device may give fewer than are asked for.
const PIECE: usize = 256;

/// What the driver sees.
#[must_use]
pub fn identity() -> Identity {
    Identity::new(Kind::Entropy, 0, 1, &[])
}

/// Carries out a request, with bytes that `fill` makes.
///
/// # Errors
/// It has no room.
pub fn request(
    memory: &GuestMemory,
    chain: &Chain,
    mut fill: impl FnMut(&mut [u8]),
) -> Result<Served, Violation> {
    let mut room = chain.to_write();
    if room.is_empty() {
        return Err(Violation::Incomplete);
    }
    let mut bytes = [0; PIECE];
    fill(&mut bytes);
    let written = room.write(memory, &bytes);
    Ok(Served::Whole { written: u32::try_from(written).unwrap_or(0) })
}
