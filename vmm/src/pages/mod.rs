//! Contents that grow: pages that are taken from the frame allocator as they are needed, up to a limit, and trees of
//! them. Files consist of them, and what a VM has written to a disk that is only laid over a file.

mod store;
mod tree;

pub use store::{Bytes, Full, NONE, PAGE_SIZE, PageNumber, Plain, Store};
pub use tree::Tree;
