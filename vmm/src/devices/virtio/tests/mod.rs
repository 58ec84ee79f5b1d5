//! Devices as their drivers see them, good ones and bad ones.

mod net;
mod vsock;

use super::{
    queue::{Layout, SIZE_MAX, Served},
    *,
};
use crate::{
    disks::{Disk, Overlay},
    memory::{
        frames::{FrameBlock, tests::frames},
        stage2::{Access, Stage2},
    },
};
use alloc::{sync::Arc, vec, vec::Vec};
use proptest::prelude::*;

const SIZE: u16 = 8;
const RAM: u64 = 16 * 4096;
const DESCRIPTORS: u64 = 0;
const AVAILABLE: u64 = 0x100;
const USED: u64 = 0x200;
const DATA: u64 = 0x1000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A driver: what is in memory, and how far it has come.
struct Driver {
    memory: GuestMemory,
    offered: u16,
}

impl Driver {
    fn new() -> Self {
        let frames = frames(64);
        let mut stage2 = Stage2::new(frames).unwrap();
        let mut ipa = 0;
        // Of single pages, so that nothing that is larger is in one piece.
        FrameBlock::zeroed_blocks(frames, RAM, 4096, |block| {
            stage2.map(ipa, Arc::new(block), Access::ReadWriteExecute).unwrap();
            ipa += 4096;
        })
        .unwrap();
        Self { memory: GuestMemory::new(stage2, 0..RAM), offered: 0 }
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.memory.write(self.memory.check(address, bytes.len() as u64).unwrap(), bytes);
    }

    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(self.memory.check(address, N as u64).unwrap(), &mut bytes);
        bytes
    }

    fn half(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.get(address))
    }

    fn word(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.get(address))
    }

    fn descriptor(&self, table: u64, number: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = table + u64::from(number) * 16;
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &length.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    /// Offers the chain that starts at `head`.
    fn offer(&mut self, head: u16) {
        self.put(AVAILABLE + 4 + u64::from(self.offered % SIZE) * 2, &head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        self.put(AVAILABLE + 2, &self.offered.to_le_bytes());
    }

    fn queue(&self, has_event_index: bool) -> Queue {
        let layout = Layout { size: SIZE, descriptors: DESCRIPTORS, available: AVAILABLE, used: USED };
        Queue::new(&self.memory, layout, has_event_index).unwrap()
    }

    /// What is in the used ring: heads and lengths.
    fn used(&self) -> Vec<(u32, u32)> {
        let count = self.half(USED + 2);
        (0..count)
            .map(|entry| USED + 4 + u64::from(entry % SIZE) * 8)
            .map(|at| (self.word(at), self.word(at + 4)))
            .collect()
    }

    fn take(&self, queue: &mut Queue) -> Result<Vec<(u64, u64)>, Violation> {
        let mut lengths = Vec::new();
        queue.serve(&self.memory, 100, |chain| {
            lengths.push((chain.to_read().len(), chain.to_write().len()));
            Ok(Served::Whole { written: 5 })
        })?;
        Ok(lengths)
    }
}

#[test]
fn chains_come_in_order_and_go_back() {
    let mut driver = Driver::new();
    let mut queue = driver.queue(false);
    assert_eq!(driver.take(&mut queue), Ok(vec![]));
    driver.descriptor(DESCRIPTORS, 3, DATA, 10, NEXT, 6);
    driver.descriptor(DESCRIPTORS, 6, DATA + 10, 20, NEXT | WRITE, 1);
    driver.descriptor(DESCRIPTORS, 1, DATA + 100, 30, WRITE, 0);
    driver.descriptor(DESCRIPTORS, 0, DATA, 7, 0, 0);
    driver.offer(3);
    driver.offer(0);
    assert_eq!(driver.take(&mut queue), Ok(vec![(10, 50), (7, 0)]));
    assert_eq!(driver.used(), [(3, 5), (0, 5)]);
}

#[test]
fn indices_wrap() {
    let mut driver = Driver::new();
    let mut queue = driver.queue(true);
    driver.descriptor(DESCRIPTORS, 2, DATA, 1, 0, 0);
    for round in 0..70_000_u32 {
        driver.offer(2);
        assert_eq!(driver.take(&mut queue).map(|taken| taken.len()), Ok(1), "round {round}");
    }
    assert_eq!(u32::from(driver.half(USED + 2)), 70_000 % 65_536);
}

#[test]
fn a_table_of_indirect_descriptors_is_a_chain() {
    let mut driver = Driver::new();
    let mut queue = driver.queue(false);
    // Over the boundary of pages.
    let table = 2 * 4096 - 16;
    driver.descriptor(DESCRIPTORS, 0, table, 48, INDIRECT, 0);
    driver.descriptor(table, 0, DATA, 16, NEXT, 2);
    driver.descriptor(table, 2, DATA + 16, 512, NEXT | WRITE, 1);
    driver.descriptor(table, 1, DATA, 1, WRITE, 0);
    driver.offer(0);
    assert_eq!(driver.take(&mut queue), Ok(vec![(16, 513)]));
}

#[test]
fn what_the_standard_forbids_is_told() {
    let refused = |set_up: fn(&mut Driver)| {
        let mut driver = Driver::new();
        let mut queue = driver.queue(false);
        set_up(&mut driver);
        driver.take(&mut queue).unwrap_err()
    };
    assert_eq!(refused(|driver| driver.offer(SIZE)), Violation::NoSuchDescriptor(SIZE));
    let index = |driver: &mut Driver| driver.put(AVAILABLE + 2, &(SIZE + 1).to_le_bytes());
    assert_eq!(refused(index), Violation::Index);
    let looped = |driver: &mut Driver| {
        driver.descriptor(DESCRIPTORS, 0, DATA, 1, NEXT, 0);
        driver.offer(0);
    };
    assert_eq!(refused(looped), Violation::TooLong);
    let outside = |driver: &mut Driver| {
        driver.descriptor(DESCRIPTORS, 0, RAM - 4, 5, 0, 0);
        driver.offer(0);
    };
    assert_eq!(refused(outside), Violation::Address);
    let disordered = |driver: &mut Driver| {
        driver.descriptor(DESCRIPTORS, 0, DATA, 1, WRITE | NEXT, 1);
        driver.descriptor(DESCRIPTORS, 1, DATA, 1, 0, 0);
        driver.offer(0);
    };
    assert_eq!(refused(disordered), Violation::Order);
    let nested = |driver: &mut Driver| {
        driver.descriptor(DESCRIPTORS, 0, DATA, 16, INDIRECT, 0);
        driver.descriptor(DATA, 0, DATA, 16, INDIRECT, 0);
        driver.offer(0);
    };
    assert_eq!(refused(nested), Violation::Indirect);
    let odd = |driver: &mut Driver| {
        driver.descriptor(DESCRIPTORS, 0, DATA, 24, INDIRECT, 0);
        driver.offer(0);
    };
    assert_eq!(refused(odd), Violation::IndirectSize(24));
}

#[test]
fn a_queue_is_where_it_can_be() {
    let driver = Driver::new();
    let queue = |size, descriptors, available, used| {
        Queue::new(&driver.memory, Layout { size, descriptors, available, used }, true).err()
    };
    assert_eq!(queue(SIZE_MAX, 16, RAM - 518, 8196), None);
    assert_eq!(queue(SIZE_MAX, 16, RAM - 516, 8196), Some(Violation::Address));
    assert_eq!(queue(SIZE_MAX, 8, 0x2000, 0x3000), Some(Violation::Unaligned));
    assert_eq!(queue(SIZE_MAX, 16, 0x2001, 0x3000), Some(Violation::Unaligned));
    assert_eq!(queue(SIZE_MAX, 16, 0x2000, 0x3002), Some(Violation::Unaligned));
    assert_eq!(queue(SIZE_MAX, u64::MAX - 15, 0x2000, 0x3000), Some(Violation::Address));
    for size in [0, 3, SIZE_MAX * 2, u16::MAX] {
        assert_eq!(queue(size, 0, 0x2000, 0x3000), Some(Violation::Size(size)));
    }
}

#[test]
fn the_driver_is_told_when_it_wants_to_be() {
    let mut driver = Driver::new();
    driver.descriptor(DESCRIPTORS, 0, DATA, 1, 0, 0);
    let progress = |driver: &mut Driver, queue: &mut Queue| {
        driver.offer(0);
        queue.serve(&driver.memory, 9, |_| Ok(Served::Whole { written: 0 })).unwrap().has_news
    };
    let mut queue = driver.queue(false);
    assert!(progress(&mut driver, &mut queue));
    driver.put(AVAILABLE, &1_u16.to_le_bytes());
    assert!(!progress(&mut driver, &mut queue), "VIRTQ_AVAIL_F_NO_INTERRUPT");

    let mut driver = Driver::new();
    driver.descriptor(DESCRIPTORS, 0, DATA, 1, 0, 0);
    let mut queue = driver.queue(true);
    let used_event = AVAILABLE + 4 + u64::from(SIZE) * 2;
    driver.put(used_event, &2_u16.to_le_bytes());
    let told: Vec<_> = (0..5).map(|_| progress(&mut driver, &mut queue)).collect();
    assert_eq!(told, [false, false, true, false, false]);
    let available_event = USED + 4 + u64::from(SIZE) * 8;
    assert_eq!(driver.half(available_event), 5, "the next one is to be told");
}

#[test]
fn a_limit_leaves_the_rest_for_later() {
    let mut driver = Driver::new();
    let mut queue = driver.queue(true);
    driver.descriptor(DESCRIPTORS, 0, DATA, 300, 0, 0);
    (0..3).for_each(|_| driver.offer(0));
    let whole = |_: &chain::Chain| Ok(Served::Whole { written: 0 });
    let progress = queue.serve(&driver.memory, 2, whole).unwrap();
    assert!(progress.has_more && driver.used().len() == 2);
    // A part of the last one, and then the rest.
    let mut sent = Vec::new();
    for expected in [true, false] {
        let progress = queue.serve(&driver.memory, 2, |chain| {
            Ok(console::transmit(&driver.memory, chain, |bytes| sent.push(bytes.len())))
        });
        assert_eq!(progress.unwrap().has_more, expected);
    }
    assert_eq!((sent, driver.used().len()), (vec![256, 44], 3));
}

/// A driver of a disk.
struct DiskDriver {
    driver: Driver,
    slot: Slot,
    disk: Disk,
}

const STATUS: u64 = DATA + 0x4000;

impl DiskDriver {
    fn new(disk: Disk) -> Self {
        let slot = Slot::new(block::identity(&disk));
        let this = Self { driver: Driver::new(), slot, disk };
        this.set_up();
        this
    }

    fn store(&self, offset: u64, value: u32) -> Request {
        self.slot.write(&self.driver.memory, offset, Width::Word, u64::from(value))
    }

    fn load(&self, offset: u64) -> u32 {
        u32::try_from(self.slot.read(offset, Width::Word)).unwrap()
    }

    fn set_up(&self) {
        self.store(register::STATUS, 0);
        self.store(register::STATUS, 3);
        self.store(register::DRIVER_FEATURES_SELECT, 1);
        self.store(register::DRIVER_FEATURES, 1);
        self.store(register::STATUS, 11);
        assert_eq!(self.load(register::STATUS), 11);
        self.store(register::QUEUE_SELECT, 0);
        self.store(register::QUEUE_SIZE, u32::from(SIZE));
        for (register, address) in [
            (register::DESCRIPTORS_LOW, DESCRIPTORS),
            (register::AVAILABLE_LOW, AVAILABLE),
            (register::USED_LOW, USED),
        ] {
            self.store(register, low_word(address));
        }
        self.store(register::QUEUE_READY, 1);
        self.store(register::STATUS, 15);
    }

    fn serve(&self) -> Progress {
        let Request::Serve(index) = self.store(register::QUEUE_NOTIFY, 0) else { panic!("no request") };
        let memory = &self.driver.memory;
        self.slot.serve(index, |queue| {
            queue.serve(memory, 9, |chain| block::request(memory, chain, &self.disk, |_| {}))
        })
    }

    /// Carries out a request for `length` bytes in two buffers. Returns its status.
    fn request(&mut self, kind: u32, sector: u64, length: u32, write: u16) -> u8 {
        let driver = &mut self.driver;
        driver.put(DATA, &kind.to_le_bytes());
        driver.put(DATA + 8, &sector.to_le_bytes());
        driver.put(STATUS, &[0xff]);
        let first = length / 2 + 1;
        driver.descriptor(DESCRIPTORS, 0, DATA, 16, NEXT, 1);
        driver.descriptor(DESCRIPTORS, 1, DATA + 0x1000, first, NEXT | write, 2);
        driver.descriptor(DESCRIPTORS, 2, DATA + 0x1000 + u64::from(first), length - first, NEXT | write, 3);
        driver.descriptor(DESCRIPTORS, 3, STATUS, 1, WRITE, 0);
        driver.offer(0);
        assert!(self.serve().has_news && self.slot.interrupt_level());
        assert_eq!(self.load(register::INTERRUPT_STATUS), 1);
        assert_eq!(self.store(register::INTERRUPT_ACK, 1), Request::Acknowledge(1));
        assert!(!self.slot.acknowledge(1) && !self.slot.interrupt_level());
        self.driver.get::<1>(STATUS)[0]
    }

    fn data<const N: usize>(&self) -> [u8; N] {
        self.driver.get(DATA + 0x1000)
    }
}

fn overlay(sectors: usize) -> DiskDriver {
    let base =
        (0..sectors).flat_map(|sector| [u8::try_from(sector).unwrap(); 512]).collect::<Vec<_>>().leak();
    DiskDriver::new(Disk::overlay(Overlay::new(base, frames(64), 1 << 20)))
}

#[test]
fn a_disk_reads_and_writes() {
    let mut disk = overlay(100);
    assert_eq!(disk.load(register::CONFIG), 100);
    assert_eq!(disk.request(0, 30, 1024, WRITE), 0);
    assert_eq!(disk.data::<1024>(), [[30; 512], [31; 512]].as_flattened());
    disk.driver.put(DATA + 0x1000, &[0xee; 512]);
    assert_eq!(disk.request(1, 31, 512, 0), 0);
    assert_eq!(disk.request(4, 0, 2, 0), 0, "flush");
    assert_eq!(disk.request(0, 31, 512, WRITE), 0);
    assert_eq!(disk.data::<512>(), [0xee; 512]);
    assert_eq!(disk.request(8, 0, 20, WRITE), 0);
    assert_eq!(&disk.data::<8>(), b"tinyvmm\0");
}

#[test]
fn what_a_disk_cannot_do_it_says() {
    let mut disk = overlay(100);
    for (kind, sector, length, status) in [
        (0, 100, 512, 1),
        (0, u64::MAX, 512, 1),
        (0, 0, 511, 1),
        (0, 99, 1024, 1),
        (0, 1, 33 << 10, 1),
        (13, 0, 512, 2),
    ] {
        assert_eq!(disk.request(kind, sector, length, WRITE), status, "{kind} {sector} {length}");
    }
    let mut disk = DiskDriver::new(Disk::file(vec![1; 1024].leak()));
    assert_eq!(disk.load(register::DEVICE_FEATURES) & 1 << 5, 1 << 5);
    assert_eq!(disk.request(1, 0, 512, 0), 1);
    assert_eq!(disk.request(0, 0, 512, WRITE), 0);
}

#[test]
fn a_device_whose_driver_breaks_the_rules_wants_a_reset() {
    let mut disk = overlay(4);
    disk.driver.offer(SIZE);
    assert!(disk.serve().has_news);
    assert_eq!(disk.load(register::STATUS), 15 | 64);
    assert_eq!(disk.load(register::INTERRUPT_STATUS), 2);
    assert_eq!(disk.serve(), Progress::default(), "it does nothing more");
    disk.driver = Driver::new();
    disk.set_up();
    assert_eq!((disk.load(register::STATUS), disk.load(register::INTERRUPT_STATUS)), (15, 0));
    assert_eq!(disk.request(0, 1, 512, WRITE), 0);
}

#[test]
fn a_device_does_nothing_before_its_driver_is_ready() {
    let mut disk = overlay(4);
    disk.store(register::STATUS, 0);
    disk.driver.descriptor(DESCRIPTORS, 0, DATA, 16, 0, 0);
    disk.driver.offer(0);
    assert_eq!(disk.serve(), Progress::default());
    assert_eq!(disk.load(register::QUEUE_READY), 0);
}

#[test]
fn features_are_agreed_upon() {
    let disk = overlay(4);
    disk.store(register::STATUS, 0);
    disk.store(register::STATUS, 3 | 8);
    assert_eq!(disk.load(register::STATUS), 3, "not without VIRTIO_F_VERSION_1");
    disk.store(register::DRIVER_FEATURES_SELECT, 1);
    disk.store(register::DRIVER_FEATURES, 1 | 2);
    disk.store(register::STATUS, 3 | 8);
    assert_eq!(disk.load(register::STATUS), 3, "nor with what is not offered");
    disk.store(register::DRIVER_FEATURES, 1);
    disk.store(register::STATUS, 3 | 8);
    assert_eq!(disk.load(register::STATUS), 3 | 8);
    disk.store(register::DEVICE_FEATURES_SELECT, 1);
    assert_eq!(disk.load(register::DEVICE_FEATURES), 1);
    disk.store(register::DEVICE_FEATURES_SELECT, 2);
    assert_eq!(disk.load(register::DEVICE_FEATURES), 0);
}

proptest! {
    /// Whatever a driver does to registers and memory: the device answers, and changes nothing but what it was given.
    #[test]
    fn any_driver_is_survived(
        stores in prop::collection::vec((0_u64..0x110, any::<u32>(), 0_u32..20), 0..40),
        memory in prop::collection::vec(any::<u8>(), 0x300),
        notifications in 1..5,
    ) {
        let disk = overlay(9);
        for (offset, value, small) in stores {
            let offset = offset & !3;
            let value = if offset == register::QUEUE_SELECT || offset == register::STATUS { small } else { value };
            disk.store(offset, value);
            disk.load(offset);
        }
        disk.driver.put(0, &memory);
        for _ in 0..notifications {
            disk.serve();
        }
        disk.set_up();
        disk.serve();
    }

    /// The same, with descriptors that are nearly right.
    #[test]
    fn any_chain_is_survived(
        descriptors in prop::collection::vec((0_u64..RAM + 4096, 0_u32..5000, 0_u16..8, 0..SIZE + 1), 8..40),
        heads in prop::collection::vec(0..SIZE, 1..8),
        kind in 0_u32..14,
        sector in 0_u64..12,
    ) {
        let mut disk = overlay(9);
        for (number, (address, length, flags, next)) in (0..).zip(descriptors) {
            let table = if number < SIZE { DESCRIPTORS } else { DATA + 0x100 };
            let indirect = number < SIZE && flags & INDIRECT != 0;
            let (address, length) = if indirect { (DATA + 0x100, length / 16 * 16) } else { (address, length) };
            disk.driver.descriptor(table, number % SIZE, address, length, flags, next);
        }
        disk.driver.put(DATA, &kind.to_le_bytes());
        disk.driver.put(DATA + 8, &sector.to_le_bytes());
        heads.into_iter().for_each(|head| disk.driver.offer(head));
        disk.serve();
        disk.set_up();
        disk.serve();
    }
}
