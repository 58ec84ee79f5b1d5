//! The flattened device tree: the one module that reads it.
//!
//! A single pass without allocation. What the tree says is not trusted: sizes and offsets are checked,
//! and a tree that makes no sense is an error.

use core::{fmt, ops::Range};
use fdt_rs::{
    base::{DevTree, parse::ParsedTok},
    prelude::FallibleIterator,
};
use heapless::Vec;

/// Size of the header that every version has, in bytes.
pub const HEADER_SIZE: usize = 40;
/// Largest device tree that is accepted, in bytes.
const MAX_SIZE: usize = 2 << 20;
/// Deepest nesting of nodes that is accepted.
const MAX_DEPTH: usize = 12;
/// The properties that anyone asks for; the others are passed over. Some nodes have hundreds.
const PROPERTIES: [&str; 25] = [
    "#address-cells",
    "#redistributor-regions",
    "#size-cells",
    "bootargs",
    "clock-frequency",
    "clocks",
    "compatible",
    "cpu-release-addr",
    "device_type",
    "enable-method",
    "gpios",
    "interrupts",
    "kaslr-seed",
    "linux,initrd-end",
    "linux,initrd-start",
    "method",
    "no-map",
    "phandle",
    "ranges",
    "reg",
    "rng-seed",
    "serial0",
    "serial1",
    "status",
    "stdout-path",
];

const MAGIC: u32 = 0xd00d_feed;

/// What is wrong with a device tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// It does not begin with the magic number, or is shorter or longer than can be.
    NoDeviceTree,
    /// A token or a length makes no sense.
    Malformed,
    /// Nodes are nested too deeply, or have a property twice.
    TooComplex,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDeviceTree => "no device tree: the magic number or the size is wrong",
            Self::Malformed => "malformed device tree",
            Self::TooComplex => "device tree with too many levels, or a property twice",
        })
    }
}

/// How many bytes a device tree has that begins with these: up to the end of its last block, for boot loaders leave
/// room behind that (Devicetree Specification, 5.2).
pub fn size(header: &[u8]) -> Result<usize, Error> {
    const TOTAL: usize = 4;
    const RESERVATIONS: usize = 16;
    /// Offset and size of the structure block, and of the strings.
    const BLOCKS: [(usize, usize); 2] = [(8, 36), (12, 32)];
    if be32(header, 0) != Some(MAGIC) {
        return Err(Error::NoDeviceTree);
    }
    let field = |at| be32(header, at).and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    let total = field(TOTAL);
    if !(HEADER_SIZE..=MAX_SIZE).contains(&total) {
        return Err(Error::NoDeviceTree);
    }
    let used = BLOCKS.map(|(start, size)| field(start).saturating_add(field(size))).into_iter().max();
    // The reservations have no size; they come first.
    Ok(used.filter(|end| (field(RESERVATIONS)..total).contains(end)).unwrap_or(total))
}

/// A node while it is being visited, with what it inherits.
#[derive(Clone, Default)]
pub struct Node<'a> {
    /// Name with unit address, such as `memory@40000000`. Empty for the root.
    pub name: &'a str,
    properties: Vec<(&'static str, &'a [u8]), { PROPERTIES.len() }>,
    /// Cells of addresses and sizes in `reg`, as the parent says.
    cells: Cells,
}

/// `#address-cells` and `#size-cells` with their defaults (Devicetree Specification, 2.3.5).
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

impl Default for Cells {
    fn default() -> Self {
        Self { address: 2, size: 1 }
    }
}

impl<'a> Node<'a> {
    /// The value of one of the properties that are kept.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        debug_assert!(PROPERTIES.contains(&name), "{name} is not kept");
        self.properties.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// A property that is one string.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&'a str> {
        let value = self.property(name)?;
        core::str::from_utf8(value.strip_suffix(b"\0").unwrap_or(value)).ok()
    }

    /// The 32-bit cell `index` of a property.
    #[must_use]
    pub fn cell(&self, name: &str, index: usize) -> Option<u32> {
        be32(self.property(name)?, index.checked_mul(4)?)
    }

    /// A property of one or two cells as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.property(name)?;
        number(value, value.len() / 4)
    }

    /// Whether `compatible` lists this device.
    #[must_use]
    pub fn is_compatible(&self, device: &str) -> bool {
        let list = self.property("compatible").unwrap_or_default();
        list.split(|byte| *byte == 0).any(|entry| entry == device.as_bytes())
    }

    /// Whether the device may be used (`status` absent or "okay").
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        matches!(self.string("status"), None | Some("okay" | "ok"))
    }

    /// The cells that this node's children use.
    fn child_cells(&self) -> Cells {
        let default = Cells::default();
        let cells = |name, default| {
            self.cell(name, 0).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= 4).unwrap_or(default)
        };
        Cells { address: cells("#address-cells", default.address), size: cells("#size-cells", default.size) }
    }

    /// The address that an address of this node's children has one level up (`ranges`).
    fn translate(&self, address: u64) -> Option<u64> {
        let ranges = self.property("ranges")?;
        if ranges.is_empty() {
            return Some(address);
        }
        let child = self.child_cells();
        let entry = (child.address + self.cells.address + child.size) * 4;
        ranges.chunks_exact(entry.max(4)).find_map(|entry| {
            let (from, rest) = entry.split_at_checked(child.address * 4)?;
            let (to, size) = rest.split_at_checked(self.cells.address * 4)?;
            let offset = address.checked_sub(number(from, child.address)?)?;
            (offset < number(size, child.size)?)
                .then(|| number(to, self.cells.address)?.checked_add(offset))?
        })
    }
}

