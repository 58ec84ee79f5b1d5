//! What guests of the `virt` machine need before they can be like those of the `tiny` one: a stack, and an MMU that is on,
//! for memory is that of a device without.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Translation table for 1 GiB of devices and 1 GiB of RAM above it, in blocks at their own addresses.
#[repr(C, align(4096))]
struct Table([u64; 512]);

/// A block, accessed.
const BLOCK: u64 = 1 << 10 | 0b01;
/// Attributes number 1, inner shareable.
const NORMAL: u64 = 0b11 << 8 | 1 << 2;
/// Attributes number 0, never executed.
const DEVICE: u64 = 0b11 << 53;

#[unsafe(link_section = ".data.table")]
static TABLE: Table = {
    let mut entries = [0; 512];
    entries[0] = BLOCK | DEVICE;
    entries[1] = 1 << 30 | BLOCK | NORMAL;
    Table(entries)
};

/// Number 0: Device-nGnRnE; number 1: Normal, written back.
const MAIR: u64 = 0xff << 8;
/// 39 bits of addresses, by tables that are written back; none above.
const TCR: u64 = 0b010 << 32 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | 25;
/// MMU and caches.
const SCTLR: u64 = 1 << 12 | 1 << 2 | 1;

#[repr(C, align(16))]
struct Stack([u8; 64 << 10]);

static STACK: Stack = Stack([0; _]);

/// Where the device tree is. It is not part of .bss, which is cleared later.
#[unsafe(link_section = ".data.tree")]
static TREE: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".section .text.entry, \"ax\"",
    ".global board_start",
    "board_start:",
    "    mov x1, {mair}",
    "    msr mair_el1, x1",
    "    ldr x1, ={tcr}",
    "    msr tcr_el1, x1",
    "    adrp x1, {table}",
    "    msr ttbr0_el1, x1",
    "    isb",
    "    mrs x1, sctlr_el1",
    "    mov x2, {sctlr}",
    "    orr x1, x1, x2",
    "    msr sctlr_el1, x1",
    "    isb",
    "    adrp x1, {tree}",
    "    str x0, [x1, :lo12:{tree}]",
    "    adrp x1, {stack}",
    "    add x1, x1, :lo12:{stack}",
    "    add x1, x1, {stack_size}",
    "    mov sp, x1",
    "    mov x2, xzr", // The only vCPU.
    "    b _start",
    "    .ltorg",
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    table = sym TABLE,
    tree = sym TREE,
    stack = sym STACK,
    stack_size = const size_of::<Stack>(),
);

/// The value of `name=value` on the command line, `name` with its `=`.
///
/// # Panics
/// There is none: the test is wrong.
pub fn argument(name: &str) -> &'static str {
    let tree =
        core::ptr::with_exposed_provenance::<u8>(usize::try_from(TREE.load(Ordering::Relaxed)).unwrap_or(0));
    // SAFETY: a device tree says in its second word how long it is, and nothing changes it.
    let tree = unsafe {
        let length = u32::from_be(tree.cast::<u32>().add(1).read());
        core::slice::from_raw_parts(tree, usize::try_from(length).unwrap_or(0))
    };
    let start = tree.windows(name.len()).position(|bytes| bytes == name.as_bytes()).expect("an argument");
    let value = &tree[start + name.len()..];
    let end = value.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(value.len());
    core::str::from_utf8(&value[..end]).expect("an argument in UTF-8")
}
