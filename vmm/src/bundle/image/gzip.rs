//! Files compressed by gzip (RFC 1952), unpacked piece by piece: whatever a file says of itself, it takes no more memory
//! than [`WINDOW`] and no more room than its size.

use alloc::vec::Vec;
use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress,
        inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
    },
};

use super::kernel::KERNEL_HEADER_SIZE;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// How far back compressed bytes may refer: what is kept of those unpacked.
const WINDOW: usize = TINFL_LZ_DICT_SIZE;

/// The first bytes of a file (2.3.1).
const MAGIC: &[u8] = &[0x1f, 0x8b];
/// The header without what is optional: magic, method, flags, time, extra flags, system.
const HEADER_SIZE: usize = 10;
/// The one method that there is.
const DEFLATE: u8 = 8;
/// Flags: what follows the header, but for the first, which is a hint.
const FTEXT: u8 = 1 << 0;
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;

/// A compressed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gzip<'a> {
    stream: &'a [u8],
    checksum: u32,
    size: u32,
}

impl<'a> Gzip<'a> {
    /// The compressed file in `bytes`, if they are one.
    ///
    /// # Errors
    /// It ends too early, or is compressed in a way that is not known.
    pub(super) fn find(bytes: &'a [u8]) -> Result<Option<Self>, GzipError> {
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        let (rest, size) = bytes.split_last_chunk().ok_or(GzipError::Truncated)?;
        let (rest, checksum) = rest.split_last_chunk().ok_or(GzipError::Truncated)?;
        let stream = after_header(rest)?;
        Ok(Some(Self { stream, checksum: u32::from_le_bytes(*checksum), size: u32::from_le_bytes(*size) }))
    }

    /// The size that it says it has when it is unpacked.
    pub fn size(&self) -> u64 {
        self.size.into()
    }

    /// The first bytes of what is in it; zeros where it has less.
    pub(super) fn start(&self) -> Result<[u8; KERNEL_HEADER_SIZE], GzipError> {
        let (mut state, mut start) = (several(1)?, [0; KERNEL_HEADER_SIZE]);
        decompress(&mut state[0], self.stream, &mut start, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        Ok(start)
    }

    /// Hands over what is in it, piece by piece.
    ///
    /// # Errors
    /// It is damaged, or not of the size that it says. What was handed over then is good for nothing, but never more than
    /// [`Self::size`].
    pub fn unpack(&self, mut put: impl FnMut(&[u8])) -> Result<(), GzipError> {
        let mut state: Vec<DecompressorOxide> = several(1)?;
        let mut window: Vec<u8> = several(WINDOW)?;
        let (mut rest, mut written, mut digest) = (self.stream, 0, CRC.digest());
        loop {
            let at = written % WINDOW;
            let (status, read, count) = decompress(&mut state[0], rest, &mut window, at, 0);
            let piece = &window[at..at + count];
            (rest, written) = (&rest[read..], written + count);
            if written as u64 > self.size() {
                return Err(GzipError::Size);
            }
            digest.update(piece);
            put(piece);
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::Done => break,
                TINFLStatus::FailedCannotMakeProgress => return Err(GzipError::Truncated),
                _ => return Err(GzipError::Damaged),
            }
        }
        self.check(rest, written as u64, digest.finalize())
    }

    /// Whether all was as it should be.
    fn check(&self, rest: &[u8], written: u64, checksum: u32) -> Result<(), GzipError> {
        if !rest.is_empty() {
            return Err(GzipError::Trailing);
        }
        if written != self.size() {
            return Err(GzipError::Size);
        }
        if checksum == self.checksum { Ok(()) } else { Err(GzipError::Checksum) }
    }
}

/// What follows the header of a file (2.3).
fn after_header(bytes: &[u8]) -> Result<&[u8], GzipError> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_SIZE).ok_or(GzipError::Truncated)?;
    let (method, flags) = (header[2], header[3]);
    if method != DEFLATE || flags > FCOMMENT | FNAME | FEXTRA | FHCRC | FTEXT {
        return Err(GzipError::Unknown);
    }
    if flags & FEXTRA != 0 {
        let (length, fields) = rest.split_first_chunk().ok_or(GzipError::Truncated)?;
        rest = fields.get(usize::from(u16::from_le_bytes(*length))..).ok_or(GzipError::Truncated)?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(GzipError::Truncated)?;
            rest = &rest[end + 1..];
        }
    }
    let checksum = if flags & FHCRC != 0 { size_of::<u16>() } else { 0 };
    rest.get(checksum..).ok_or(GzipError::Truncated)
}