/// A node and those above it, the root first.
pub struct Path<'s, 'a> {
    nodes: &'s [Node<'a>],
}

impl<'s, 'a> Path<'s, 'a> {
    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &'s Node<'a> {
        // A path is made with at least one node.
        &self.nodes[self.nodes.len() - 1]
    }

    /// The name of the node's parent, if it has one.
    #[must_use]
    pub fn parent(&self) -> Option<&'a str> {
        self.nodes.iter().rev().nth(1).map(|node| node.name)
    }

    /// Range `index` of the node's `reg`, as the CPU sees it.
    #[must_use]
    pub fn reg(&self, index: usize) -> Option<Range<u64>> {
        let Cells { address, size } = self.node().cells;
        let entry = self.node().property("reg")?.chunks_exact((address + size).max(1) * 4).nth(index)?;
        let (start, len) = entry.split_at_checked(address * 4)?;
        let (mut start, len) = (number(start, address)?, number(len, size)?);
        // Every bus between the node and the root translates; the root has the CPU's addresses.
        for bus in self.nodes.iter().skip(1).rev().skip(1) {
            start = bus.translate(start)?;
        }
        Some(start..start.checked_add(len)?)
    }

    /// The number of the interrupt `index` at an Arm GIC: cells are type, number and flags.
    #[must_use]
    pub fn interrupt(&self, index: usize) -> Option<u32> {
        let cell = |n| self.node().cell("interrupts", 3 * index + n);
        let (base, limit) = match cell(0)? {
            0 => (32, 988),
            1 => (16, 16),
            _ => return None,
        };
        cell(1).filter(|number| *number < limit).map(|number| base + number)
    }
}

/// The ranges that the tree's reservation block keeps from use (Devicetree Specification, 5.3).
pub fn reserved(tree: &[u8]) -> Result<Vec<Range<u64>, 16>, Error> {
    let start = offset(tree, 16)?;
    let mut ranges = Vec::new();
    for entry in tree.get(start..).ok_or(Error::Malformed)?.chunks_exact(16) {
        let (address, size) = (number(entry, 2).unwrap_or(0), number(&entry[8..], 2).unwrap_or(0));
        if address == 0 && size == 0 {
            return Ok(ranges);
        }
        let end = address.checked_add(size).ok_or(Error::Malformed)?;
        ranges.push(address..end).map_err(|_| Error::TooComplex)?;
    }
    Err(Error::Malformed)
}

/// Calls `visit` for every node, children before their parents.
pub fn walk<'a>(tree: &'a [u8], mut visit: impl FnMut(&Path<'_, 'a>)) -> Result<(), Error> {
    let size = size(tree)?;
    let tree = tree.get(..size).ok_or(Error::NoDeviceTree)?;
    if !tree.as_ptr().addr().is_multiple_of(4) {
        return Err(Error::NoDeviceTree);
    }
    // The parser reads within the slice only; these are the offsets that it takes on trust.
    let strings = offset(tree, 12)?;
    offset(tree, 8)?;
    // SAFETY: the slice is 4-byte aligned and no longer than its header says.
    let parser = unsafe { DevTree::new(tree) }.map_err(|_| Error::Malformed)?;
    let mut tokens = parser.parse_iter();
    let mut nodes: Vec<Node<'a>, MAX_DEPTH> = Vec::new();
    // The parser asserts in debug builds that a token is there: stop before the end.
    while tokens.offset + 4 < tree.len() {
        if let Some(name) = begin_node(tree, &mut tokens.offset) {
            let cells = nodes.last().map(Node::child_cells).unwrap_or_default();
            nodes.push(Node { name, cells, ..Node::default() }).map_err(|_| Error::TooComplex)?;
            continue;
        }
        match tokens.next().map_err(|_| Error::Malformed)? {
            Some(ParsedTok::Prop(property)) => {
                let name = strings.checked_add(property.name_offset).and_then(|at| string_at(tree, at));
                let node = nodes.last_mut().ok_or(Error::Malformed)?;
                let name = name.ok_or(Error::Malformed)?;
                if let Some(known) = PROPERTIES.iter().find(|known| **known == name) {
                    node.properties.push((known, property.prop_buf)).map_err(|_| Error::TooComplex)?;
                }
            }
            Some(ParsedTok::EndNode) => {
                if nodes.is_empty() {
                    return Err(Error::Malformed);
                }
                visit(&Path { nodes: &nodes });
                nodes.pop();
            }
            Some(ParsedTok::Nop) => {}
            // A node whose name is not UTF-8.
            Some(ParsedTok::BeginNode(_)) => return Err(Error::Malformed),
            None => break,
        }
    }
    if nodes.is_empty() { Ok(()) } else { Err(Error::Malformed) }
}

