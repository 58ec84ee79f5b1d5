//! The program that a VM boots: an ELF file for 64-bit Arm, an arm64 `Image`, perhaps compressed, or a flat binary.

pub(crate) mod gzip;
mod kernel;

#[cfg(test)]
pub(crate) mod tests;

use alloc::vec::Vec;
use core::fmt;

use elf::ElfBytes;
use elf::abi::{
    EI_CLASS, EI_DATA, EI_NIDENT, ELFCLASS64, ELFDATA2LSB, EM_AARCH64, ET_EXEC, PF_W, PF_X, PT_LOAD,
};
use elf::endian::LittleEndian;
use elf::parse::ParseError;
use elf::segment::ProgramHeader;
use tinyvmm_abi as abi;

use super::manifest::Machine;
pub use gzip::{Gzip, GzipError};
use kernel::KernelHeader;

const PAGE_SIZE: u64 = 4096;

/// An image whose parts all lie inside the VM's memory, or where VMs share code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestImage<'a> {
    /// What kind of file it is.
    pub format: Format,
    /// Guest physical address of the first instruction.
    pub entry: u64,
    /// What to load.
    pub segments: Vec<Segment<'a>>,
    /// Code that all VMs with this image share, beyond their memory.
    pub shared: Vec<Segment<'a>>,
    /// A kernel that is compressed: what to load at its entry, in place of bytes of its segment.
    pub packed: Option<Gzip<'a>>,
}

/// The kinds of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An ELF file, which says where its parts belong.
    Elf,
    /// The bare bytes of a program, loaded where the machine has flat images.
    Flat,
    /// A flat binary with the header of the arm64 boot protocol, which says where in RAM it wants to be and how
    /// much of it it needs.
    Kernel,
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
    /// Whether there is code in it.
    pub executable: bool,
}

impl<'a> GuestImage<'a> {
    /// Reads an image for a VM of this kind with `memory` bytes of RAM. What starts like an ELF file must be a
    /// good one; anything else is a flat binary, on a board perhaps with a kernel's header.
    ///
    /// # Errors
    /// The image is damaged, for another machine, or does not fit.
    pub fn parse(bytes: &'a [u8], machine: Machine, memory: u64) -> Result<Self, ImageError> {
        let image = match machine {
            _ if bytes.starts_with(b"\x7fELF") => Self::elf(bytes, machine)?,
            Machine::Tiny => Self::flat(bytes, abi::IMAGE_BASE)?,
            Machine::Virt => Self::for_board(bytes)?,
        };
        check_fits(&image.segments, machine, memory)?;
        check_beyond(&image.shared, memory)?;
        Ok(image)
    }

    fn flat(data: &'a [u8], address: u64) -> Result<Self, ImageError> {
        if data.is_empty() {
            return Err(ImageError::Empty);
        }
        Ok(Self::in_one_piece(Format::Flat, Segment { address, data, size: length(data), executable: true }))
    }

    fn for_board(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if let Some(packed) = Gzip::find(bytes)? {
            let header = KernelHeader::find(&packed.start()?)?.ok_or(ImageError::PackedOther)?;
            return Ok(Self { packed: Some(packed), ..Self::kernel(&[], packed.size(), &header) });
        }
        match KernelHeader::find(bytes)? {
            Some(header) => Ok(Self::kernel(bytes, length(bytes), &header)),
            None => Self::flat(bytes, abi::virt::MEMORY_BASE + abi::virt::IMAGE_OFFSET),
        }
    }

    /// A kernel whose file, unpacked, has `length` bytes.
    fn kernel(data: &'a [u8], length: u64, header: &KernelHeader) -> Self {
        let address = abi::virt::MEMORY_BASE + header.text_offset;
        // A kernel's data without initial values, and its first stack, are not in the file.
        let size = header.image_size.max(length);
        Self::in_one_piece(Format::Kernel, Segment { address, data, size, executable: true })
    }

    /// An image that is entered at its first instruction.
    fn in_one_piece(format: Format, segment: Segment<'a>) -> Self {
        let (entry, segments) = (segment.address, Vec::from([segment]));
        Self { format, entry, segments, shared: Vec::new(), packed: None }
    }

    fn elf(bytes: &'a [u8], machine: Machine) -> Result<Self, ImageError> {
        require("e_ident[EI_CLASS]", ident(bytes, EI_CLASS)?, ELFCLASS64.into())?;
        require("e_ident[EI_DATA]", ident(bytes, EI_DATA)?, ELFDATA2LSB.into())?;
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(ImageError::parse)?;
        require("e_machine", file.ehdr.e_machine, EM_AARCH64)?;
        require("e_type", file.ehdr.e_type, ET_EXEC)?;
        let headers = file.segments().into_iter().flatten();
        let loaded = headers.filter(|header| header.p_type == PT_LOAD && header.p_memsz != 0);
        let (shared, own): (Vec<_>, Vec<_>) = loaded.partition(|header| is_shared(header, machine));
        let load = |headers: Vec<ProgramHeader>| {
            headers.iter().map(|header| Segment::load(bytes, header)).collect::<Result<Vec<_>, _>>()
        };
        let (segments, shared) = (load(own)?, load(shared)?);
        let entry = file.ehdr.e_entry;
        match segments.iter().chain(&shared).any(|segment| segment.contains(entry)) {
            true => Ok(Self { format: Format::Elf, entry, segments, shared, packed: None }),
            false if segments.is_empty() && shared.is_empty() => Err(ImageError::NothingToLoad),
            false => Err(ImageError::Entry(entry)),
        }
    }
}

