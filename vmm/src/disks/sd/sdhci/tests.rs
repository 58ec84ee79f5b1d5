//! A controller and its card as registers that change while the driver waits. They take the longest time that they may.

use super::*;
use crate::{
    arch::{clock, timer},
    disks::{BlockDevice, Error, sd::SdCard},
    mmio::tests::Memory,
};
use alloc::{collections::VecDeque, vec};
use core::mem::offset_of;

/// Indices of registers.
const BLOCKS: usize = offset_of!(Slot, blocks) / 4;
const ARGUMENT: usize = offset_of!(Slot, argument) / 4;
const COMMAND: usize = offset_of!(Slot, command) / 4;
const RESPONSE: usize = offset_of!(Slot, response) / 4;
const STATE: usize = offset_of!(Slot, state) / 4;
const CLOCK: usize = offset_of!(Slot, clock) / 4;
const STATUS: usize = offset_of!(Slot, status) / 4;

/// A bit of the status that the driver does not use: without it, or with all bits set, the register was written.
const UNTOUCHED: u32 = 1 << 8;
/// No command is to be sent.
const NONE: u32 = u32::MAX;
const CHECKSUM_ERROR: u32 = 1 << 21;
const TICKS_PER_MS: u64 = 1_000_000;
const STEP: u64 = TICKS_PER_MS / 20;

/// How long things take, in milliseconds, and how they end.
#[derive(Clone, Copy)]
struct Manner {
    reset: u64,
    answer: u64,
    busy: u64,
    /// For each block of data.
    block: u64,
    /// What the last block ends with.
    end: u32,
    /// What the lines are in use for.
    state: u32,
}

const QUICK: Manner = Manner { reset: 0, answer: 0, busy: 0, block: 0, end: TRANSFER_COMPLETE, state: 0 };

/// The controller and the card.
struct Model {
    memory: Memory<17>,
    manner: Manner,
    status: u32,
    /// When the reset is over that was asked for.
    reset: Option<u64>,
    /// Status bits to come, and when.
    events: VecDeque<(u64, u32)>,
}

impl Model {
    fn goes_on(&mut self, now: u64) {
        let status = self.memory.word(STATUS);
        if status == u32::MAX || status & UNTOUCHED == 0 {
            self.status &= !status;
        }
        self.memory.set(STATE, self.manner.state);
        self.resets(now);
        if self.memory.word(COMMAND) != NONE {
            self.takes_command(now);
        }
        while let Some((_, bits)) = self.events.pop_front_if(|(due, _)| *due <= now) {
            self.status |= bits;
        }
        let error = if self.status & ERRORS == 0 { 0 } else { ANY_ERROR };
        self.memory.set(STATUS, self.status | error | UNTOUCHED);
    }

    fn resets(&mut self, now: u64) {
        const RESETS: u32 = RESET_ALL | RESET_LINES;
        let clock = self.memory.word(CLOCK) | INTERNAL_STABLE;
        self.memory.set(CLOCK, clock);
        if clock & RESETS == 0 {
            self.reset = None;
        } else if *self.reset.get_or_insert(now + self.manner.reset * TICKS_PER_MS) <= now {
            self.events.clear();
            self.status = 0;
            self.memory.set(CLOCK, clock & !RESETS);
        }
    }

    fn takes_command(&mut self, now: u64) {
        let command = self.memory.word(COMMAND);
        self.memory.set(COMMAND, NONE);
        self.answers(command >> 24);
        let Manner { answer, busy, block, end, .. } = self.manner;
        let mut due = now + answer * TICKS_PER_MS;
        self.events.push_back((due, COMMAND_COMPLETE));
        if command & WITH_DATA == 0 {
            return self.events.push_back((due + busy * TICKS_PER_MS, TRANSFER_COMPLETE));
        }
        let ready = if command & TO_HOST == 0 { WRITE_READY } else { READ_READY };
        for _ in 0..self.memory.word(BLOCKS) >> 16 {
            // Not before the driver has seen the one before.
            due += (block * TICKS_PER_MS).max(2 * STEP);
            self.events.push_back((due, ready));
        }
        self.events.push_back((due + 2 * STEP, end));
    }