/// The name of the node that begins at `offset`, which then moves behind it. The parser itself takes names
/// of at most 29 characters, unit address included, and boards have longer ones.
fn begin_node<'a>(tree: &'a [u8], offset: &mut usize) -> Option<&'a str> {
    const BEGIN_NODE: u32 = 1;
    (be32(tree, *offset) == Some(BEGIN_NODE)).then_some(())?;
    let name = string_at(tree, *offset + 4)?;
    *offset = (*offset + 4 + name.len() + 1).next_multiple_of(4);
    Some(name)
}

/// The offset at `at` of the header, if it is 4-byte aligned or a string's and inside the tree.
fn offset(tree: &[u8], at: usize) -> Result<usize, Error> {
    let offset = be32(tree, at).and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| *offset < tree.len()).ok_or(Error::Malformed)
}

fn string_at(tree: &[u8], at: usize) -> Option<&str> {
    let rest = tree.get(at..)?;
    let len = rest.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(&rest[..len]).ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The number in the first `cells` cells; higher cells than two must be zero, as no machine has more.
fn number(bytes: &[u8], cells: usize) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..cells {
        value = value.checked_mul(1 << 32)?.checked_add(u64::from(be32(bytes, index * 4)?))?;
    }
    Some(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::{vec, vec::Vec as HeapVec};
    use proptest::prelude::*;
    use vm_fdt::FdtWriter;

    /// A tree at an address that is a multiple of 8.
    pub(crate) struct Aligned(HeapVec<u64>, usize);

    impl Aligned {
        pub(crate) fn new(bytes: &[u8]) -> Self {
            let mut words = vec![0_u64; bytes.len().div_ceil(8)];
            for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
                let mut padded = [0; 8];
                padded[..chunk.len()].copy_from_slice(chunk);
                *word = u64::from_ne_bytes(padded);
            }
            Self(words, bytes.len())
        }
        pub(crate) fn bytes(&self) -> &[u8] {
            // SAFETY: the words hold at least that many bytes.
            unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.1) }
        }
    }

    /// A board with a bus that translates addresses, as the Raspberry Pi's.
    fn board() -> Aligned {
        let mut fdt = FdtWriter::new().unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 1).unwrap();
        let soc = fdt.begin_node("soc").unwrap();
        fdt.property_u32("#address-cells", 1).unwrap();
        fdt.property_u32("#size-cells", 1).unwrap();
        fdt.property_array_u32("ranges", &[0x7e00_0000, 0, 0xfe00_0000, 0x100_0000]).unwrap();
        let uart = fdt.begin_node("serial@7e201000").unwrap();
        fdt.property_string_list("compatible", vec!["arm,pl011".into(), "arm,primecell".into()]).unwrap();
        fdt.property_array_u32("reg", &[0x7e20_1000, 0x200]).unwrap();
        fdt.property_array_u32("interrupts", &[0, 121, 4]).unwrap();
        fdt.end_node(uart).unwrap();
        let outside = fdt.begin_node("outside@1000").unwrap();
        fdt.property_array_u32("reg", &[0x1000, 0x200]).unwrap();
        fdt.end_node(outside).unwrap();
        fdt.end_node(soc).unwrap();
        fdt.end_node(root).unwrap();
        Aligned::new(&fdt.finish().unwrap())
    }

    #[test]
    fn translates_addresses_through_a_bus() {
        let tree = board();
        let mut seen = 0;
        walk(tree.bytes(), |path| match path.node().name {
            "serial@7e201000" => {
                seen += 1;
                assert!(path.node().is_compatible("arm,pl011") && !path.node().is_compatible("arm,pl01"));
                assert_eq!(path.reg(0), Some(0xfe20_1000..0xfe20_1200));
                assert_eq!(path.reg(1), None);
                assert_eq!(path.interrupt(0), Some(153));
                assert_eq!(path.interrupt(1), None);
                assert_eq!(path.parent(), Some("soc"));
            }
            "outside@1000" => assert_eq!(path.reg(0), None, "the bus does not reach there"),
            _ => {}
        })
        .unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_tree_cut_anywhere_is_an_error() {
        let tree = board();
        assert_eq!(size(&[]), Err(Error::NoDeviceTree));
        for len in 0..tree.bytes().len() {
            assert!(walk(&tree.bytes()[..len], |_| {}).is_err());
        }
    }

    proptest! {
        /// Any bytes in place of the tree's own are survived.
        #[test]
        fn corrupted_trees_do_no_harm(changes in prop::collection::vec((8_usize..400, any::<u8>()), 1..20)) {
            let mut bytes = board().bytes().to_vec();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            let tree = Aligned::new(&bytes);
            let _ = reserved(tree.bytes());
            let _ = walk(tree.bytes(), |path| {
                let _ = (path.reg(0), path.reg(3), path.interrupt(0), path.node().number("reg"), path.parent());
            });
        }
    }
}
