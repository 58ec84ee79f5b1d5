//! The register maps, as tables of ranges.
//!
//! What no range covers is reserved, or of a feature that is not there: it reads as zero and ignores
//! writes, as does an access of a width or alignment that a register does not allow (IHI 0048B, 4.1.4;
//! IHI 0069, 12.1.3).

use super::bank::Bits;
use crate::devices::Width;
use core::ops::Range;

/// Registers of one kind that follow each other.
pub(super) struct Entry {
    /// Offset of the first byte that is there.
    start: u64,
    end: u64,
    /// Offset of the register for interrupt 0, which need not be there.
    base: u64,
    /// Allowed widths: the sum of their sizes in bytes.
    widths: u64,
    register: Register,
}

/// What a register does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    /// `GICD_CTLR`.
    Control,
    /// `GICD_TYPER`.
    Type,
    /// `GICD_IIDR`, `GICR_IIDR`.
    Implementer,
    /// `GICD_PIDR2`, `GICR_PIDR2`, `GICD_ICPIDR2`: the version of the architecture.
    Revision,
    /// A bit for each interrupt.
    Bits(Bits),
    /// `GICD_IPRIORITYR`, `GICR_IPRIORITYR`: a byte for each interrupt.
    Priority,
    /// `GICD_ITARGETSR`: a byte for each interrupt.
    Targets,
    /// `GICD_ICFGR`, `GICR_ICFGR`: two bits for each interrupt.
    Configuration,
    /// `GICD_SGIR`.
    SoftwareInterrupt,
    /// `GICD_CPENDSGIR`: a byte for each SGI.
    ClearSources,
    /// `GICD_SPENDSGIR`: a byte for each SGI.
    SetSources,
    /// `GICD_IROUTER`: 64 bits for each interrupt.
    Route,
    /// `GICR_TYPER`.
    RedistributorType,
    /// `GICR_WAKER`.
    Waker,
}

const BYTE: u64 = 1;
const WORD: u64 = 4;
const DOUBLEWORD: u64 = 8;

/// Interrupts that each vCPU has for itself.
const PRIVATE: Range<u64> = 0..32;
/// Interrupts that the vCPUs share.
const SHARED: Range<u64> = 32..64;
const ALL: Range<u64> = 0..64;
const SGIS: Range<u64> = 0..16;
/// Offset of the redistributor's second frame.
const SGI_FRAME: u64 = 0x1_0000;

/// The distributor of a GICv2 (IHI 0048B, table 4-1).
pub(super) static V2_DISTRIBUTOR: [Entry; 17] = [
    word(0x000, Register::Control),
    word(0x004, Register::Type),
    word(0x008, Register::Implementer),
    bits(0x080, ALL, Bits::Group),
    bits(0x100, ALL, Bits::SetEnable),
    bits(0x180, ALL, Bits::ClearEnable),
    bits(0x200, ALL, Bits::SetPending),
    bits(0x280, ALL, Bits::ClearPending),
    bits(0x300, ALL, Bits::SetActive),
    bits(0x380, ALL, Bits::ClearActive),
    bytes(0x400, ALL, Register::Priority),
    bytes(0x800, ALL, Register::Targets),
    each(0xc00, 2, ALL, WORD, Register::Configuration),
    word(0xf00, Register::SoftwareInterrupt),
    bytes(0xf10, SGIS, Register::ClearSources),
    bytes(0xf20, SGIS, Register::SetSources),
    word(0xfe8, Register::Revision),
];

/// The distributor of a GICv3 with affinity routing: the private interrupts are the redistributors'
/// (IHI 0069, table 12-25).
pub(super) static V3_DISTRIBUTOR: [Entry; 14] = [
    word(0x000, Register::Control),
    word(0x004, Register::Type),
    word(0x008, Register::Implementer),
    bits(0x080, SHARED, Bits::Group),
    bits(0x100, SHARED, Bits::SetEnable),
    bits(0x180, SHARED, Bits::ClearEnable),
    bits(0x200, SHARED, Bits::SetPending),
    bits(0x280, SHARED, Bits::ClearPending),
    bits(0x300, SHARED, Bits::SetActive),
    bits(0x380, SHARED, Bits::ClearActive),
    bytes(0x400, SHARED, Register::Priority),
    each(0xc00, 2, SHARED, WORD, Register::Configuration),
    each(0x6000, 64, SHARED, WORD | DOUBLEWORD, Register::Route),
    word(0xffe8, Register::Revision),
];

