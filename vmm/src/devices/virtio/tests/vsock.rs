//! A socket, with a service that sends back what it is sent.

use super::*;
use crate::devices::virtio::vsock::{Service, Socket};

/// What it holds, up to a limit, until the guest has got it.
#[derive(Default)]
struct Echo(Vec<u8>);

const LIMIT: usize = 1000;

impl Service for Echo {
    const PORT: u32 = 7;

    fn begin(&mut self) {
        self.0.clear();
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(LIMIT - self.0.len());
        self.0.extend_from_slice(&bytes[..count]);
        count
    }

    fn offer(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        self.0.drain(..count);
    }

    fn is_over(&self) -> bool {
        self.0.starts_with(b"end")
    }
}

/// `op` of packets.
const REQUEST: u16 = 1;
const RESPONSE: u16 = 2;
const RESET: u16 = 3;
const SHUTDOWN: u16 = 4;
const DATA_OF_STREAM: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;

/// The guest's port in all of this.
const HERE: u32 = 1234;

/// A driver, with memory of its own for each direction.
struct SocketDriver {
    sending: (Driver, Queue),
    receiving: (Driver, Queue),
    socket: Socket,
    echo: Echo,
    /// Bytes that were received, and room for how many more than those.
    taken: u32,
    room: u32,
}

fn driver() -> (Driver, Queue) {
    let driver = Driver::new();
    let queue = driver.queue(false);
    (driver, queue)
}

impl SocketDriver {
    fn new() -> Self {
        Self {
            sending: driver(),
            receiving: driver(),
            socket: Socket::new(0),
            echo: Echo::default(),
            taken: 0,
            room: 1 << 16,
        }
    }

    /// The same, with a stream.
    fn connected() -> Self {
        let mut this = Self::new();
        assert!(this.sends(REQUEST, Echo::PORT, b""));
        assert_eq!(this.receives(500), Some((RESPONSE, vec![])));
        this
    }

    /// Sends a packet. Returns whether the device is done with it.
    fn sends(&mut self, operation: u16, port: u32, data: &[u8]) -> bool {
        self.sends_from(HERE, operation, port, data)
    }

    fn sends_from(&mut self, from: u32, operation: u16, port: u32, data: &[u8]) -> bool {
        let length = u32::try_from(data.len()).unwrap();
        let operation = 1 | u32::from(operation) << 16;
        let words =
            [3, 0, 2, 0, from, port, length, operation, 0, self.room, self.taken].map(u32::to_le_bytes);
        let (driver, _) = &mut self.sending;
        driver.put(DATA, words.as_flattened());
        driver.put(DATA + 44, data);
        driver.descriptor(DESCRIPTORS, 0, DATA, 44 + length, 0, 0);
        driver.offer(0);
        self.goes_on()
    }

    /// Has the device look again. Returns whether it is done with everything.
    fn goes_on(&mut self) -> bool {
        let (driver, queue) = &mut self.sending;
        let (socket, echo) = (&mut self.socket, &mut self.echo);
        let transmit = |chain: &chain::Chain| socket.transmit(&driver.memory, chain, echo);
        let mut transmit = transmit;
        while queue.serve(&driver.memory, 1, &mut transmit).unwrap().has_more {}
        driver.half(USED + 2) == driver.offered
    }

    /// What the device sends into a buffer of this size, if it sends something: operation and data.
    fn receives(&mut self, size: u32) -> Option<(u16, Vec<u8>)> {
        if !self.socket.has_news(&self.echo) {
            return None;
        }
        let (driver, queue) = &mut self.receiving;
        driver.descriptor(DESCRIPTORS, 0, DATA, size, WRITE, 0);
        driver.offer(0);
        let (socket, echo) = (&mut self.socket, &mut self.echo);
        let receive = |chain: &chain::Chain| socket.receive(&driver.memory, chain, echo);
        queue.serve(&driver.memory, 1, receive).unwrap();
        assert_eq!([0, 8].map(|at| driver.word(DATA + at)), [2, 3], "from the hypervisor to VM 1");
        let length = driver.word(DATA + 24);
        let mut data = vec![0; usize::try_from(length).unwrap()];
        driver.memory.read(driver.memory.check(DATA + 44, length.into()).unwrap(), &mut data);
        self.taken = self.taken.wrapping_add(length);
        Some((driver.half(DATA + 30), data))
    }
}

#[test]
fn a_stream_goes_both_ways() {
    let mut guest = SocketDriver::connected();
    assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, b"hello"));
    assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, &[b'x'; 600]));
    assert_eq!(guest.receives(44 + 4), Some((DATA_OF_STREAM, b"hell".to_vec())));
    let (operation, rest) = guest.receives(1000).unwrap();
    assert_eq!((operation, rest.len(), &rest[..2]), (DATA_OF_STREAM, 601, &b"ox"[..]));
    assert_eq!(guest.receives(100), None);
}