    /// An SDHC card of 512 KiB.
    fn answers(&self, index: u32) {
        let answer = match index {
            8 => self.memory.word(ARGUMENT),
            41 => 0xc0ff_8000,
            _ => 0x900,
        };
        self.memory.set(RESPONSE, answer);
        // The CSD's version; every card says it, for the driver asks no other for a long answer.
        self.memory.set(RESPONSE + 3, 1 << (126 - 8 - 96));
    }
}

/// A card that was started quickly, and what it does from then on.
fn card(manner: Manner) -> SdCard<Sdhci> {
    let memory = Memory::new([(COMMAND, NONE)]);
    let mut model = Model { memory, manner: QUICK, status: 0, reset: None, events: VecDeque::new() };
    clock::run(STEP, move |now| model.goes_on(now));
    // SAFETY: memory that is as large as the registers.
    let card = unsafe { Sdhci::open(&memory.range()) }.and_then(SdCard::start).unwrap();
    let mut model = Model { memory, manner, status: 0, reset: None, events: VecDeque::new() };
    clock::run(STEP, move |now| model.goes_on(now));
    card
}

/// What comes of a request, and how many milliseconds it takes.
fn timed(manner: Manner, request: fn(&mut SdCard<Sdhci>) -> Result<(), Error>) -> (Result<(), Error>, u64) {
    let mut card = card(manner);
    let start = timer::now();
    let result = request(&mut card);
    (result, (timer::now() - start) / TICKS_PER_MS)
}

fn read(card: &mut SdCard<Sdhci>) -> Result<(), Error> {
    // Words, for the driver's buffers are aligned.
    let mut buffer = vec![0_u32; 64 * WORDS];
    // SAFETY: any words are bytes.
    card.read(0, unsafe { buffer.align_to_mut() }.1)
}

fn write(card: &mut SdCard<Sdhci>) -> Result<(), Error> {
    let data = vec![0_u32; 64 * WORDS];
    // SAFETY: as above.
    card.write(0, unsafe { data.align_to() }.1)
}

/// What `docs/disks.md` promises.
const LONGEST_MS: u64 = 1900;

#[test]
fn a_good_card_keeps_nobody_waiting() {
    for request in [read, write] {
        let (result, time) = timed(QUICK, request);
        assert_eq!(result, Ok(()));
        assert!(time < 50, "{time} ms");
    }
}

#[test]
fn the_slowest_failure_ends_in_time() {
    let manner = Manner { reset: 99, answer: 9, busy: 498, block: 15, end: CHECKSUM_ERROR, state: 0 };
    for request in [read, write] {
        let (result, time) = timed(manner, request);
        assert_eq!(result, Err(Error::Failed), "the next request may succeed");
        assert!((1500..=LONGEST_MS).contains(&time), "{time} ms");
    }
}

#[test]
fn who_is_slower_is_gone() {
    const NEVER: u64 = 1 << 20;
    let failing = Manner { end: CHECKSUM_ERROR, ..QUICK };
    for (manner, request, limit) in [
        (Manner { answer: NEVER, ..QUICK }, read as fn(&mut SdCard<Sdhci>) -> _, ANSWER_MS),
        (Manner { block: NEVER, ..QUICK }, read, ACCESS_MS),
        (Manner { block: NEVER, ..QUICK }, write, TRANSFER_MS),
        (Manner { state: DATA_INHIBIT, ..QUICK }, write, BUSY_MS),
        (Manner { state: COMMAND_INHIBIT, ..QUICK }, write, BUSY_MS),
        (Manner { reset: NEVER, ..failing }, read, SETTLE_MS),
    ] {
        let (result, time) = timed(manner, request);
        assert_eq!(result, Err(Error::Gone));
        assert!((limit..limit + 50).contains(&time), "{time} ms instead of {limit}");
    }
}

#[test]
fn a_card_that_stays_busy_has_failed() {
    let (result, time) = timed(Manner { busy: 1 << 20, end: CHECKSUM_ERROR, ..QUICK }, read);
    assert_eq!(result, Err(Error::Failed));
    assert!((BUSY_MS..BUSY_MS + 50).contains(&time), "{time} ms");
}