/// A redistributor: the control frame, and the frame of the SGIs and PPIs (IHI 0069, tables 12-27 and 12-29).
pub(super) static REDISTRIBUTOR: [Entry; 13] = [
    word(0x0004, Register::Implementer),
    fixed(0x0008, 8, WORD | DOUBLEWORD, Register::RedistributorType),
    word(0x0014, Register::Waker),
    word(0xffe8, Register::Revision),
    bits(SGI_FRAME + 0x080, PRIVATE, Bits::Group),
    bits(SGI_FRAME + 0x100, PRIVATE, Bits::SetEnable),
    bits(SGI_FRAME + 0x180, PRIVATE, Bits::ClearEnable),
    bits(SGI_FRAME + 0x200, PRIVATE, Bits::SetPending),
    bits(SGI_FRAME + 0x280, PRIVATE, Bits::ClearPending),
    bits(SGI_FRAME + 0x300, PRIVATE, Bits::SetActive),
    bits(SGI_FRAME + 0x380, PRIVATE, Bits::ClearActive),
    bytes(SGI_FRAME + 0x400, PRIVATE, Register::Priority),
    each(SGI_FRAME + 0xc00, 2, PRIVATE, WORD, Register::Configuration),
];

const fn word(offset: u64, register: Register) -> Entry {
    fixed(offset, 4, WORD, register)
}

const fn bits(base: u64, interrupts: Range<u64>, bits: Bits) -> Entry {
    each(base, 1, interrupts, WORD, Register::Bits(bits))
}

const fn bytes(base: u64, interrupts: Range<u64>, register: Register) -> Entry {
    each(base, 8, interrupts, BYTE | WORD, register)
}

const fn fixed(offset: u64, size: u64, widths: u64, register: Register) -> Entry {
    Entry { start: offset, end: offset + size, base: offset, widths, register }
}

/// Registers with so many bits for each of these interrupts.
const fn each(base: u64, bits: u64, interrupts: Range<u64>, widths: u64, register: Register) -> Entry {
    let start = base + interrupts.start * bits / 8;
    let end = base + interrupts.end * bits / 8;
    Entry { start, end, base, widths, register }
}

/// The register that an access goes to, and the offset from that of interrupt 0; none if it does nothing.
#[inline]
pub(super) fn find(map: &[Entry], offset: u64, width: Width) -> Option<(Register, usize)> {
    let entry = map.iter().find(|entry| offset < entry.end)?;
    let bytes = width.bytes();
    if offset < entry.start || !offset.is_multiple_of(bytes) || entry.widths & bytes == 0 {
        return None;
    }
    Some((entry.register, usize::try_from(offset - entry.base).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order() {
        for map in [&V2_DISTRIBUTOR[..], &V3_DISTRIBUTOR, &REDISTRIBUTOR] {
            assert!(map.windows(2).all(|pair| pair[0].end <= pair[1].start));
            assert!(map.iter().all(|entry| entry.base <= entry.start && entry.start < entry.end));
        }
    }

    #[test]
    fn registers_are_found_by_offset() {
        let find = |offset, width| find(&V3_DISTRIBUTOR, offset, width);
        assert_eq!(find(0x104, Width::Word), Some((Register::Bits(Bits::SetEnable), 4)));
        assert_eq!(find(0x43f, Width::Byte), Some((Register::Priority, 63)));
        assert_eq!(find(0x6104, Width::Word), Some((Register::Route, 32 * 8 + 4)));
        assert_eq!(find(0x6100, Width::Doubleword), Some((Register::Route, 32 * 8)));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let find = |offset, width| find(&V3_DISTRIBUTOR, offset, width);
        assert_eq!(find(0x100, Width::Word), None, "private interrupts");
        assert_eq!(find(0x108, Width::Word), None, "more interrupts than there are");
        assert_eq!(find(0x104, Width::Byte), None, "width");
        assert_eq!(find(0x104, Width::Doubleword), None, "width");
        assert_eq!(find(0x420, Width::Halfword), None, "width");
        assert_eq!(find(0x422, Width::Word), None, "alignment");
        assert_eq!(find(0x6104, Width::Doubleword), None, "alignment");
        assert_eq!(find(u64::MAX, Width::Byte), None);
    }
}
