//! Runtime for freestanding guests of TinyVMM's `tiny` machine.
//!
//! A guest is a `no_std`, `no_main` program for the target `aarch64-unknown-none`:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use guest_rt::println;
//!
//! guest_rt::entry!(main);
//!
//! fn main() -> u8 {
//!     println!("Hello");
//!     0
//! }
//! ```
//!
//! The value that `main` returns is the exit code of the VM; a panic prints its message and ends the
//! VM with [`PANIC_EXIT_CODE`]. A program that says [`global_heap!`] has the `alloc` crate as well.
//!
//! Programs in C use the same runtime through the functions of [`c`] and the header `tinyvmm.h`.
#![no_std]

pub mod c;
pub mod console;
pub mod disks;
mod entry;
pub mod files;
pub mod heap;
pub mod hypercall;
pub mod info;
pub mod memory;
pub mod time;

pub use tinyvmm_abi as abi;

/// Exit code of a VM whose guest panicked: the one of a Rust process on a host.
pub const PANIC_EXIT_CODE: u8 = 101;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    println!("{info}");
    hypercall::exit(PANIC_EXIT_CODE)
}
