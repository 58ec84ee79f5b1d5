//! New bundles over the serial line, while the old VMs run: what the two sides say to each other, and the receiver's
//! part of it.
//!
//! Everything here is pure, and serves both sides: the hypervisor, and `cargo xtask push`. `docs/provisioning.md` describes
//! it for others.
//!
//! The line may lose, change and add bytes. The sender says one thing at a time, in a [`slip`] frame with a checksum and a
//! number, and says it again until an answer with that number comes. All answers tell what is wanted next, so nothing is
//! harmed by what is said twice.

pub mod slip;
mod transfer;
mod wire;

pub use transfer::{Site, Store, Transfer};
pub use wire::{BLOCK_SIZE, Identity, MESSAGE_SIZE, Message, REPLY_MARK, Reply, Request, checksum};
