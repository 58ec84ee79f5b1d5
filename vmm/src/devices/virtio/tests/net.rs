//! The network card: what is a frame, and who has room for one.

use super::*;
use crate::devices::virtio::net::{Buffer, identity, receive, transmit};
use crate::network::{FRAME_MAX, Mac};

/// What stands in front of a frame, and its length.
const HEADER: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const HEADER_SIZE: u32 = 12;

/// What the card makes of a chain of two buffers, of so many bytes from [`DATA`] on.
fn sent(driver: &mut Driver, first: u32, second: u32) -> Result<Option<Vec<u8>>, Violation> {
    driver.descriptor(DESCRIPTORS, 0, DATA, first, NEXT, 1);
    driver.descriptor(DESCRIPTORS, 1, DATA + u64::from(first), second, 0, 0);
    let (mut queue, mut buffer): (_, Buffer) = (driver.queue(false), [0; _]);
    driver.offered = 0;
    driver.offer(0);
    let mut frame = None;
    queue.serve(&driver.memory, 1, |chain| {
        frame = transmit(&driver.memory, chain, &mut buffer)?.map(<[u8]>::to_vec);
        Ok(Served::Whole { written: 0 })
    })?;
    Ok(frame)
}

#[test]
fn the_driver_sees_its_address_and_that_the_link_is_up() {
    let slot = Slot::new(identity(Mac::from_bytes([2, 1, 3, 4, 5, 6])));
    let read = |offset, width| slot.read(offset, width);
    assert_eq!(read(register::DEVICE_ID, Width::Word), 1);
    let config: Vec<u64> = (0..8).map(|at| read(register::CONFIG + at, Width::Byte)).collect();
    assert_eq!(config, [2, 1, 3, 4, 5, 6, 1, 0]);
}

#[test]
fn a_frame_is_what_follows_the_header() {
    let mut driver = Driver::new();
    let bytes: Vec<u8> = (0..4000_u16).map(|at| at.to_le_bytes()[0]).collect();
    driver.put(DATA, &bytes);
    for (first, second) in [(12, 60), (5, 67), (71, 1), (12, 1518), (1000, 530)] {
        let end = usize::try_from(first + second).unwrap();
        assert_eq!(sent(&mut driver, first, second), Ok(Some(bytes[12..end].to_vec())), "{first} + {second}");
    }
    assert_eq!(sent(&mut driver, 12, 0), Ok(Some(vec![])));
    assert_eq!(sent(&mut driver, 12, 1519), Ok(None));
    assert_eq!(sent(&mut driver, 5, 6), Err(Violation::Incomplete));
}

#[test]
fn a_frame_goes_into_the_next_buffer_that_has_room() {
    let mut driver = Driver::new();
    let mut queue = driver.queue(false);
    let frame = [7; FRAME_MAX];
    assert_eq!(receive(&driver.memory, &mut queue, &frame[..60]), Ok(false), "there is none");
    driver.descriptor(DESCRIPTORS, 0, DATA, 10, NEXT | WRITE, 1);
    driver.descriptor(DESCRIPTORS, 1, DATA + 10, HEADER_SIZE + 90, WRITE, 0);
    driver.offer(0);
    assert_eq!(receive(&driver.memory, &mut queue, &frame[..101]), Ok(false), "it is too long");
    assert_eq!(receive(&driver.memory, &mut queue, &frame[..100]), Ok(true), "the buffer is still there");
    assert_eq!(driver.used(), [(0, HEADER_SIZE + 100)]);
    assert_eq!(driver.get::<12>(DATA), HEADER);
    assert_eq!(driver.get::<101>(DATA + 12)[..], [&frame[..100], &[0]].concat());
    assert_eq!(receive(&driver.memory, &mut queue, &frame[..60]), Ok(false), "it is used");
    driver.descriptor(DESCRIPTORS, 2, RAM - 4, 2000, WRITE, 0);
    driver.offer(2);
    assert_eq!(receive(&driver.memory, &mut queue, &frame[..60]), Err(Violation::Address));
}
