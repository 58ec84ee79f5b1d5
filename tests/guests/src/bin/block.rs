//! Reads blocks of 4 KiB from a virtio disk, on the `virt` machine, here and there, and checks them: `count=` of them. Each
//! 64-bit word of the disk has its own number.
#![no_std]
#![no_main]

use core::cell::UnsafeCell;

use guest_rt::{entry, println};
use test_guests::board::argument;
use test_guests::random::Random;
use test_guests::virtio::{Device, NEXT, Queue, WRITE, register};
use test_guests::{check, failures};

entry!(main);

/// Device number of a disk.
const BLOCK: u32 = 2;
const SECTOR: u64 = 512;
const BLOCK_SIZE: usize = 4096;
const SECTORS_OF_BLOCK: u64 = 8;

/// A request, and what is read by it.
#[repr(C, align(4096))]
struct Request {
    data: UnsafeCell<[u64; BLOCK_SIZE / 8]>,
    /// `type`, `reserved`; `sector`.
    header: UnsafeCell<[u64; 2]>,
    status: UnsafeCell<u8>,
}

// SAFETY: one vCPU uses it, and the device only between an offer and its end.
unsafe impl Sync for Request {}

static REQUEST: Request =
    Request { data: UnsafeCell::new([0; _]), header: UnsafeCell::new([0; 2]), status: UnsafeCell::new(0) };

fn main() -> u8 {
    let count: u32 = argument("count=").parse().expect("a number");
    let device = Device::find(BLOCK);
    let mut queue = Queue::new(0, 0);
    device.set_up(&mut [&mut queue]);
    describe(&mut queue);
    let blocks = u64::from(device.read(register::CONFIG)) / SECTORS_OF_BLOCK;
    let mut random = Random::new(1);
    for _ in 0..count {
        let sector = random.below(blocks) * SECTORS_OF_BLOCK;
        read(&device, &mut queue, sector);
        check_block(sector);
    }
    println!("read {count} blocks");
    failures()
}

/// Makes the descriptors, which are the same for all requests.
fn describe(queue: &mut Queue) {
    let address = |place: *mut u8| place.expose_provenance() as u64;
    let parts = [
        (address(REQUEST.header.get().cast()), 16, NEXT),
        (address(REQUEST.data.get().cast()), BLOCK_SIZE as u64, NEXT | WRITE),
        (address(REQUEST.status.get()), 1, WRITE),
    ];
    for (number, (address, length, flags)) in (0..).zip(parts) {
        let next = u64::from(number + 1);
        queue.describe(number, address, length | flags << 32 | next << 48);
    }
}

fn read(device: &Device, queue: &mut Queue, sector: u64) {
    // SAFETY: the device has nothing of it now.
    unsafe {
        *REQUEST.header.get() = [0, sector];
        *REQUEST.status.get() = u8::MAX;
    }
    queue.offer_chain(0);
    device.notify(0, queue);
    while !queue.has_used() {
        device.wait();
    }
    check("the request ends", queue.take() == Some((0, BLOCK_SIZE + 1)));
}

fn check_block(sector: u64) {
    // SAFETY: the device is done with it.
    let (data, status) = unsafe { (&*REQUEST.data.get(), *REQUEST.status.get()) };
    let first = sector * (SECTOR / 8);
    check("it has been read", status == 0);
    check("what was read is right", (first..).zip(data).all(|(number, word)| *word == number));
}
