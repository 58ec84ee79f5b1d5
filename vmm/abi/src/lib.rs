//! The guest ABI of TinyVMM.
//!
//! The one place where hypercall numbers, error numbers and the layout of the info page are written
//! down. The hypervisor, guests in Rust and (through a generated header) guests in C all use it.
//! A number never changes its meaning; new ones are added.
//!
//! # Calling convention
//!
//! `HVC #0` from EL1. `X0` is the call number, `X1` to `X6` are arguments. On return `X0` is the
//! result, or a negative [error number](EINVAL); every other register is preserved, FP/SIMD
//! included. An unknown number returns `-`[`ENOSYS`]. An `HVC` with another immediate is undefined.
//!
//! Addresses are guest physical. A buffer that does not lie wholly inside the VM's own memory gives
//! `-`[`EFAULT`], and nothing is read or written.
#![no_std]

pub mod board;
pub mod disks;
pub mod files;
pub mod virt;
pub mod vms;

/// Major version of the ABI: guests refuse to run on another one.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of the ABI: grows when calls are added.
pub const ABI_MINOR: u32 = 2;
/// What [`VERSION`] returns and [`InfoPage::abi_version`] holds: `major << 16 | minor`.
pub const ABI_VERSION: u32 = ABI_MAJOR << 16 | ABI_MINOR;

/// Ends the whole VM. `x1` is its exit code, of which the low 8 bits count. Does not return.
pub const EXIT: u64 = 0;
/// Writes the byte `x1` to the console as text (a line feed also returns the carriage). Returns 0.
pub const PUTCHAR: u64 = 1;
/// Writes the NUL-terminated string at address `x1` to the console as text. Returns the bytes
/// written; `-`[`EINVAL`] without a NUL in the first [`PUTS_MAX`] bytes.
pub const PUTS: u64 = 2;
/// Returns [`ABI_VERSION`].
pub const VERSION: u64 = 3;
/// Returns word `x1` of the feature bits: bit `n` of word 0 says that the group which starts at call
/// number `8 * n` is there. Words past the last one are 0.
pub const FEATURES: u64 = 4;

/// Writes `x2` bytes from address `x1` to the console, unchanged. Returns the bytes written.
pub const CONSOLE_WRITE: u64 = 0x10;
/// Reads at most `x2` bytes of console input to address `x1`. Never waits. Returns the bytes read.
pub const CONSOLE_READ: u64 = 0x11;
/// Returns the number of input bytes that wait to be read.
pub const CONSOLE_POLL: u64 = 0x12;
/// Returns the size of the terminal in characters: `rows << 16 | columns`.
pub const CONSOLE_SIZE: u64 = 0x13;

/// Returns the time of day in nanoseconds since 1970. On a board without a clock, since power-on.
pub const WALL_CLOCK: u64 = 0x30;
/// Ends the wait (`WFI`) of vCPU `x1` of this VM, or its next one if it does not wait. Returns 0;
/// `-`[`EINVAL`] if there is no such vCPU.
pub const WAKE: u64 = 0x32;

/// Writes at most `x2` random bytes, fit for secrets, to address `x1`. Returns the bytes written.
pub const RANDOM: u64 = 0x38;

/// Longest string that [`PUTS`] takes, in bytes, without its NUL.
pub const PUTS_MAX: u64 = 64 << 10;

/// Not permitted: the VM lacks the capability.
pub const EPERM: i64 = 1;
/// No such file, VM or object.
pub const ENOENT: i64 = 2;
/// No such VM any more.
pub const ESRCH: i64 = 3;
/// Input or output error of a device.
pub const EIO: i64 = 5;
/// No such open file.
pub const EBADF: i64 = 9;
/// Nothing there yet, or no room yet: try again.
pub const EAGAIN: i64 = 11;
/// Out of memory.
pub const ENOMEM: i64 = 12;
/// The buffer is not wholly inside the VM's own memory.
pub const EFAULT: i64 = 14;
/// There is one already.
pub const EEXIST: i64 = 17;
/// There is no such device.
pub const ENODEV: i64 = 19;
/// A part of the path, or what has to be a directory, is none.
pub const ENOTDIR: i64 = 20;
/// It is a directory.
pub const EISDIR: i64 = 21;
/// An argument is out of range.
pub const EINVAL: i64 = 22;
/// Too many open files.
pub const EMFILE: i64 = 24;
/// No space left.
pub const ENOSPC: i64 = 28;
/// The file cannot be changed.
pub const EROFS: i64 = 30;
/// A name or a path is too long.
pub const ENAMETOOLONG: i64 = 36;
/// No such hypercall.
pub const ENOSYS: i64 = 38;
/// The directory is not empty.
pub const ENOTEMPTY: i64 = 39;
/// A message is too long, or longer than the room for it.
pub const EMSGSIZE: i64 = 90;

