//! Stand-ins for the developer's machine, which is no board.

/// An uplink that there is not.
pub enum Uplink {}

impl Uplink {
    /// Number of its interrupt.
    #[must_use]
    pub fn interrupt(&self) -> u32 {
        match *self {}
    }

    /// Passes nothing on.
    pub fn receive(&self, _take: impl FnMut(&[u8])) {
        match *self {}
    }
}

/// None.
#[must_use]
pub fn get() -> Option<&'static Uplink> {
    None
}

/// Nothing: the frame is lost.
pub fn send(_frame: &[u8]) {}