#[test]
fn what_has_no_room_waits() {
    let mut guest = SocketDriver::connected();
    assert!(!guest.sends(DATA_OF_STREAM, Echo::PORT, &[b'y'; LIMIT + 100]));
    assert_eq!(guest.receives(2000).unwrap().1.len(), LIMIT);
    assert!(guest.goes_on());
    assert_eq!(guest.receives(2000).unwrap().1.len(), 100);
    // As much as the guest has room for, and no more until it has taken some of it.
    guest.room = 10;
    assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, &[b'z'; 25]));
    assert_eq!(guest.receives(100).unwrap().1.len(), 10);
    assert_eq!(guest.receives(100), None);
    assert!(guest.sends(CREDIT_UPDATE, Echo::PORT, b""));
    assert_eq!(guest.receives(100).unwrap().1.len(), 10);
}

#[test]
fn the_guest_is_told_what_was_taken() {
    let mut guest = SocketDriver::connected();
    let mut updates = 0;
    for _ in 0..100 {
        assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, &[1; 900]));
        guest.echo.0.clear();
        updates +=
            usize::from(guest.receives(44 + 1).is_some_and(|(operation, _)| operation == CREDIT_UPDATE));
    }
    assert_eq!(updates, 2, "each time when half of the window was taken");
    assert!(guest.sends(CREDIT_REQUEST, Echo::PORT, b""));
    assert_eq!(guest.receives(100), Some((CREDIT_UPDATE, vec![])));
    assert_eq!(guest.receiving.0.word(DATA + 40), 90_000);
}

#[test]
fn what_belongs_to_no_stream_is_reset() {
    let mut guest = SocketDriver::new();
    for (operation, port) in [
        (REQUEST, 8),
        (DATA_OF_STREAM, Echo::PORT),
        (SHUTDOWN, Echo::PORT),
        (99, Echo::PORT),
        (CREDIT_REQUEST, 7),
    ] {
        assert!(guest.sends(operation, port, b""));
        assert_eq!(guest.receives(100), Some((RESET, vec![])), "{operation} {port}");
    }
    assert!(guest.sends(RESET, Echo::PORT, b""));
    assert_eq!(guest.receives(100), None, "a reset is not answered");
}

#[test]
fn one_program_at_a_time() {
    let mut guest = SocketDriver::connected();
    assert!(guest.sends_from(99, REQUEST, Echo::PORT, b""));
    assert_eq!(guest.receives(100), Some((RESET, vec![])));
    assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, b"still there"));
    assert!(guest.sends(SHUTDOWN, Echo::PORT, b""));
    assert_eq!(guest.receives(100), Some((RESET, vec![])));
    assert!(guest.sends_from(99, REQUEST, Echo::PORT, b""));
    assert_eq!(guest.receives(100), Some((RESPONSE, vec![])));
    assert!(guest.echo.0.is_empty(), "what the first one has not got is gone");
}

#[test]
fn a_service_can_end_a_stream() {
    let mut guest = SocketDriver::connected();
    assert!(guest.sends(DATA_OF_STREAM, Echo::PORT, b"end"));
    assert_eq!(guest.receives(100), Some((RESET, vec![])));
    assert!(!guest.socket.is_open());
}

#[test]
fn an_answer_goes_before_what_is_sent_next() {
    let mut guest = SocketDriver::new();
    assert!(guest.sends(REQUEST, Echo::PORT, b""));
    assert!(!guest.sends(DATA_OF_STREAM, Echo::PORT, b"early"));
    assert_eq!(guest.receives(100), Some((RESPONSE, vec![])));
    assert!(guest.goes_on());
    assert_eq!(guest.receives(100), Some((DATA_OF_STREAM, b"early".to_vec())));
}

proptest! {
    #[test]
    fn any_packets_are_survived(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 44..60), 1..20)) {
        let mut guest = SocketDriver::connected();
        for mut packet in packets {
            // Nearly right, every other time.
            if packet[0] & 1 != 0 {
                packet[..16].copy_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
                packet[16..24].copy_from_slice(&[HERE.to_le_bytes(), Echo::PORT.to_le_bytes()].concat());
                let operation = packet[30] % 9;
                packet[28..32].copy_from_slice(&[1, 0, operation, 0]);
            }
            let (driver, _) = &mut guest.sending;
            driver.put(DATA, &packet);
            driver.descriptor(DESCRIPTORS, 0, DATA, u32::try_from(packet.len()).unwrap(), 0, 0);
            driver.offer(0);
            guest.goes_on();
            if let Some((_, data)) = guest.receives(70) {
                prop_assert!(data.len() <= 26);
            }
        }
    }
}
