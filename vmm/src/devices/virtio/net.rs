//! A network card (Virtual I/O Device 1.2, 5.1), without offloads: a frame is what is on the wire.

use super::{
    Kind,
    chain::Chain,
    queue::{Queue, Violation},
    transport::Identity,
};
use crate::{
    memory::guest::GuestMemory,
    network::{FRAME_MAX, Mac},
};
use bitflags::bitflags;

/// The queue for what the driver receives.
pub const RECEIVE: usize = 0;
/// The queue for what the driver sends.
pub const TRANSMIT: usize = 1;

bitflags! {
    /// 5.1.3.
    struct Features: u64 {
        const MAC = 1 << 5;
        const STATUS = 1 << 16;
    }
}

/// `VIRTIO_NET_S_LINK_UP`.
const LINK_UP: u16 = 1 << 0;

const HEADER_SIZE: usize = 12;
/// What stands in front of a frame that the driver receives: nothing but `num_buffers`, which is 1 (5.1.6.4.1).
const HEADER: [u8; HEADER_SIZE] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Room for a frame.
pub type Buffer = [u8; FRAME_MAX];

/// What the driver of the card with this address sees.
#[must_use]
pub fn identity(mac: Mac) -> Identity {
    // mac, status (5.1.4).
    let mut config = [0; 8];
    config[..6].copy_from_slice(&mac.to_bytes());
    config[6..].copy_from_slice(&LINK_UP.to_le_bytes());
    Identity::new(Kind::Network, (Features::MAC | Features::STATUS).bits(), 2, &config)
}

/// The frame that the driver sends, copied so that the driver cannot change it any more; `None` if it is longer than frames
/// are.
///
/// # Errors
/// There is no header in front of it.
#[inline]
pub fn transmit<'a>(
    memory: &GuestMemory,
    chain: &Chain,
    buffer: &'a mut Buffer,
) -> Result<Option<&'a [u8]>, Violation> {
    // The header says what is left to the card: nothing.
    let (header, mut rest) = chain.to_read().split_at(HEADER_SIZE as u64);
    if header.len() < HEADER_SIZE as u64 {
        return Err(Violation::Incomplete);
    }
    let length = usize::try_from(rest.len()).unwrap_or(usize::MAX);
    let Some(frame) = buffer.get_mut(..length) else { return Ok(None) };
    rest.read(memory, frame);
    Ok(Some(frame))
}

/// Puts a frame into the next buffer of the driver's. Returns whether there was one, with room for it.
///
/// # Errors
/// What the driver offers is no buffer.
#[inline]
pub fn receive(memory: &GuestMemory, queue: &mut Queue, frame: &[u8]) -> Result<bool, Violation> {
    let mut chain = Chain::new();
    if !queue.take(memory, &mut chain)? {
        return Ok(false);
    }
    let mut room = chain.to_write();
    let length = HEADER_SIZE + frame.len();
    if room.len() < length as u64 {
        queue.put_back(0);
        return Ok(false);
    }
    room.write(memory, &HEADER);
    room.write(memory, frame);
    queue.give(&chain, u32::try_from(length).unwrap_or(u32::MAX));
    Ok(true)
}
