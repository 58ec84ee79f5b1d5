//! Sends and receives frames by a virtio network card, on the `virt` machine. The command line says what is done: `mode=`
//! `exchange`, `hostile` or `echo`.
//!
//! In an exchange, VM 1 sends `count=` frames to VM 2, of `length=` bytes or, if that is 0, of all lengths. VM 2 checks each of
//! them, and confirms every [`BURST`]: so that it has a buffer for each, and none can be lost. A hostile VM 1 breaks all rules
//! before.
//!
//! An echo says that it is there, and sends data back to whoever has sent it, until a frame comes that ends it.
#![no_std]
#![no_main]

use guest_rt::{entry, println};
use test_guests::board::argument;
use test_guests::card::{Card, HEADER};
use test_guests::virtio::{BUFFER_SIZE, register};
use test_guests::{check, failures};

entry!(main);

/// Frames that are sent between two confirmations.
const BURST: u32 = 16;
/// Type of the frames: for experiments (IEEE 802, 9.2.4).
const TYPE: [u8; 2] = [0x88, 0xb5];
/// Shortest and longest frame with all that is checked.
const SHORTEST: usize = 19;
const LONGEST: usize = 1518;
/// RAM ends there at the latest.
const END_OF_RAM: u64 = 0x8000_0000;

/// What a frame is for: its first byte after the type.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const DATA: u8 = 3;
    pub(super) const CONFIRMED: u8 = 4;
    pub(super) const END: u8 = 5;
}

fn main() -> u8 {
    let mut card = Card::start();
    match argument("mode=") {
        "exchange" => exchange(&mut card),
        "hostile" => {
            break_rules(&mut card);
            send_nonsense(&mut card);
            exchange(&mut card);
        }
        "echo" => echo(&mut card),
        mode => unreachable!("no such mode: {mode}"),
    }
    failures()
}

/// The address of VM 1 or 2, whichever this one is not.
fn peer(card: &Card) -> [u8; 6] {
    let mut mac = card.mac;
    mac[1] = 3 - mac[1];
    mac
}

/// What is exchanged.
struct Frames {
    count: u32,
    /// Length of each; 0: all lengths.
    length: usize,
}

impl Frames {
    fn length_of(&self, number: u32) -> usize {
        match self.length {
            0 => SHORTEST + usize::try_from(number).unwrap_or(0) * 97 % (LONGEST - SHORTEST + 1),
            length => length,
        }
    }

    /// Whether a confirmation follows.
    fn ends_burst(&self, number: u32) -> bool {
        (number + 1).is_multiple_of(BURST) || number + 1 == self.count
    }
}

fn exchange(card: &mut Card) {
    let [count, length] = ["count=", "length="].map(|name| argument(name).parse().expect("a number"));
    let frames = Frames { count, length: usize::try_from(length).unwrap_or(0) };
    meet(card);
    if card.mac[1] == 1 {
        (0..count).for_each(|number| send_one_of(card, number, &frames));
        println!("sent");
    } else {
        (0..count).for_each(|number| receive_one_of(card, number, &frames));
        println!("received");
    }
}

/// Waits until the other VM is there. Whoever comes first hears the other.
fn meet(card: &mut Card) {
    let peer = peer(card);
    send(card, peer, kind::HELLO, 0, SHORTEST);
    if receive(card, |frame| frame[14]) == kind::HELLO {
        send(card, peer, kind::WELCOME, 0, SHORTEST);
    }
}

fn send_one_of(card: &mut Card, number: u32, frames: &Frames) {
    let peer = peer(card);
    prepare(card, peer, kind::DATA, number, frames.length_of(number));
    if frames.ends_burst(number) {
        card.notify();
        await_frame(card, kind::CONFIRMED, number, SHORTEST);
    }
}

fn receive_one_of(card: &mut Card, number: u32, frames: &Frames) {
    await_frame(card, kind::DATA, number, frames.length_of(number));
    if frames.ends_burst(number) {
        let peer = peer(card);
        send(card, peer, kind::CONFIRMED, number, SHORTEST);
    }
}

/// Waits for a frame of this kind, number and length, and checks it. What the VMs say when they meet may come twice.
fn await_frame(card: &mut Card, kind: u8, number: u32, length: usize) {
    let (own, peer) = (card.mac, peer(card));
    while !receive(card, |frame| {
        if matches!(frame[14], kind::HELLO | kind::WELCOME) {
            return false;
        }
        let is_good = frame.len() == length
            && frame[..6] == own
            && frame[6..12] == peer
            && frame[12..14] == TYPE
            && frame[14] == kind
            && frame[15..19] == number.to_le_bytes()
            && (SHORTEST..length).all(|at| frame[at] == pattern(number, at));
        check("the next frame, as it was sent", is_good);
        true
    }) {}
}

/// What is at this place of a frame.
fn pattern(number: u32, at: usize) -> u8 {
    let [low, high, ..] = at.to_le_bytes();
    number.to_le_bytes()[0] ^ low ^ high.rotate_left(4)
}

