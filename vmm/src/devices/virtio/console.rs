//! A serial line (Virtual I/O Device 1.2, 5.3) of one port.

use super::{
    Kind,
    chain::Chain,
    queue::{Served, Violation},
    transport::Identity,
};
use crate::memory::guest::GuestMemory;

/// The queue for what the driver receives.
pub const RECEIVE: usize = 0;
/// The queue for what the driver sends.
pub const TRANSMIT: usize = 1;

/// Most bytes that are sent at a time: a real line is slow.
const PIECE: usize = 256;

/// What the driver sees.
#[must_use]
pub fn identity() -> Identity {
    Identity::new(Kind::Console, 0, 2, &[])
}

/// Passes a piece of what the driver sends to `send`.
pub fn transmit(memory: &GuestMemory, chain: &Chain, send: impl FnOnce(&[u8])) -> Served {
    let mut bytes = [0; PIECE];
    let (_, mut rest) = chain.to_read().split_at(chain.done());
    let count = rest.read(memory, &mut bytes);
    send(&bytes[..count]);
    if rest.is_empty() {
        return Served::Whole { written: 0 };
    }
    Served::Part { done: chain.done() + count as u64 }
}

/// Puts input into a buffer of the driver's. `read` shows it to a function that says how much it has taken, and returns
/// how much that was in all.
///
/// # Errors
/// The buffer has no room.
pub fn receive(
    memory: &GuestMemory,
    chain: &Chain,
    read: impl FnOnce(&mut dyn FnMut(&[u8]) -> usize) -> usize,
) -> Result<Served, Violation> {
    let mut room = chain.to_write();
    if room.is_empty() {
        return Err(Violation::Incomplete);
    }
    let count = read(&mut |bytes| room.write(memory, bytes));
    Ok(Served::Whole { written: u32::try_from(count).unwrap_or(0) })
}
