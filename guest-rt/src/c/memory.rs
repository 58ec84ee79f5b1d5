//! The functions of `<string.h>` for blocks of memory, which compilers call as well.

core::arch::global_asm!(include_str!("memory.S"));
