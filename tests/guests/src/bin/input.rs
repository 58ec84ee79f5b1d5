//! Reads input, after some tries in which it may not arrive.
#![no_std]
#![no_main]

use guest_rt::{abi, entry, hypercall, info, println, time};

entry!(main);

fn main() -> u8 {
    println!("waiting {}", info::input_waits());
    while info_and_poll_agree() < 3 {
        time::wait();
    }
    let end = info::ram_size();
    println!("across the end of RAM: {}", read(end - 1, 2));
    println!("to the info page: {}", read(abi::INFO_PAGE_BASE, 3));
    println!("nothing: {}", read(end - 1, 0));
    println!("still there: {}", info_and_poll_agree());

    let mut buffer = [b'.'; 5];
    println!("{:?} {}", hypercall::console_read(&mut buffer[..2]), text(&buffer));
    println!("{:?} {}", hypercall::console_read(&mut buffer[2..]), text(&buffer));
    println!("left: {}", info_and_poll_agree());
    0
}

/// The number of bytes that wait.
fn info_and_poll_agree() -> usize {
    let count = hypercall::console_poll().expect("a count");
    // More may have come in between, but none can have gone.
    assert!(count == 0 || info::input_waits(), "{count} bytes wait, but the info page says there are none");
    count
}

/// A read to an address that is not this program's.
fn read(address: u64, length: u64) -> i64 {
    // SAFETY: the hypervisor must refuse to write there, or has nothing to write.
    unsafe { hypercall::hvc(abi::CONSOLE_READ, address, length) }
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("ASCII")
}