/// So many of something, on the heap if that has room: made in place, for a decompressor is a third of a stack.
#[inline(never)]
fn several<T: Default>(count: usize) -> Result<Vec<T>, GzipError> {
    let mut several = Vec::new();
    several.try_reserve_exact(count).map_err(|_| GzipError::Memory)?;
    several.resize_with(count, T::default);
    Ok(several)
}

/// Why a compressed file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GzipError {
    /// It ends before it should.
    Truncated,
    /// Its header has a method or flags that are not defined.
    Unknown,
    /// What is compressed makes no sense.
    Damaged,
    /// Something follows its end.
    Trailing,
    /// Unpacked, it has not the size that its end tells.
    Size,
    /// Unpacked, it has not the checksum that its end tells.
    Checksum,
    /// There is no memory for unpacking it.
    Memory,
}

impl fmt::Display for GzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "it ends too early",
            Self::Unknown => "its method or its flags are not known",
            Self::Damaged => "it is damaged",
            Self::Trailing => "something follows its end",
            Self::Size => "its size is not the one that its end tells (ISIZE)",
            Self::Checksum => "its checksum is not the one that its end tells (CRC32)",
            Self::Memory => "not enough memory for unpacking it",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};
    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    pub(crate) fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, GzipError> {
        let file = Gzip::find(bytes)?.expect("it has the magic");
        let mut unpacked = Vec::new();
        let result = file.unpack(|piece| unpacked.extend_from_slice(piece));
        assert!(unpacked.len() as u64 <= file.size(), "more than it said");
        result.map(|()| unpacked)
    }

    /// `bytes` with something done to them.
    fn with(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_larger_than_the_window_comes_in_pieces() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 3 * 7).to_le_bytes()).collect();
        let file = compressed(&bytes);
        assert!(unpacked(&file).unwrap() == bytes);
        let start = Gzip::find(&file).unwrap().unwrap().start().unwrap();
        assert_eq!(start, bytes[..KERNEL_HEADER_SIZE]);
        assert_eq!(Gzip::find(b"\x1f").unwrap(), None);
    }

    #[test]
    fn headers_may_have_more_in_them() {
        let builder = GzBuilder::new().filename("Image").comment("a kernel").extra(vec![0; 300]);
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(b"kernel").unwrap();
        let file = encoder.finish().unwrap();
        assert_eq!(unpacked(&file).unwrap(), b"kernel");
        let checked = with(&compressed(b"kernel"), |file| {
            file[3] |= FHCRC;
            file.splice(HEADER_SIZE..HEADER_SIZE, [1, 2]);
        });
        assert_eq!(unpacked(&checked).unwrap(), b"kernel");
        assert_eq!(unpacked(&with(&file, |file| file[3] |= 0x20)), Err(GzipError::Unknown));
        assert_eq!(unpacked(&with(&file, |file| file[2] = 7)), Err(GzipError::Unknown));
    }

    #[test]
    fn a_file_that_lies_is_found_out() {
        let file = compressed(&[7; 100_000]);
        let end = file.len();
        assert_eq!(unpacked(&with(&file, |file| file[end - 8] ^= 1)), Err(GzipError::Checksum));
        for size in [0, 1, 99_999, 100_001, u32::MAX] {
            let lie = with(&file, |file| file[end - 4..].copy_from_slice(&size.to_le_bytes()));
            assert_eq!(unpacked(&lie), Err(GzipError::Size), "{size}");
        }
        let longer = with(&file, |file| drop(file.splice(end - 8..end - 8, [0])));
        assert_eq!(unpacked(&longer), Err(GzipError::Trailing));
        assert_eq!(unpacked(&with(&file, |file| file[HEADER_SIZE] |= 0b110)), Err(GzipError::Damaged));
    }

    #[test]
    fn a_file_that_is_cut_is_found_out() {
        let file = compressed(&(0..=u8::MAX).cycle().take(70_000).collect::<Vec<u8>>());
        for length in 2..file.len() {
            assert!(unpacked(&file[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(unpacked(&file[..17]), Err(GzipError::Truncated));
    }

    proptest! {
        #[test]
        fn any_stream_is_survived(stream in prop::collection::vec(any::<u8>(), 0..300)) {
            let file = [&compressed(b"")[..HEADER_SIZE], &stream].concat();
            let _ = unpacked(&file);
            let _ = Gzip::find(&file).map(|file| file.map(|file| file.start()));
        }
    }
}
