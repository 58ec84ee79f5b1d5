//! The first instructions: the arm64 `Image` header, self-relocation, the stack.
//!
//! The boot loader enters with the MMU and data cache off, the device tree's address in `X0`, and every
//! other core parked (Linux' `Documentation/arch/arm64/booting.rst`). The image has been linked at 0
//! and may be anywhere at a 4 KiB boundary.
//!
//! Until [`super::mmu::enable`] has run, memory is Device-nGnRnE: no unaligned and no exclusive
//! accesses. The target's `strict-align` takes care of the first; no lock or atomic is touched before.

use super::smp;
use crate::platform::MAX_CORES;
use core::arch::global_asm;

/// Size of the boot core's stack in bytes. Below it lies an unmapped guard page.
pub const STACK_SIZE: usize = 32 << 10;
/// Size of the stack on which exceptions of the hypervisor itself are reported, in bytes.
pub const PANIC_STACK_SIZE: usize = 8 << 10;

global_asm!(
    r#"
    .section .text.head, "ax"
    .global _start
_start:
    b       1f                      // code0
    nop                             // code1
    .quad   0                       // text_offset: any 2 MiB aligned base
    .quad   __image_end - _start    // image_size, stacks and .bss included
    .quad   0b1010                  // flags: little endian, 4 KiB pages, placed anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

1:  msr     daifset, #0xf
    mov     x19, x0

    // Clear .bss.
    adrp    x0, __bss_start
    add     x0, x0, :lo12:__bss_start
    adrp    x1, __bss_end
    add     x1, x1, :lo12:__bss_end
2:  cmp     x0, x1
    b.hs    3f
    stp     xzr, xzr, [x0], #16
    b       2b

    // Relocate: add the image's address to every word that holds one. The table is in the RELR format: an even
    // entry is the offset of such a word; an odd one is a bitmap of the 63 words that follow the last one.
3:  adrp    x0, _start
    adrp    x1, __relr_start
    add     x1, x1, :lo12:__relr_start
    adrp    x2, __relr_end
    add     x2, x2, :lo12:__relr_end
4:  cmp     x1, x2
    b.hs    5f
    ldr     x3, [x1], #8
    tbnz    x3, #0, 6f
    add     x4, x0, x3
    ldr     x5, [x4]
    add     x5, x5, x0
    str     x5, [x4], #8
    b       4b
6:  mov     x6, x4
    add     x4, x4, #(63 * 8)
7:  lsr     x3, x3, #1
    cbz     x3, 4b
    tbz     x3, #0, 8f
    ldr     x5, [x6]
    add     x5, x5, x0
    str     x5, [x6]
8:  add     x6, x6, #8
    b       7b

5:  adrp    x1, {stack}
    add     x1, x1, :lo12:{stack}
    mov     x2, #{stack_end}
    add     sp, x1, x2
    mov     x29, xzr
    mov     x30, xzr
    mov     x0, x19
    b       {main}
    "#,
    stack = sym STACK,
    stack_end = const size_of::<GuardedStack<STACK_SIZE>>(),
    main = sym crate_main,
);

unsafe extern "C" {
    #[link_name = "hypervisor_main"]
    fn crate_main(device_tree: usize) -> !;
}

/// A stack with an unmapped page at its low end: an overflow faults instead of overwriting data.
#[repr(C, align(4096))]
pub(super) struct GuardedStack<const SIZE: usize> {
    guard: [u8; 4096],
    stack: [u8; SIZE],
}

impl<const SIZE: usize> GuardedStack<SIZE> {
    /// A stack that nothing uses.
    pub(super) const EMPTY: Self = Self { guard: [0; 4096], stack: [0; SIZE] };
}

#[unsafe(link_section = ".noinit.stack")]
static mut STACK: GuardedStack<STACK_SIZE> = GuardedStack::EMPTY;

/// The stack on which exceptions of the hypervisor itself are reported, its guard page below.
#[unsafe(link_section = ".noinit.stack")]
pub(super) static mut PANIC_STACK: GuardedStack<PANIC_STACK_SIZE> = GuardedStack::EMPTY;

/// Addresses of the guard pages, which stay unmapped, the lowest first.
pub(super) fn guard_pages() -> [u64; MAX_CORES + 1] {
    let secondary = smp::stacks();
    let mut pages = core::array::from_fn(|index| match index {
        0 => (&raw const STACK).addr() as u64,
        1 => (&raw const PANIC_STACK).addr() as u64,
        _ => secondary.wrapping_add(index - 2).addr() as u64,
    });
    pages.sort_unstable();
    pages
}