/// Has `look` see the next frame that comes in.
fn receive<T>(card: &mut Card, look: impl FnOnce(&[u8]) -> T) -> T {
    loop {
        if let Some((number, written)) = card.received.take() {
            let seen = look(&card.received.buffer(number)[HEADER..written]);
            card.received.offer(number, BUFFER_SIZE);
            return seen;
        }
        card.wait();
    }
}

fn send(card: &mut Card, to: [u8; 6], kind: u8, number: u32, length: usize) {
    prepare(card, to, kind, number, length);
    card.notify();
}

/// Offers a frame to the card, which is not told yet.
fn prepare(card: &mut Card, to: [u8; 6], kind: u8, number: u32, length: usize) {
    let own = card.mac;
    let at = next_to_send(card);
    let frame = &mut card.sent.buffer(at)[HEADER..HEADER + length];
    (SHORTEST..length).for_each(|at| frame[at] = pattern(number, at));
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&own);
    frame[12..14].copy_from_slice(&TYPE);
    frame[14] = kind;
    frame[15..19].copy_from_slice(&number.to_le_bytes());
    card.sent.offer(at, HEADER + length);
}

/// A buffer that the card has not got: it is done with each before the notification is over.
fn next_to_send(card: &mut Card) -> u16 {
    while card.sent.take().is_some() {}
    card.sent.next()
}

/// Each of these ends the work of the card until it is reset.
fn break_rules(card: &mut Card) {
    const NEXT: u64 = 1 << 32;
    const WRITE: u64 = 2 << 32;
    const INDIRECT: u64 = 4 << 32;
    let ram = 0x4008_0000;
    let chain = |first, second| {
        move |card: &mut Card| {
            card.sent.describe(0, ram, first);
            card.sent.describe(1, ram, second);
            card.sent.offer_chain(0);
        }
    };
    let at = |address, rest| {
        move |card: &mut Card| {
            card.sent.describe(0, address, rest);
            card.sent.offer_chain(0);
        }
    };
    breaks(card, "a chain that is a loop", chain(20 | NEXT | 1 << 48, 20 | NEXT));
    breaks(card, "a chain out of the table", chain(20 | NEXT | 0xffff << 48, 20));
    breaks(card, "what is written before what is read", chain(20 | NEXT | WRITE | 1 << 48, 20));
    breaks(card, "less than a header", at(ram, 11));
    breaks(card, "a buffer that is written only", at(ram, 100 | WRITE));
    breaks(card, "a buffer of a device", at(0x0800_0000, 100));
    breaks(card, "a buffer over the end of RAM", at(END_OF_RAM - 1, 100));
    breaks(card, "a buffer over the end of addresses", at(u64::MAX, 100));
    breaks(card, "a buffer as large as can be", at(ram, u64::from(u32::MAX)));
    breaks(card, "an indirect table of half a descriptor", at(ram, 24 | INDIRECT));
    breaks(card, "an indirect table that is none", at(0, 16 | INDIRECT));
    breaks(card, "more than the queue has", |card| card.sent.boast(1000));
    breaks(card, "a descriptor that is not there", |card| card.sent.offer_chain(0xffff));
}

fn breaks(card: &mut Card, rule: &str, act: impl FnOnce(&mut Card)) {
    const NEEDS_RESET: u32 = 1 << 6;
    act(card);
    card.device.write(register::QUEUE_NOTIFY, 1);
    check(rule, card.device.read(register::STATUS) & NEEDS_RESET != 0);
    card.restart();
    check("a reset heals", card.device.read(register::STATUS) & NEEDS_RESET == 0);
}

/// None of this is a frame, or one that may be sent, so that nobody gets it.
fn send_nonsense(card: &mut Card) {
    let (own, peer) = (card.mac, peer(card));
    for length in [0, 1, 6, 12, 13, 1519, 2000] {
        send_raw(card, [peer, own], length);
    }
    for source in [peer, [0xff; 6], [0; 6], [1, 0, 0x5e, 0, 0, 1]] {
        send_raw(card, [peer, source], 60);
    }
    send_raw(card, [own, own], 60);
}

fn send_raw(card: &mut Card, addresses: [[u8; 6]; 2], length: usize) {
    let at = next_to_send(card);
    card.sent.buffer(at)[HEADER..HEADER + 12].copy_from_slice(addresses.as_flattened());
    card.sent.offer(at, HEADER + length);
    card.notify();
}

/// Sends back what comes in for experiments, with this VM as the sender.
fn echo(card: &mut Card) {
    let own = card.mac;
    send(card, [0xff; 6], kind::HELLO, 0, SHORTEST);
    println!("listening");
    loop {
        let mut copy = [0; LONGEST];
        let length = receive(card, |frame| {
            copy[..frame.len()].copy_from_slice(frame);
            frame.len()
        });
        if copy[12..14] != TYPE || !matches!(copy[14], kind::DATA | kind::END) {
            continue;
        }
        let at = next_to_send(card);
        let frame = &mut card.sent.buffer(at)[HEADER..HEADER + length];
        frame.copy_from_slice(&copy[..length]);
        frame[..6].copy_from_slice(&copy[6..12]);
        frame[6..12].copy_from_slice(&own);
        card.sent.offer(at, HEADER + length);
        card.notify();
        if copy[14] == kind::END {
            return println!("ended");
        }
    }
}
