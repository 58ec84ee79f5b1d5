//! A socket (Virtual I/O Device 1.2, 5.10): a stream between a program of the guest and a service of the hypervisor.
//!
//! The guest's programs connect, to one port, and one at a time. All else is refused as a host refuses what nobody
//! listens to.

use super::{
    Kind,
    chain::{Chain, Cursor},
    queue::{Served, Violation},
    transport::Identity,
};
use crate::memory::guest::GuestMemory;

/// The queue for what the driver receives.
pub const RECEIVE: usize = 0;
/// The queue for what the driver sends.
pub const TRANSMIT: usize = 1;

/// The hypervisor's address: `VMADDR_CID_HOST`.
const HOST: u64 = 2;
/// The address of VM number 1; the others' follow. Smaller ones are reserved (5.10.4).
const FIRST_GUEST: u64 = 3;
/// Bytes of a stream that the hypervisor takes beyond those of which it has said that it has taken them.
const WINDOW: u32 = 64 << 10;
/// Bytes that are copied at a time.
const PIECE: usize = 256;

/// `type` of a packet: a stream.
const STREAM: u16 = 1;

/// `op` of a packet (5.10.6).
mod operation {
    pub(super) const REQUEST: u16 = 1;
    pub(super) const RESPONSE: u16 = 2;
    pub(super) const RESET: u16 = 3;
    pub(super) const SHUTDOWN: u16 = 4;
    pub(super) const DATA: u16 = 5;
    pub(super) const CREDIT_UPDATE: u16 = 6;
    pub(super) const CREDIT_REQUEST: u16 = 7;
}

const HEADER_SIZE: usize = 44;

/// What a packet begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    source: u64,
    destination: u64,
    source_port: u32,
    destination_port: u32,
    length: u32,
    kind: u16,
    operation: u16,
    flags: u32,
    room: u32,
    taken: u32,
}

impl Header {
    fn from_bytes(bytes: &[u8; HEADER_SIZE]) -> Self {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Self {
            source: long(0),
            destination: long(8),
            source_port: word(16),
            destination_port: word(20),
            length: word(24),
            kind: half(28),
            operation: half(30),
            flags: word(32),
            room: word(36),
            taken: word(40),
        }
    }

    fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..8].copy_from_slice(&self.source.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.destination.to_le_bytes());
        let kind = u32::from(self.kind) | u32::from(self.operation) << 16;
        let words =
            [self.source_port, self.destination_port, self.length, kind, self.flags, self.room, self.taken];
        let places = bytes[16..].chunks_exact_mut(4);
        places.zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
        bytes
    }
}

/// What listens at a port of the hypervisor's.
pub trait Service {
    /// The port.
    const PORT: u32;
    /// A program has connected.
    fn begin(&mut self);
    /// Takes bytes of the guest's, all or the first of them, and returns how many.
    fn take(&mut self, bytes: &[u8]) -> usize;
    /// Bytes for the guest.
    fn offer(&self) -> &[u8];
    /// The guest has got so many of those.
    fn advance(&mut self, count: usize);
    /// Whether it does not go on with the program that has connected.
    fn is_over(&self) -> bool;
}

/// The socket of a VM.
#[derive(Debug)]
pub struct Socket {
    address: u64,
    stream: Option<Stream>,
    /// A packet without data that has to go to the guest before anything else.
    reply: Option<Header>,
}

/// A stream that is open.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// The guest's port.
    port: u32,
    /// Bytes that the guest has room for, beyond those that it has taken.
    room: u32,
    /// Bytes that it has taken, and that were sent to it: both count around.
    taken_by_guest: u32,
    sent: u32,
    /// Bytes that were taken from the guest, and of which it was told.
    taken: u32,
    told: u32,
}

impl Stream {
    /// Bytes that the guest has room for.
    fn credit(&self) -> usize {
        let on_the_way = self.sent.wrapping_sub(self.taken_by_guest);
        usize::try_from(self.room.saturating_sub(on_the_way)).unwrap_or(0)
    }
}

