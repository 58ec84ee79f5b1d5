use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MEMORY: u64 = 1 << 20;

/// One loadable segment of a test program.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
}

pub(crate) const CODE: Load = Load { address: 0x1_0000, file_size: 16, memory_size: 16 };

/// An ELF64 program with these segments, each of which has `0xAA` bytes, entered at `0x10000`.
pub(crate) fn program(loads: &[Load]) -> Vec<u8> {
    let mut bytes = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let count = u16::try_from(loads.len()).unwrap();
    bytes.extend([2_u16, 183].iter().flat_map(|half| half.to_le_bytes())); // e_type, e_machine
    bytes.extend(1_u32.to_le_bytes()); // e_version
    bytes.extend([0x1_0000_u64, 64, 0].iter().flat_map(|field| field.to_le_bytes())); // entry, phoff, shoff
    bytes.extend(0_u32.to_le_bytes()); // e_flags
    bytes.extend([64, 56, count, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    let mut offset = 64 + 56 * u64::from(count);
    for load in loads {
        // Code, if all of it is in the file.
        let flags = if load.file_size < load.memory_size { 6 } else { 5 };
        bytes.extend([1_u32, flags].iter().flat_map(|word| word.to_le_bytes())); // p_type, p_flags
        let fields = [offset, load.address, load.address, load.file_size, load.memory_size, 4];
        bytes.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        offset = offset.wrapping_add(load.file_size);
    }
    for load in loads {
        bytes.resize(bytes.len() + usize::try_from(load.file_size.min(1 << 16)).unwrap(), 0xAA);
    }
    bytes
}

fn error(bytes: &[u8]) -> String {
    GuestImage::parse(bytes, Machine::Tiny, MEMORY).unwrap_err().to_string()
}

#[test]
fn a_flat_image_is_loaded_and_entered_at_its_base() {
    let image = GuestImage::parse(b"code", Machine::Tiny, MEMORY).unwrap();
    let segment = Segment { address: abi::IMAGE_BASE, data: b"code", size: 4, executable: true };
    let (format, entry) = (Format::Flat, abi::IMAGE_BASE);
    assert_eq!(image, GuestImage { format, entry, segments: vec![segment], shared: vec![], packed: None });
}

#[test]
fn a_flat_image_must_fit() {
    let bytes = vec![1; 1 << 20];
    assert_eq!(
        error(&bytes),
        "too large: it reaches up to 0x110000, and memory is 1024KiB: 1152KiB are enough"
    );
    assert!(GuestImage::parse(&bytes, Machine::Tiny, 1152 << 10).is_ok());
    assert!(GuestImage::parse(&bytes[..0xF_0000], Machine::Tiny, MEMORY).is_ok());
    assert_eq!(error(&[]), "the file is empty");
}

#[test]
fn an_elf_file_has_its_segments() {
    let bss = Load { address: 0x2_0000, file_size: 4, memory_size: 0x1000 };
    let bytes = program(&[CODE, bss]);
    let image = GuestImage::parse(&bytes, Machine::Tiny, MEMORY).unwrap();
    assert_eq!(image.entry, 0x1_0000);
    assert_eq!(
        image.segments[0],
        Segment { address: 0x1_0000, data: &[0xAA; 16], size: 16, executable: true }
    );
    assert_eq!(
        image.segments[1],
        Segment { address: 0x2_0000, data: &[0xAA; 4], size: 0x1000, executable: false }
    );
}

#[test]
fn code_at_its_place_beyond_ram_is_shared() {
    let code = Load { address: abi::CODE_BASE, ..CODE };
    let data = Load { address: abi::CODE_BASE + 0x1000, file_size: 4, memory_size: 8 };
    let bytes = program(&[CODE, code]);
    let image = GuestImage::parse(&bytes, Machine::Tiny, MEMORY).unwrap();
    assert_eq!((image.segments[0].address, image.shared[0].address), (0x1_0000, abi::CODE_BASE));
    assert!(GuestImage::parse(&bytes, Machine::Tiny, abi::CODE_BASE).is_ok());
    let message = GuestImage::parse(&bytes, Machine::Tiny, abi::RAM_MAX).unwrap_err().to_string();
    assert_eq!(
        message,
        "its code at 0x7f000000 is inside memory, which is 2097152KiB: 2080768KiB are the most"
    );
    for private in [data, Load { address: abi::CODE_BASE + abi::CODE_MAX - 8, ..CODE }] {
        assert!(GuestImage::parse(&program(&[CODE, private]), Machine::Tiny, MEMORY).is_err());
    }
}

#[test]
fn foreign_elf_files_are_refused_by_field() {
    let good = program(&[CODE]);
    let with = |offset: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[offset] = byte;
        error(&bytes)
    };
    assert_eq!(with(18, 62), "not an ELF program for AArch64: e_machine is 62 and not 183");
    assert_eq!(with(16, 3), "not an ELF program for AArch64: e_type is 3 and not 2");
    assert_eq!(with(5, 2), "not an ELF program for AArch64: e_ident[EI_DATA] is 2 and not 1");
    assert_eq!(with(4, 1), "not an ELF program for AArch64: e_ident[EI_CLASS] is 1 and not 2");
    assert_eq!(with(6, 2), "not a good ELF file: e_ident[EI_VERSION] is not 1");
    assert_eq!(with(54, 1), "not a good ELF file: e_phentsize or e_shentsize is wrong");
    assert_eq!(with(26, 2), "e_entry 0x20000 is in no segment of the ELF file");
    assert_eq!(error(&program(&[])), "the ELF file has no segment to load (p_type PT_LOAD)");
}

#[test]
fn truncated_elf_files_are_refused() {
    let bytes = program(&[CODE]);
    assert_eq!(error(&bytes[..130]), "truncated ELF file: p_offset 0x78 + p_filesz 0x10 is past its end");
    assert_eq!(error(&bytes[..80]), "truncated ELF file: its headers need 120 bytes (e_phoff, e_shoff)");
    for length in 4..bytes.len() {
        assert!(GuestImage::parse(&bytes[..length], Machine::Tiny, MEMORY).is_err(), "{length} bytes");
    }
}

#[test]
fn segments_must_be_inside_the_memory() {
    let large = Load { address: 0x8_0000, file_size: 0, memory_size: 0x8_1000 };
    let message = error(&program(&[CODE, large]));
    assert_eq!(message, "too large: it reaches up to 0x101000, and memory is 1024KiB: 1092KiB are enough");
    let far = Load { address: 0xFFFF_FFFF_FFFF_F000, file_size: 0, memory_size: 0x1001 };
    let message = error(&program(&[CODE, far]));
    assert_eq!(
        message,
        "0x1001 bytes at 0xfffffffffffff000 (p_paddr) are not in memory, which starts at 0x0"
    );
    let odd = Load { file_size: 17, ..CODE };
    assert_eq!(error(&program(&[odd])), "not a good ELF file: p_filesz 0x11 exceeds p_memsz 0x10");
    let huge = Load { file_size: u64::MAX, memory_size: u64::MAX, ..CODE };
    assert!(error(&program(&[huge])).starts_with("truncated ELF file: p_offset"));
}

const RAM: u64 = abi::virt::MEMORY_BASE;

/// An arm64 `Image` of 100 bytes.
fn kernel(text_offset: u64, image_size: u64, flags: u64) -> Vec<u8> {
    let mut bytes = vec![0xAA; 100];
    for (offset, value) in [(8, text_offset), (16, image_size), (24, flags)] {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

fn board_error(bytes: &[u8]) -> String {
    GuestImage::parse(bytes, Machine::Virt, MEMORY).unwrap_err().to_string()
}

#[test]
fn a_kernel_is_loaded_where_its_header_says() {
    let place = |text_offset, image_size| {
        let bytes = kernel(text_offset, image_size, 0b1010);
        let image = GuestImage::parse(&bytes, Machine::Virt, MEMORY).unwrap();
        assert_eq!((image.format, image.entry), (Format::Kernel, image.segments[0].address));
        assert_eq!(image.segments[0].data.len(), 100);
        (image.entry - RAM, image.segments[0].size)
    };
    assert_eq!(place(0, 0x8000), (0, 0x8000));
    assert_eq!(place(0x1000, 0xf_f000), (0x1000, 0xf_f000));
    assert_eq!(place(0, 1), (0, 100), "no smaller than the file");
    assert_eq!(place(0x1234, 0), (0x8_0000, 100), "from before Linux 3.17");
}

#[test]
fn a_kernel_header_is_checked_by_field() {
    let error = |text_offset, image_size, flags| board_error(&kernel(text_offset, image_size, flags));
    let prefix = "not a kernel for this machine: ";
    assert_eq!(error(0, 1, 0xb), format!("{prefix}flags 0xb has bit 0 set: it is big-endian"));
    assert_eq!(
        error(0x20_0000, 1, 0),
        format!("{prefix}text_offset 0x200000 is not a multiple of 4 below 0x200000")
    );
    assert_eq!(
        error(0, 1 << 63, 0),
        format!("{prefix}image_size 0x8000000000000000 is more than any VM has memory")
    );
    assert_eq!(
        error(0x1000, 1 << 20, 0),
        "too large: it reaches up to 0x40101000, and memory is 1024KiB: 1092KiB are enough"
    );
}

#[test]
fn a_kernel_may_be_compressed() {
    let file = gzip::tests::compressed(&kernel(0x1000, 0x8000, 0));
    let image = GuestImage::parse(&file, Machine::Virt, MEMORY).unwrap();
    assert_eq!((image.format, image.entry - RAM), (Format::Kernel, 0x1000));
    assert_eq!((image.segments[0].data, image.segments[0].size), (&[][..], 0x8000));
    assert_eq!(image.packed.unwrap().size(), 100);
    let large = gzip::tests::compressed(&kernel(0, 2 << 20, 0));
    let message = "too large: it reaches up to 0x40200000, and memory is 1024KiB: 2112KiB are enough";
    assert_eq!(board_error(&large), message);
    let said = [&file[..file.len() - 4], &u32::MAX.to_le_bytes()].concat();
    assert!(board_error(&said).starts_with("too large: it reaches up to 0x140000fff, "));
    assert_eq!(board_error(&file[..15]), "compressed by gzip, but it ends too early");
    let other = gzip::tests::compressed(b"\x7fELF");
    assert_eq!(board_error(&other), "compressed by gzip, and not an arm64 Image: unpack it");
    assert!(GuestImage::parse(&file, Machine::Tiny, MEMORY).is_ok_and(|image| image.format == Format::Flat));
}

#[test]
fn other_images_on_a_board() {
    let bytes = &kernel(0, 0, 0)[..59];
    let image = GuestImage::parse(bytes, Machine::Virt, MEMORY).unwrap();
    assert_eq!((image.format, image.entry), (Format::Flat, RAM + 0x8_0000), "half a magic is none");
    assert_eq!(board_error(&[]), "the file is empty");
    let message = board_error(&program(&[CODE]));
    assert_eq!(message, "0x10 bytes at 0x10000 (p_paddr) are not in memory, which starts at 0x40000000");
    let data = Load { address: RAM + 0x8_0000, ..CODE };
    assert_eq!(board_error(&program(&[data])), "e_entry 0x10000 is in no segment of the ELF file");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), memory in 0..=abi::virt::MEMORY_MAX) {
        let _ = GuestImage::parse(&bytes, Machine::Tiny, memory);
        let _ = GuestImage::parse(&bytes, Machine::Virt, memory);
    }

    #[test]
    fn any_kernel_that_is_accepted_is_inside_the_memory(text_offset: u64, image_size: u64, flags: u64, small: bool) {
        let limit = if small { 0x1f_ffff } else { u64::MAX };
        if let Ok(image) = GuestImage::parse(&kernel(text_offset & limit, image_size & limit, flags), Machine::Virt, MEMORY) {
            let segment = image.segments[0];
            prop_assert!(segment.address >= RAM && segment.end() <= RAM + MEMORY);
            prop_assert_eq!((image.entry, image.format), (segment.address, Format::Kernel));
        }
    }

    #[test]
    fn what_is_accepted_is_inside_the_memory(at in 4..176_usize, to: [u8; 4]) {
        let mut bytes = program(&[CODE, Load { address: 0x2_0000, ..CODE }]);
        bytes[at..at + 4].copy_from_slice(&to);
        if let Ok(image) = GuestImage::parse(&bytes, Machine::Tiny, MEMORY) {
            prop_assert!(image.segments.iter().any(|segment| segment.contains(image.entry)));
            for (segments, limit) in [(image.segments, MEMORY), (image.shared, abi::RAM_MAX)] {
                for segment in segments {
                    prop_assert!(segment.address.checked_add(segment.size).is_some_and(|end| end <= limit));
                    prop_assert!(u64::try_from(segment.data.len()).unwrap() <= segment.size);
                }
            }
        }
    }
}
