//! The program that a VM boots: an ELF file for 64-bit Arm or a flat binary.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use elf::ElfBytes;
use elf::abi::{EI_CLASS, EI_DATA, EI_NIDENT, ELFCLASS64, ELFDATA2LSB, EM_AARCH64, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::parse::ParseError;
use elf::segment::ProgramHeader;
use tinyvmm_abi as abi;

const PAGE_SIZE: u64 = 4096;

/// An image whose parts all lie inside the VM's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestImage<'a> {
    /// Guest physical address of the first instruction.
    pub entry: u64,
    /// What to load.
    pub segments: Vec<Segment<'a>>,
}

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Guest physical address.
    pub address: u64,
    /// The bytes to put there.
    pub data: &'a [u8],
    /// Size in memory: at least that of `data`; the rest is zero.
    pub size: u64,
}

impl<'a> GuestImage<'a> {
    /// Reads an image for a VM with `memory` bytes of RAM. What starts like an ELF file must be a good
    /// one; anything else is a flat binary.
    ///
    /// # Errors
    /// The image is damaged, for another machine, or does not fit.
    pub fn parse(bytes: &'a [u8], memory: u64) -> Result<Self, ImageError> {
        if bytes.starts_with(b"\x7fELF") { Self::elf(bytes, memory) } else { Self::flat(bytes, memory) }
    }

    fn flat(data: &'a [u8], memory: u64) -> Result<Self, ImageError> {
        if data.is_empty() {
            return Err(ImageError::Empty);
        }
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let segments = Vec::from([Segment { address: abi::IMAGE_BASE, data, size }]);
        check_fits(&segments, memory)?;
        Ok(Self { entry: abi::IMAGE_BASE, segments })
    }

    fn elf(bytes: &'a [u8], memory: u64) -> Result<Self, ImageError> {
        require("e_ident[EI_CLASS]", ident(bytes, EI_CLASS)?, ELFCLASS64.into())?;
        require("e_ident[EI_DATA]", ident(bytes, EI_DATA)?, ELFDATA2LSB.into())?;
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(ImageError::parse)?;
        require("e_machine", file.ehdr.e_machine, EM_AARCH64)?;
        require("e_type", file.ehdr.e_type, ET_EXEC)?;
        let headers = file.segments().into_iter().flatten();
        let segments = headers
            .filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0)
            .map(|header| Segment::load(bytes, &header))
            .collect::<Result<Vec<_>, _>>()?;
        check_fits(&segments, memory)?;
        let entry = file.ehdr.e_entry;
        match segments.iter().any(|segment| segment.contains(entry)) {
            true => Ok(Self { entry, segments }),
            false if segments.is_empty() => Err(ImageError::NothingToLoad),
            false => Err(ImageError::Entry(entry)),
        }
    }
}

impl<'a> Segment<'a> {
    fn load(bytes: &'a [u8], header: &ProgramHeader) -> Result<Self, ImageError> {
        let ProgramHeader { p_offset, p_filesz, p_memsz, .. } = *header;
        if p_filesz > p_memsz {
            return Err(ImageError::FileSize { p_filesz, p_memsz });
        }
        let data = slice(bytes, p_offset, p_filesz).ok_or(ImageError::Truncated { p_offset, p_filesz })?;
        Ok(Self { address: header.p_paddr, data, size: p_memsz })
    }

    /// The first address after it. No RAM reaches up to the last address that there is.
    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    fn contains(&self, address: u64) -> bool {
        (self.address..self.end()).contains(&address)
    }
}

fn check_fits(segments: &[Segment<'_>], memory: u64) -> Result<(), ImageError> {
    match segments.iter().max_by_key(|segment| segment.end()) {
        Some(last) if last.end() > abi::RAM_MAX => {
            Err(ImageError::OutsideRam { address: last.address, size: last.size })
        }
        Some(last) if last.end() > memory => Err(ImageError::TooLarge { end: last.end(), memory }),
        _ => Ok(()),
    }
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    bytes.get(start..end)
}

fn ident(bytes: &[u8], index: usize) -> Result<u16, ImageError> {
    bytes.get(index).map(|byte| u16::from(*byte)).ok_or(ImageError::TruncatedHeaders { end: EI_NIDENT })
}

fn require(field: &'static str, found: u16, expected: u16) -> Result<(), ImageError> {
    if found == expected { Ok(()) } else { Err(ImageError::Field { field, found, expected }) }
}

/// Why an image cannot be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageError {
    /// A file without a byte.
    Empty,
    /// The ELF file ends before its headers do.
    TruncatedHeaders {
        /// Offset after the last byte that should be there.
        end: usize,
    },
    /// Something else about the ELF headers.
    Headers(&'static str),
    /// A field of the ELF header is not that of a program for this machine.
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds.
        found: u16,
        /// What it should hold.
        expected: u16,
    },
    /// A segment has more bytes in the file than in memory.
    FileSize {
        /// Size in the file.
        p_filesz: u64,
        /// Size in memory.
        p_memsz: u64,
    },
    /// The file ends before a segment's data does.
    Truncated {
        /// Offset of the data in the file.
        p_offset: u64,
        /// Size of the data in the file.
        p_filesz: u64,
    },
    /// The ELF file has no segment of type `PT_LOAD`.
    NothingToLoad,
    /// The entry is in no segment.
    Entry(u64),
    /// The image is larger than the VM's memory.
    TooLarge {
        /// The first address after the image.
        end: u64,
        /// The VM's memory in bytes.
        memory: u64,
    },
    /// A part of the image is where no VM has memory.
    OutsideRam {
        /// Where the part starts.
        address: u64,
        /// Its size in memory.
        size: u64,
    },
}

impl ImageError {
    fn parse(error: ParseError) -> Self {
        match error {
            ParseError::SliceReadError((_, end)) => Self::TruncatedHeaders { end },
            ParseError::UnsupportedVersion(_) => Self::Headers("e_ident[EI_VERSION] is not 1"),
            ParseError::BadEntsize(_) => Self::Headers("e_phentsize or e_shentsize is wrong"),
            _ => Self::Headers("a field is out of range"),
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the file is empty"),
            Self::TruncatedHeaders { end } => {
                write!(f, "truncated ELF file: its headers need {end} bytes (e_phoff, e_shoff)")
            }
            Self::Headers(what) => write!(f, "not a good ELF file: {what}"),
            Self::Field { field, found, expected } => {
                write!(f, "not an ELF program for AArch64: {field} is {found} and not {expected}")
            }
            Self::FileSize { p_filesz, p_memsz } => {
                write!(f, "not a good ELF file: p_filesz {p_filesz:#x} exceeds p_memsz {p_memsz:#x}")
            }
            Self::Truncated { p_offset, p_filesz } => write!(
                f,
                "truncated ELF file: p_offset {p_offset:#x} + p_filesz {p_filesz:#x} is past its end"
            ),
            Self::NothingToLoad => f.write_str("the ELF file has no segment to load (p_type PT_LOAD)"),
            Self::Entry(entry) => write!(f, "e_entry {entry:#x} is in no segment of the ELF file"),
            Self::TooLarge { end, memory } => {
                let (memory, enough) = (memory >> 10, (end + abi::STACK_SPACING).div_ceil(PAGE_SIZE) * 4);
                write!(
                    f,
                    "too large: it reaches up to {end:#x}, and memory is {memory}KiB: {enough}KiB are enough"
                )
            }
            Self::OutsideRam { address, size } => {
                write!(f, "{size:#x} bytes at {address:#x} (p_paddr) are where no VM has memory")
            }
        }
    }
}

impl core::error::Error for ImageError {}
