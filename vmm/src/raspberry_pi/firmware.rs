//! The firmware's property interface: a buffer of words, whose address goes to the VideoCore through a mailbox, and in
//! which it answers (Raspberry Pi firmware wiki, "Mailbox property interface").

use super::NoDevice;
use crate::{arch::cache, deadline::Deadline, mmio::Registers};
use core::ops::Range;
use spin::Mutex;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, WriteOnly},
};

register_structs! {
    /// The registers of the two mailboxes: one to read from, one to write to.
    Mailboxes {
        /// `MAIL0_READ`.
        (0x00 => read: ReadOnly<u32>),
        (0x04 => reserved0),
        /// `MAIL0_STATUS`.
        (0x18 => read_status: ReadOnly<u32>),
        (0x1c => reserved1),
        /// `MAIL1_WRITE`.
        (0x20 => write: WriteOnly<u32>),
        (0x24 => reserved2),
        /// `MAIL1_STATUS`.
        (0x38 => write_status: ReadOnly<u32>),
        (0x3c => @END),
    }
}

/// `MAILn_STATUS`.
const FULL: u32 = 1 << 31;
const EMPTY: u32 = 1 << 30;
/// The mailbox's channel for properties, in the low bits of a message; the others are an address.
const PROPERTIES: u32 = 8;
/// Where the VideoCore sees the first gigabyte of RAM without its own caches.
const BUS: u32 = 0xc000_0000;
const BUS_SIZE: u64 = 1 << 30;
/// Words of a question that are in use, and of its answer.
const WORDS: u32 = 8;
/// The second word, before and after.
const REQUEST: u32 = 0;
const SUCCESS: u32 = 1 << 31;
/// How long an answer may take.
const PATIENCE_MS: u64 = 10;

/// A question with one tag, whose value has two words.
#[repr(C, align(64))]
struct Buffer([u32; 16]);

struct Firmware {
    mailboxes: Option<Registers<Mailboxes>>,
    buffer: Buffer,
}

static FIRMWARE: Mutex<Firmware> = Mutex::new(Firmware { mailboxes: None, buffer: Buffer([0; 16]) });

/// Remembers where the mailboxes are.
///
/// # Safety
/// Their registers are mapped as device memory.
pub(super) unsafe fn init(range: &Range<u64>) {
    // SAFETY: the caller's promise.
    FIRMWARE.lock().mailboxes = Some(unsafe { Registers::at(range) });
}

/// Asks for a property of something that goes by a number. A firmware that does not answer in time is not asked again.
pub(super) fn property(tag: u32, of: u32) -> Result<u32, NoDevice> {
    let Firmware { mailboxes, buffer } = &mut *FIRMWARE.lock();
    let answer = buffer.ask(mailboxes.as_ref().ok_or(NoDevice)?, tag, of)?;
    if answer.is_none() {
        log::warn!("the firmware does not answer, and is not asked again");
        *mailboxes = None;
    }
    answer.ok_or(NoDevice)
}

impl Mailboxes {
    /// Sends a message and waits until it comes back.
    fn exchange(&self, message: u32) -> bool {
        if !Deadline::after_ms(PATIENCE_MS).wait(|| self.write_status.get() & FULL == 0) {
            return false;
        }
        self.write.set(message);
        Deadline::after_ms(PATIENCE_MS)
            .wait(|| self.read_status.get() & EMPTY == 0 && self.read.get() == message)
    }
}

impl Buffer {
    /// The answer, or `None` if there is none in time.
    fn ask(&mut self, mailboxes: &Mailboxes, tag: u32, of: u32) -> Result<Option<u32>, NoDevice> {
        // Length, code, tag, room for its value, no answer yet, the value, and the end of tags.
        self.0[..WORDS as usize].copy_from_slice(&[WORDS * 4, REQUEST, tag, 8, 0, of, 0, 0]);
        let message = self.address()? | PROPERTIES;
        self.hand_over();
        if !mailboxes.exchange(message) {
            return Ok(None);
        }
        self.hand_over();
        // SAFETY: the buffer's own words. The firmware has written them, which the compiler does not know.
        let words: [u32; WORDS as usize] =
            unsafe { self.0.as_ptr().cast::<[u32; WORDS as usize]>().read_volatile() };
        if words[1] == SUCCESS { Ok(Some(words[6])) } else { Err(NoDevice) }
    }

    /// The buffer's address as the VideoCore has it.
    fn address(&self) -> Result<u32, NoDevice> {
        let address = self.0.as_ptr().addr() as u64;
        let low = u32::try_from(address).ok().filter(|_| address < BUS_SIZE).ok_or(NoDevice)?;
        Ok(BUS | low)
    }

    /// Lets the other side see what is in the buffer, and this side what the other has put there.
    fn hand_over(&self) {
        cache::clean_to_memory(self.0.as_ptr().cast(), size_of::<Self>());
    }
}