impl<'a> Segment<'a> {
    fn load(bytes: &'a [u8], header: &ProgramHeader) -> Result<Self, ImageError> {
        let ProgramHeader { p_offset, p_filesz, p_memsz, p_flags, .. } = *header;
        if p_filesz > p_memsz {
            return Err(ImageError::FileSize { p_filesz, p_memsz });
        }
        let data = slice(bytes, p_offset, p_filesz).ok_or(ImageError::Truncated { p_offset, p_filesz })?;
        Ok(Self { address: header.p_paddr, data, size: p_memsz, executable: p_flags & PF_X != 0 })
    }

    /// The first address after it. No RAM reaches up to the last address that there is.
    pub(crate) fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    fn contains(&self, address: u64) -> bool {
        (self.address..self.end()).contains(&address)
    }
}

/// Whether a segment is code that VMs share: it is linked where the ABI has such code, and cannot be written.
fn is_shared(header: &ProgramHeader, machine: Machine) -> bool {
    let inside = header.p_paddr >= abi::CODE_BASE
        && header
            .p_paddr
            .checked_add(header.p_memsz)
            .is_some_and(|end| end <= abi::CODE_BASE + abi::CODE_MAX);
    machine == Machine::Tiny && inside && header.p_flags & (PF_W | PF_X) == PF_X
}

/// Shared code lies beyond RAM.
fn check_beyond(shared: &[Segment<'_>], memory: u64) -> Result<(), ImageError> {
    match shared.iter().map(|segment| segment.address).min() {
        Some(address) if address < abi::RAM_BASE + memory => Err(ImageError::CodeInRam { address, memory }),
        _ => Ok(()),
    }
}

fn check_fits(segments: &[Segment<'_>], machine: Machine, memory: u64) -> Result<(), ImageError> {
    let base = machine.memory_base();
    let last_end = base + machine.memory_sizes(1).end();
    let outside = |segment: &&Segment<'_>| segment.address < base || segment.end() > last_end;
    if let Some(&Segment { address, size, .. }) = segments.iter().find(outside) {
        return Err(ImageError::OutsideRam { address, size, base });
    }
    match segments.iter().map(Segment::end).max() {
        Some(end) if end > base + memory => {
            let enough = (end - base + room_beside(machine)).next_multiple_of(PAGE_SIZE);
            Err(ImageError::TooLarge { end, memory, enough })
        }
        _ => Ok(()),
    }
}

/// What a VM's memory has to hold besides the image: a stack, or the device tree.
const fn room_beside(machine: Machine) -> u64 {
    match machine {
        Machine::Tiny => abi::STACK_SPACING,
        Machine::Virt => abi::virt::DEVICE_TREE_MAX,
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
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
        /// Memory that would do, in bytes.
        enough: u64,
    },
    /// Code that VMs share is where this VM has RAM.
    CodeInRam {
        /// Where the code starts.
        address: u64,
        /// The VM's memory in bytes.
        memory: u64,
    },
    /// A part of the image is where no VM of this kind has memory.
    OutsideRam {
        /// Where the part starts.
        address: u64,
        /// Its size in memory.
        size: u64,
        /// Where memory starts.
        base: u64,
    },
    /// A field of a kernel's header has a value that cannot be honoured.
    Kernel {
        /// Its name.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file is compressed, and wrong as such.
    Packed(GzipError),
    /// The file is compressed, and what is in it is not a kernel.
    PackedOther,
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
            Self::TooLarge { end, memory, enough } => write!(
                f,
                "too large: it reaches up to {end:#x}, and memory is {}KiB: {}KiB are enough",
                memory >> 10,
                enough >> 10
            ),
            Self::CodeInRam { address, memory } => write!(
                f,
                "its code at {address:#x} is inside memory, which is {}KiB: {}KiB are the most",
                memory >> 10,
                address >> 10
            ),
            Self::OutsideRam { address, size, base } => {
                write!(
                    f,
                    "{size:#x} bytes at {address:#x} (p_paddr) are not in memory, which starts at {base:#x}"
                )
            }
            Self::Kernel { field, value, problem } => {
                write!(f, "not a kernel for this machine: {field} {value:#x} {problem}")
            }
            Self::Packed(error) => write!(f, "compressed by gzip, but {error}"),
            Self::PackedOther => f.write_str("compressed by gzip, and not an arm64 Image: unpack it"),
        }
    }
}

impl From<GzipError> for ImageError {
    fn from(error: GzipError) -> Self {
        Self::Packed(error)
    }
}

impl core::error::Error for ImageError {}
