//! Checks that fresh memory is zero, fills it, lets others run, and checks that it is as it was left.
//! The argument is a number that tells this VM's pattern from that of another.
#![no_std]
#![no_main]

use core::slice;
use core::time::Duration;

use guest_rt::{entry, memory, println};
use test_guests::{arg, stay_busy};

entry!(main);

fn main() -> u8 {
    let seed: u64 = arg(1).parse().expect("a number");
    let words = free_words();
    if let Some(index) = words.iter().position(|word| *word != 0) {
        println!("FAIL word {index} of fresh memory is {:#x}", words[index]);
        return 1;
    }
    for (word, pattern) in words.iter_mut().zip(patterns(seed)) {
        *word = pattern;
    }
    stay_busy(Duration::from_millis(100));
    if let Some(index) = words.iter().zip(patterns(seed)).position(|(word, pattern)| *word != pattern) {
        println!("FAIL word {index} is now {:#x}", words[index]);
        return 1;
    }
    println!("checked {} words", words.len());
    0
}

/// All the memory that the image and the stack leave free.
fn free_words() -> &'static mut [u64] {
    let free = memory::free();
    let start = core::ptr::with_exposed_provenance_mut(free.start.next_multiple_of(8));
    // SAFETY: the range is RAM, and this program has no heap that would use it.
    unsafe { slice::from_raw_parts_mut(start, free.len() / 8 - 1) }
}

fn patterns(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |index: u64| index.wrapping_mul(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
}
