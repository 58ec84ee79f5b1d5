//! The console while a bundle comes in over it (see [`provision`](crate::provision)).
//!
//! From the monitor's `receive` until the sender says that it is done, or says nothing for too long, all input is the
//! sender's. Frames are put together where input is taken, which may be in an interrupt; what a frame wants is done by
//! the housekeeping core between turns, as what is typed at the monitor is. VMs go on meanwhile, but what they print is lost:
//! who sends it on a real line takes longer than its UART can keep what comes in.

use super::{Deployment, fleet};
use crate::{
    arch::timer,
    console::{mute_guests, write_own},
    memory::{frames::FrameBlock, heap::FRAMES, page_table::PAGE_SIZE},
    provision::{MESSAGE_SIZE, Message, Reply, Site, Store, Transfer, slip},
    scheduler,
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Mutex;

/// The sender may be silent for so long, in seconds. Then the console is the VMs' again; what has come is kept.
const PATIENCE: u64 = 10;

/// Memory that stays free beside what has come, in bytes.
const SPARE: u64 = 1 << 20;

static ALLOWED: AtomicBool = AtomicBool::new(true);

/// The line, while it is the sender's.
static LINE: Mutex<Option<Box<Line>>> = Mutex::new(None);

/// What has come. Only the housekeeping core has to do with it.
static TRANSFER: Mutex<Transfer<FrameBlock>> = Mutex::new(Transfer::new());

struct Line {
    decoder: slip::Decoder<MESSAGE_SIZE>,
    /// When the sender has been silent for too long, in ticks.
    deadline: u64,
}

impl Line {
    fn new() -> Self {
        Self { decoder: slip::Decoder::default(), deadline: deadline() }
    }

    /// The content of a frame that is complete, which is nothing if it came broken.
    fn content(&self) -> Option<Vec<u8>> {
        self.decoder.is_complete().then(|| self.decoder.content().unwrap_or_default().to_vec())
    }
}

/// All memory that is free.
struct Memory;

impl Store for FrameBlock {
    fn bytes(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl Site for Memory {
    type Store = FrameBlock;

    fn reserve(&mut self, length: usize) -> Result<FrameBlock, String> {
        let length = length as u64;
        let size = length.max(PAGE_SIZE).next_power_of_two();
        // To read its table of contents takes heap, less than its length; the heap can do nothing but fail without.
        let wanted = size + length + SPARE;
        let block = Some(wanted).filter(|wanted| *wanted <= FRAMES.free() as u64);
        let block = block.and_then(|_| FrameBlock::zeroed(&FRAMES, size).ok());
        block.ok_or_else(|| {
            format!("the bundle is too large: not enough free memory for {} KiB", wanted >> 10)
        })
    }

    fn deploy(&mut self, bundle: FrameBlock, length: usize) -> Result<(), String> {
        let cores = scheduler::cores().len();
        let deployment = Deployment::from_block(bundle, length, cores).map_err(|error| error.to_string())?;
        fleet::replace(deployment).map_err(|error| error.to_string())
    }
}

/// Allows it, or not.
pub fn allow(allowed: bool) {
    ALLOWED.store(allowed, Ordering::Relaxed);
}

/// Gives the line to the sender. Returns whether that is allowed.
pub fn open() -> bool {
    let allowed = ALLOWED.load(Ordering::Relaxed);
    let reply = if allowed {
        mute_guests(true);
        *LINE.lock() = Some(Box::new(Line::new()));
        Reply::Ready
    } else {
        Reply::Refused("forbidden by the boot argument receive=off".to_string())
    };
    say(0, &reply);
    allowed
}

/// Whether the line is the sender's.
pub(super) fn is_open() -> bool {
    LINE.lock().is_some()
}

/// How many bytes can be taken; `None` if the line is not the sender's.
pub(super) fn room() -> Option<usize> {
    LINE.lock().as_ref().map(|line| usize::from(!line.decoder.is_complete()))
}

/// Takes a byte. Returns whether there is a frame now, to be seen to.
pub(super) fn take(byte: u8) -> bool {
    LINE.lock().as_mut().is_some_and(|line| {
        line.deadline = deadline();
        line.decoder.take(byte)
    })
}

/// When there is something to see to, in ticks.
pub(super) fn due() -> Option<u64> {
    LINE.lock().as_ref().map(|line| if line.decoder.is_complete() { 0 } else { line.deadline })
}

/// Does what the frame wants that is complete. Returns whether the line is the sender's still.
pub(super) fn tend() -> bool {
    let Some((content, deadline)) = LINE.lock().as_ref().map(|line| (line.content(), line.deadline)) else {
        return false;
    };
    // The line is not locked meanwhile, and nothing is taken from it.
    let goes_on = match &content {
        Some(content) => answer(content),
        None => timer::now() < deadline,
    };
    let mut line = LINE.lock();
    match line.as_mut() {
        Some(line) if goes_on && content.is_some() => **line = Line::new(),
        Some(_) if goes_on => {}
        _ => *line = None,
    }
    goes_on
}

/// Answers a frame. Returns whether the sender wants more.
fn answer(content: &[u8]) -> bool {
    let Some(Message { sequence, request }) = Message::parse(content) else {
        say(0, &Reply::Again);
        return true;
    };
    let reply = TRANSFER.lock().handle(request, &mut Memory);
    reply.iter().for_each(|reply| say(sequence, reply));
    reply.is_some()
}

fn say(sequence: u32, reply: &Reply) {
    write_own(format_args!("{}\n", reply.to_line(sequence)));
}

fn deadline() -> u64 {
    timer::now().saturating_add(PATIENCE * timer::frequency())
}
