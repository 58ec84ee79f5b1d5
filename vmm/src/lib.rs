//! TinyVMM: a type-1 hypervisor for 64-bit Arm whose guests are Python programs.
//!
//! The binary `vmm` is the hypervisor; its story is told in `main.rs`. This library holds all that it is made
//! of. What is not bound to the machine, which is most of it, also compiles and is tested on the
//! developer's machine; the build tool uses [`bundle`] to check manifests before it boots them.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arch;
#[cfg(target_os = "none")]
pub mod boot;
pub mod bundle;
pub mod clock;
pub mod console;
pub mod deadline;
pub mod device_tree;
pub mod devices;
pub mod disks;
pub mod files;
pub mod hypercall;
pub mod logger;
pub mod memory;
pub mod mmio;
pub mod monitor;
pub mod network;
pub mod pages;
pub mod platform;
pub mod provision;
pub mod random;
pub mod raspberry_pi;
pub mod scheduler;
#[cfg(target_os = "none")]
pub mod virtio_bus;
pub mod vm;
mod word;
