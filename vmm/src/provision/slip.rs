//! Frames in a stream of bytes (RFC 1055): whatever was lost or added, the next frame begins after the next [`END`].

use heapless::Vec;

/// Ends a frame, and stands in front of it, so that noise before it is a frame of its own.
pub const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
/// After `ESC`: an [`END`] of the content.
const ESC_END: u8 = 0xdc;
/// After `ESC`: an `ESC` of the content.
const ESC_ESC: u8 = 0xdd;

/// Passes the bytes of a frame with this content to `put`.
pub fn encode(content: &[u8], mut put: impl FnMut(u8)) {
    put(END);
    for byte in content {
        match *byte {
            END => [ESC, ESC_END].into_iter().for_each(&mut put),
            ESC => [ESC, ESC_ESC].into_iter().for_each(&mut put),
            byte => put(byte),
        }
    }
    put(END);
}

/// Finds frames of up to `N` bytes.
#[derive(Debug, Default)]
pub struct Decoder<const N: usize> {
    bytes: Vec<u8, N>,
    escaped: bool,
    broken: bool,
    complete: bool,
}

impl<const N: usize> Decoder<N> {
    /// Takes a byte. Returns whether it completes a frame, which is there until the next byte is taken.
    pub fn take(&mut self, byte: u8) -> bool {
        if self.complete {
            *self = Self::default();
        }
        let escaped = core::mem::take(&mut self.escaped);
        match (escaped, byte) {
            // Between two frames there may be one END or more.
            (_, END) => self.complete = self.broken || escaped || !self.bytes.is_empty(),
            (false, ESC) => self.escaped = true,
            (false, byte) => self.push(byte),
            (true, ESC_END) => self.push(END),
            (true, ESC_ESC) => self.push(ESC),
            (true, _) => self.broken = true,
        }
        self.broken |= escaped && byte == END;
        self.complete
    }

    /// Whether a frame is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The content of the frame that is complete, unless it is no frame at all.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        (self.complete && !self.broken).then_some(self.bytes.as_slice())
    }

    fn push(&mut self, byte: u8) {
        self.broken |= self.bytes.push(byte).is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use proptest::prelude::*;

    type Small = Decoder<64>;

    fn encoded(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(content, |byte| bytes.push(byte));
        bytes
    }

    /// The frames in a stream; `None` for those that are none.
    fn frames(decoder: &mut Small, stream: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut frames = Vec::new();
        for byte in stream {
            if decoder.take(*byte) {
                frames.push(decoder.content().map(<[u8]>::to_vec));
            }
        }
        frames
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let mut decoder = Small::default();
        assert_eq!(frames(&mut decoder, &[END, END, END]), []);
        assert_eq!(frames(&mut decoder, &[1, ESC, 2, END]), [None]);
        assert_eq!(frames(&mut decoder, &[1, ESC, END]), [None]);
        assert_eq!(frames(&mut decoder, &[ESC, END]), [None]);
        assert_eq!(frames(&mut decoder, &[[7; 65].as_slice(), &[END]].concat()), [None]);
        assert_eq!(frames(&mut decoder, &[END, 1, 2, END, 3, END]), [Some(vec![1, 2]), Some(vec![3])]);
    }

    proptest! {
        #[test]
        fn every_content_comes_through_after_any_noise(
            noise: Vec<u8>,
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=64), 1..5),
        ) {
            let mut decoder = Small::default();
            frames(&mut decoder, &noise);
            let stream: Vec<u8> = contents.iter().flat_map(|content| encoded(content)).collect();
            let found = frames(&mut decoder, &stream);
            let last = &found[found.len() - contents.len()..];
            let expected: Vec<_> = contents.into_iter().map(Some).collect();
            prop_assert_eq!(last, expected.as_slice());
        }
    }
}
