//! The monitor's list of network cards.

use super::table::Short;
use crate::network::Mac;
use core::fmt;

/// The heads of the columns.
pub const HEAD: &str = "  # name       address            sent received refused  lost";

/// The network card of a VM, with the frames that it has seen.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    /// The VM's place in the manifest, counted from 1.
    pub number: usize,
    /// The VM's name.
    pub name: &'a str,
    /// Its address.
    pub mac: Mac,
    /// Sent by the VM, and passed on.
    pub sent: u64,
    /// Received by the VM.
    pub received: u64,
    /// Sent by the VM, and not passed on: they are no frames, or may not be sent.
    pub refused: u64,
    /// For the VM, which had no room for them.
    pub lost: u64,
}

impl fmt::Display for Card<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, mac, sent, received, refused, lost } = *self;
        let [sent, received, refused, lost] = [sent, received, refused, lost].map(Short);
        write!(f, " {number:>2} {name:<10} {mac} {sent}    {received}   {refused} {lost}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn columns_stand_below_their_heads() {
        let mac = Mac::from_bytes([2, 12, 0, 0x12, 0x34, 0x56]);
        let card =
            Card { number: 12, name: "py", mac, sent: 1_234_567, received: 99_999, refused: 3, lost: 0 };
        let expected = " 12 py         02:0c:00:12:34:56 1234k    99999       3     0";
        assert_eq!(card.to_string(), expected);
        assert_eq!(HEAD.len(), expected.len());
    }
}