impl Socket {
    /// The socket of VM number `index`, counted from 0 on.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self { address: FIRST_GUEST + index as u64, stream: None, reply: None }
    }

    /// What its driver sees.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::new(Kind::Socket, 0, 3, &self.address.to_le_bytes())
    }

    /// Carries out a packet of the guest's.
    ///
    /// # Errors
    /// It is none.
    pub fn transmit<S: Service>(
        &mut self,
        memory: &GuestMemory,
        chain: &Chain,
        service: &mut S,
    ) -> Result<Served, Violation> {
        if self.reply.is_some() {
            return Ok(Served::Later { done: chain.done() });
        }
        let mut packet = chain.to_read();
        let mut header = [0; HEADER_SIZE];
        if packet.read(memory, &mut header) < HEADER_SIZE {
            return Err(Violation::Incomplete);
        }
        let header = Header::from_bytes(&header);
        // What lies about its source, or is for another host, goes nowhere.
        if (header.source, header.destination) != (self.address, HOST) {
            return Ok(Served::Whole { written: 0 });
        }
        let (data, _) = packet.split_at(header.length.into());
        if header.operation == operation::DATA && self.continues(&header) {
            return Ok(self.data(memory, data, chain.done(), &header, service));
        }
        self.control::<S>(&header, service);
        Ok(Served::Whole { written: 0 })
    }

    /// Passes a piece of a packet's data on, of which the first bytes are done already.
    fn data<S: Service>(
        &mut self,
        memory: &GuestMemory,
        data: Cursor<'_>,
        done: u64,
        header: &Header,
        service: &mut S,
    ) -> Served {
        let (_, mut rest) = data.split_at(done);
        let mut bytes = [0; PIECE];
        let count = rest.read(memory, &mut bytes);
        let taken = service.take(&bytes[..count]);
        self.count_taken(taken);
        if service.is_over() {
            self.stream = None;
            self.answer(header, operation::RESET);
            return Served::Whole { written: 0 };
        }
        let done = done + taken as u64;
        match (taken == count, rest.is_empty()) {
            (true, true) => Served::Whole { written: 0 },
            (true, false) => Served::Part { done },
            (false, _) => Served::Later { done },
        }
    }

    /// Notes what the guest has room for. Returns whether the packet belongs to the stream that is open.
    fn continues(&mut self, header: &Header) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.port == header.source_port) else {
            return false;
        };
        (stream.room, stream.taken_by_guest) = (header.room, header.taken);
        true
    }

    /// A packet that is not data of the stream that is open.
    fn control<S: Service>(&mut self, header: &Header, service: &mut S) {
        let continues = self.continues(header);
        match header.operation {
            operation::REQUEST if self.stream.is_none() && Self::is_for::<S>(header) => {
                self.stream = Some(Stream {
                    port: header.source_port,
                    room: header.room,
                    taken_by_guest: header.taken,
                    sent: 0,
                    taken: 0,
                    told: 0,
                });
                service.begin();
                self.answer(header, operation::RESPONSE);
            }
            operation::CREDIT_UPDATE if continues => {}
            operation::CREDIT_REQUEST if continues => self.answer(header, operation::CREDIT_UPDATE),
            operation::RESET => {
                if continues {
                    self.stream = None;
                }
            }
            operation::SHUTDOWN if continues => {
                self.stream = None;
                self.answer(header, operation::RESET);
            }
            // 5.10.6.4: whatever belongs to no stream.
            _ => self.answer(header, operation::RESET),
        }
    }

    fn is_for<S: Service>(header: &Header) -> bool {
        (header.destination_port, header.kind) == (S::PORT, STREAM)
    }

    /// Sends a packet without data back to where one came from.
    fn answer(&mut self, header: &Header, operation: u16) {
        self.reply = Some(Header {
            source: header.destination,
            destination: header.source,
            source_port: header.destination_port,
            destination_port: header.source_port,
            length: 0,
            kind: header.kind,
            operation,
            flags: 0,
            room: WINDOW,
            taken: 0,
        });
    }

    fn count_taken(&mut self, count: usize) {
        let Some(stream) = &mut self.stream else { return };
        stream.taken = stream.taken.wrapping_add(u32::try_from(count).unwrap_or(0));
    }

    /// Whether a program has connected.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether there is something for the guest.
    #[must_use]
    pub fn has_news<S: Service>(&self, service: &S) -> bool {
        self.reply.is_some() || self.owes_credit() || self.data_size(service) > 0
    }

    /// Whether the guest may soon believe that there is no room for more.
    fn owes_credit(&self) -> bool {
        self.stream.is_some_and(|stream| stream.taken.wrapping_sub(stream.told) >= WINDOW / 2)
    }

    fn data_size<S: Service>(&self, service: &S) -> usize {
        self.stream.map_or(0, |stream| stream.credit().min(service.offer().len()))
    }

    /// Puts a packet for the guest into a buffer of the driver's.
    ///
    /// # Errors
    /// The buffer is too small for a packet.
    pub fn receive<S: Service>(
        &mut self,
        memory: &GuestMemory,
        chain: &Chain,
        service: &mut S,
    ) -> Result<Served, Violation> {
        let mut room = chain.to_write();
        let limit = usize::try_from(room.len()).unwrap_or(0).checked_sub(HEADER_SIZE + 1);
        let limit = limit.ok_or(Violation::Incomplete)? + 1;
        let (mut header, size) = match self.reply.take() {
            Some(header) => (header, 0),
            None => self.next_packet::<S>(self.data_size(service).min(limit)),
        };
        if let Some(stream) = &mut self.stream {
            header.taken = stream.taken;
            stream.told = stream.taken;
            stream.sent = stream.sent.wrapping_add(header.length);
        }
        room.write(memory, &header.to_bytes());
        room.write(memory, &service.offer()[..size]);
        service.advance(size);
        Ok(Served::Whole { written: u32::try_from(HEADER_SIZE + size).unwrap_or(0) })
    }

    /// The next packet of the stream, with so many bytes of data.
    fn next_packet<S: Service>(&self, size: usize) -> (Header, usize) {
        let header = Header {
            source: HOST,
            destination: self.address,
            source_port: S::PORT,
            destination_port: self.stream.map_or(0, |stream| stream.port),
            length: u32::try_from(size).unwrap_or(0),
            kind: STREAM,
            operation: if size > 0 { operation::DATA } else { operation::CREDIT_UPDATE },
            flags: 0,
            room: WINDOW,
            taken: 0,
        };
        (header, size)
    }
}
