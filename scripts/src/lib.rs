//! What `cargo xtask` is made of: one module for each command, and one for each concept they share.
//!
//! The tests that boot the hypervisor use it as a library: [`bundle`] makes what to boot, [`qemu`] the command that boots it,
//! [`session`] runs that command, [`paths::Products`] says where the programs are.

pub mod apt;
pub mod bench;
pub mod binary_package;
pub mod build;
pub mod bundle;
pub mod bytecode;
pub mod cache;
pub mod console;
pub mod device;
pub mod failure;
pub mod firmware;
pub mod guest;
pub mod image;
pub mod paths;
pub mod program;
pub mod progress;
pub mod push;
pub mod python;
pub mod qemu;
pub mod raspberry_pi;
pub mod run;
pub mod serial;
pub mod session;
pub mod setup;
pub mod size;
pub mod source_archive;
pub mod source_tree;
pub mod suite;
pub mod terminal;
pub mod test;
pub mod toolchain;
pub mod tools;
