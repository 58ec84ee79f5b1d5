//! Uses disk 0 with good and bad arguments. Prints a line for each result that is not as the ABI says; the exit code is
//! the number of them.
#![no_std]
#![no_main]

use guest_rt::abi::disks::{BLK_FLUSH, BLK_INFO, BLK_READ, BLK_WRITE, SECTORS_MAX};
use guest_rt::abi::{self, EFAULT, EINVAL, ENODEV};
use guest_rt::disks::{Disk, SECTOR_SIZE};
use guest_rt::hypercall::{Errno, hvc_with};
use guest_rt::{entry, info, println};
use test_guests::{check, failures};

entry!(main);

/// Memory that no call may have written.
const FREE: u64 = 0x8_0000;

fn main() -> u8 {
    check("reading what was written", round_trip() == Ok(true));
    no_such_disk();
    bad_sectors();
    bad_buffers();
    println!("checked");
    failures()
}

/// Sectors are where they were written, and those around them as they were.
fn round_trip() -> Result<bool, Errno> {
    let disk = Disk(0);
    let (last, mut buffer) = (disk.sectors()? - 1, [0; 4 * 512]);
    let mut good = disk.write(last - 2, &[1; 2 * 512])? == 2 && disk.read(last - 3, &mut buffer)? == 4;
    disk.flush()?;
    good &= buffer[512..3 * 512] == [1; 2 * 512]
        && buffer[..512] == [0x5a; 512]
        && buffer[3 * 512..] == [0x5a; 512];
    Ok(good)
}

/// Makes a call and compares its result.
fn call(what: &str, number: u64, args: [u64; 4], expected: i64) {
    // SAFETY: where a good result is expected, nothing is written, or to memory that is free.
    let result = unsafe { hvc_with(number, args) };
    if result != expected {
        println!("{what}: call {number:#x} {args:#x?} gave {result}, expected {expected}");
    }
    check(what, result == expected);
}

fn no_such_disk() {
    for disk in [1, 4, 1 << 32, u64::MAX] {
        for number in [BLK_INFO, BLK_READ, BLK_WRITE, BLK_FLUSH] {
            call("no such disk", number, [disk, 0, FREE, 1], -ENODEV);
        }
    }
    call("no such call", BLK_FLUSH + 1, [0; 4], -abi::ENOSYS);
}

fn bad_sectors() {
    let sectors = Disk(0).sectors().unwrap_or(0);
    for number in [BLK_READ, BLK_WRITE] {
        for (first, count) in [
            (sectors, 1),
            (sectors - 1, 2),
            (0, sectors + 1),
            (0, u64::MAX),
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
            (1, u64::MAX),
            (1 << 55, 1 << 55),
        ] {
            call("beyond the end", number, [0, first, FREE, count], -EINVAL);
        }
        call("nothing", number, [0, sectors, FREE, 0], 0);
        call("nothing, nowhere", number, [0, 0, u64::MAX, 0], -EFAULT);
    }
    call("more than one call reads", BLK_READ, [0, 0, FREE, SECTORS_MAX + 1], 64);
}

fn bad_buffers() {
    let end = info::ram_size();
    for number in [BLK_READ, BLK_WRITE] {
        for address in
            [end, end - SECTOR_SIZE + 1, abi::INFO_PAGE_BASE, abi::ROM_BASE, u64::MAX, u64::MAX - 511]
        {
            call("a buffer that is not in RAM", number, [0, 0, address, 1], -EFAULT);
        }
        call("a buffer that ends outside", number, [0, 0, 0, end / SECTOR_SIZE + 1], -EFAULT);
    }
}
