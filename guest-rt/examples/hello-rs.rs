//! A guest in Rust: says what it was given, and uses the heap.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use guest_rt::{entry, global_heap, info, memory, println};

entry!(main);
global_heap!();

fn main() -> u8 {
    println!("Hello from Rust");
    println!("arguments: {:?}", info::args().collect::<Vec<_>>());
    println!("memory: {} KiB, of which {} KiB are free", info::ram_size() >> 10, memory::free().len() >> 10);
    println!("squares: {}", squares(10));
    0
}

/// The first `count` squares as text.
fn squares(count: u32) -> String {
    let words: Vec<String> = (1..=count).map(|n| alloc::format!("{}", n * n)).collect();
    words.join(" ")
}
