//! Reads the first 16 MiB of disk 0. Prints `figure sd_read TICKS COUNT` for so many sectors.
#![no_std]
#![no_main]

use guest_rt::disks::{Disk, SECTOR_SIZE};
use guest_rt::hypercall::Errno;
use guest_rt::{entry, println, time};

entry!(main);

const COUNT: u64 = (16 << 20) / SECTOR_SIZE;

fn main() -> u8 {
    // As much as one call reads.
    let mut buffer = [0; 32 << 10];
    let start = time::counter();
    match read_all(&mut buffer) {
        Ok(()) => {
            println!("figure sd_read {} {COUNT}", time::counter() - start);
            0
        }
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

fn read_all(buffer: &mut [u8]) -> Result<(), Errno> {
    let mut sector = 0;
    while sector < COUNT {
        sector += Disk(0).read(sector, buffer)?;
    }
    Ok(())
}
