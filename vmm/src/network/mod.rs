//! The network: Ethernet between VMs, and between them and the board's network device, the uplink.

mod learned;
mod mac;
mod plan;
mod switch;
#[cfg_attr(not(target_os = "none"), path = "no_uplink.rs")]
pub mod uplink;

pub use mac::{Mac, VmAddresses};
pub use plan::{NoUplink, Plan};
pub use switch::{Dropped, Port, Switch, Way};

pub use crate::bundle::manifest::Reach;

/// Shortest frame: a header alone. What is missing to the least that a wire takes is filled up there.
pub const FRAME_MIN: usize = 14;
/// Longest frame: a header with the tag of a VLAN, and 1500 bytes.
pub const FRAME_MAX: usize = 1518;

/// What stands in front of a frame, as far as it counts for a switch (IEEE 802.3, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who is to get it.
    pub destination: Mac,
    /// Who has sent it.
    pub source: Mac,
}

impl Header {
    /// That of a frame, unless the frame is too short or too long.
    #[inline]
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (destination, rest) = frame.split_first_chunk()?;
        let (source, _) = rest.split_first_chunk()?;
        let is_frame = (FRAME_MIN..=FRAME_MAX).contains(&frame.len());
        let [destination, source] = [destination, source].map(|bytes| Mac::from_bytes(*bytes));
        is_frame.then_some(Self { destination, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_a_header_and_an_end() {
        let mut bytes = [0; FRAME_MAX + 1];
        bytes[..12].copy_from_slice(&[0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let header = Header::of(&bytes[..FRAME_MIN]).unwrap();
        assert_eq!(header.destination.to_bytes(), [0xff, 2, 3, 4, 5, 6]);
        assert_eq!(header.source.to_bytes(), [7, 8, 9, 10, 11, 12]);
        assert_eq!(Header::of(&bytes[..FRAME_MAX]), Some(header));
        for length in [0, 6, 12, FRAME_MIN - 1, FRAME_MAX + 1] {
            assert_eq!(Header::of(&bytes[..length]), None, "{length}");
        }
    }
}
