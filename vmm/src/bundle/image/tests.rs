use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MEMORY: u64 = 1 << 20;

/// One loadable segment of a test program.
#[derive(Clone, Copy)]
struct Load {
    address: u64,
    file_size: u64,
    memory_size: u64,
}

const CODE: Load = Load { address: 0x1_0000, file_size: 16, memory_size: 16 };

/// An ELF64 program with these segments, each of which has `0xAA` bytes, entered at `0x10000`.
fn program(loads: &[Load]) -> Vec<u8> {
    let mut bytes = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let count = u16::try_from(loads.len()).unwrap();
    bytes.extend([2_u16, 183].iter().flat_map(|half| half.to_le_bytes())); // e_type, e_machine
    bytes.extend(1_u32.to_le_bytes()); // e_version
    bytes.extend([0x1_0000_u64, 64, 0].iter().flat_map(|field| field.to_le_bytes())); // entry, phoff, shoff
    bytes.extend(0_u32.to_le_bytes()); // e_flags
    bytes.extend([64, 56, count, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    let mut offset = 64 + 56 * u64::from(count);
    for load in loads {
        bytes.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes())); // p_type, p_flags
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
    GuestImage::parse(bytes, MEMORY).unwrap_err().to_string()
}

#[test]
fn a_flat_image_is_loaded_and_entered_at_its_base() {
    let image = GuestImage::parse(b"code", MEMORY).unwrap();
    let segment = Segment { address: abi::IMAGE_BASE, data: b"code", size: 4 };
    assert_eq!(image, GuestImage { entry: abi::IMAGE_BASE, segments: vec![segment] });
}

#[test]
fn a_flat_image_must_fit() {
    let bytes = vec![1; 1 << 20];
    assert_eq!(
        error(&bytes),
        "too large: it reaches up to 0x110000, and memory is 1024KiB: 1152KiB are enough"
    );
    assert!(GuestImage::parse(&bytes, 1152 << 10).is_ok());
    assert!(GuestImage::parse(&bytes[..0xF_0000], MEMORY).is_ok());
    assert_eq!(error(&[]), "the file is empty");
}

#[test]
fn an_elf_file_has_its_segments() {
    let bss = Load { address: 0x2_0000, file_size: 4, memory_size: 0x1000 };
    let bytes = program(&[CODE, bss]);
    let image = GuestImage::parse(&bytes, MEMORY).unwrap();
    assert_eq!(image.entry, 0x1_0000);
    assert_eq!(image.segments[0], Segment { address: 0x1_0000, data: &[0xAA; 16], size: 16 });
    assert_eq!(image.segments[1], Segment { address: 0x2_0000, data: &[0xAA; 4], size: 0x1000 });
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
        assert!(GuestImage::parse(&bytes[..length], MEMORY).is_err(), "{length} bytes");
    }
}

#[test]
fn segments_must_be_inside_the_memory() {
    let large = Load { address: 0x8_0000, file_size: 0, memory_size: 0x8_1000 };
    let message = error(&program(&[CODE, large]));
    assert_eq!(message, "too large: it reaches up to 0x101000, and memory is 1024KiB: 1092KiB are enough");
    let far = Load { address: 0xFFFF_FFFF_FFFF_F000, file_size: 0, memory_size: 0x1001 };
    let message = error(&program(&[CODE, far]));
    assert_eq!(message, "0x1001 bytes at 0xfffffffffffff000 (p_paddr) are where no VM has memory");
    let odd = Load { file_size: 17, ..CODE };
    assert_eq!(error(&program(&[odd])), "not a good ELF file: p_filesz 0x11 exceeds p_memsz 0x10");
    let huge = Load { file_size: u64::MAX, memory_size: u64::MAX, ..CODE };
    assert!(error(&program(&[huge])).starts_with("truncated ELF file: p_offset"));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), memory: u64) {
        let _ = GuestImage::parse(&bytes, memory);
    }

    #[test]
    fn what_is_accepted_is_inside_the_memory(at in 4..176_usize, to: [u8; 4]) {
        let mut bytes = program(&[CODE, Load { address: 0x2_0000, ..CODE }]);
        bytes[at..at + 4].copy_from_slice(&to);
        if let Ok(image) = GuestImage::parse(&bytes, MEMORY) {
            prop_assert!(image.segments.iter().any(|segment| segment.contains(image.entry)));
            for segment in image.segments {
                prop_assert!(segment.address.checked_add(segment.size).is_some_and(|end| end <= MEMORY));
                prop_assert!(u64::try_from(segment.data.len()).unwrap() <= segment.size);
            }
        }
    }
}