/// Guest physical address of RAM on the `tiny` machine.
pub const RAM_BASE: u64 = 0;
/// Where a flat image is loaded and entered on the `tiny` machine.
pub const IMAGE_BASE: u64 = 0x1_0000;
/// Largest RAM of the `tiny` machine, in bytes: up to the info page.
pub const RAM_MAX: u64 = INFO_PAGE_BASE;
/// Stack of each vCPU at its start, in bytes: `SP` is the top of RAM less this times the vCPU's number.
pub const STACK_SPACING: u64 = 64 << 10;
/// Guest physical address of code that VMs with the same ELF image share: a segment that is linked there, and is to be
/// read and executed only, takes nothing of a VM's RAM, which ends below. RAM in front of it is less than 2 GiB away,
/// the reach of the relative addresses that compilers write into tables.
pub const CODE_BASE: u64 = 0x7f00_0000;
/// Largest such code, in bytes.
pub const CODE_MAX: u64 = INFO_PAGE_BASE - CODE_BASE;
/// Guest physical address of the [`InfoPage`], read-only to the guest.
pub const INFO_PAGE_BASE: u64 = 0x8000_0000;
/// Guest physical address of the exception vectors that a guest of the `tiny` machine starts with:
/// an exception it did not prepare for ends the VM with a crash report. Read-only.
pub const VECTORS_BASE: u64 = 0x8000_1000;
/// Guest physical address of the ROM image, read-only to the guest.
pub const ROM_BASE: u64 = 0x9000_0000;
/// Largest ROM image, in bytes.
pub const ROM_MAX: u64 = 0x1000_0000;

/// Bit of [`InfoPage::console_flags`]: console input waits to be read.
pub const CONSOLE_INPUT: u32 = 1 << 0;
/// Bit of [`InfoPage::console_flags`]: there is a Ctrl-C (byte 3) in the input that waits to be read.
pub const CONSOLE_INTERRUPT: u32 = 1 << 1;

/// [`InfoPage::emit`]: a language runtime compiles its programs to what it usually does.
pub const EMIT_BYTECODE: u32 = 0;
/// [`InfoPage::emit`]: to machine code, with the meaning unchanged.
pub const EMIT_NATIVE: u32 = 1;
/// [`InfoPage::emit`]: to machine code with the types of the machine.
pub const EMIT_VIPER: u32 = 2;

/// Size of the info page in bytes.
pub const INFO_PAGE_SIZE: usize = 4096;
/// Room for the argument strings of a VM in bytes, each with its NUL.
pub const ARGS_SIZE: usize = INFO_PAGE_SIZE - 56;

/// What a VM can read about itself without a hypercall, at [`INFO_PAGE_BASE`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct InfoPage {
    /// [`ABI_VERSION`] of the hypervisor.
    pub abi_version: u32,
    /// Number of vCPUs.
    pub vcpu_count: u32,
    /// Size of RAM in bytes.
    pub ram_size: u64,
    /// [`CONSOLE_INPUT`] and [`CONSOLE_INTERRUPT`]. The hypervisor changes it while the VM runs: read it volatile.
    pub console_flags: u32,
    /// Number of argument strings.
    pub arg_count: u32,
    /// Guest physical address of the ROM image, 0 when there is none.
    pub rom_address: u64,
    /// Length of the ROM image in bytes.
    pub rom_length: u64,
    /// Bytes of `args` in use.
    pub args_length: u32,
    /// [`EMIT_BYTECODE`], [`EMIT_NATIVE`] or [`EMIT_VIPER`]: what the manifest asks a language runtime for.
    pub emit: u32,
    /// Zero.
    pub reserved: [u32; 2],
    /// The argument strings one after another, each ended by a NUL. The first is the program's name.
    pub args: [u8; ARGS_SIZE],
}

/// Most vCPUs of a VM.
pub const VCPUS_MAX: u32 = 8;

const _: () = assert!(core::mem::size_of::<InfoPage>() == INFO_PAGE_SIZE);
