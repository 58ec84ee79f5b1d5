//! The Armv8-A architecture: the only home of assembly and of system registers.
//!
//! Everything else in the crate compiles on the developer's machine as well and is tested there. What
//! it calls from here is either pure ([`context`], [`syndrome`]) or has a stand-in in `host.rs`.

pub mod context;
pub mod syndrome;
pub mod system_access;

#[cfg(target_os = "none")]
pub mod bulk;
#[cfg(target_os = "none")]
pub mod cache;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod exceptions;
#[cfg(target_os = "none")]
pub mod gic;
#[cfg(target_os = "none")]
pub mod identification;
#[cfg(target_os = "none")]
pub mod mmu;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(target_os = "none")]
pub mod power_manager;
#[cfg(target_os = "none")]
mod registers;
#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod tlb;
#[cfg(target_os = "none")]
pub mod world_switch;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::*;
