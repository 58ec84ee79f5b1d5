//! An SD host controller: SD Specifications, Part A2, SD Host Controller Simplified Specification 3.00. The numbers in
//! comments are its chapters'.
//!
//! The core moves the data itself: QEMU's Raspberry Pi 4 has no other way, and a real one's DMA reaches a part of memory
//! only. At 25 MHz the card is the slower one. All registers are accessed by words, which every such controller allows.

use super::{CardError, Command, Host, HostError, Response};
use crate::{deadline::Deadline, mmio::Registers};
use core::ops::Range;
use tinyvmm_abi::disks::SECTOR_SIZE;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, ReadWrite},
};

register_structs! {
    /// Registers of a slot (2.1.1), those of 16 and 8 bits together in words.
    Slot {
        (0x00 => _system_address),
        /// Block size, block count.
        (0x04 => blocks: ReadWrite<u32>),
        (0x08 => argument: ReadWrite<u32>),
        /// Transfer mode, command: writing it sends the command.
        (0x0c => command: ReadWrite<u32>),
        (0x10 => response: [ReadOnly<u32>; 4]),
        (0x20 => data: ReadWrite<u32>),
        (0x24 => state: ReadOnly<u32>),
        /// Host control 1, power control, and more.
        (0x28 => control: ReadWrite<u32>),
        /// Clock control, timeout control, software reset.
        (0x2c => clock: ReadWrite<u32>),
        /// Normal and error interrupt status. A one clears a bit.
        (0x30 => status: ReadWrite<u32>),
        /// What the status shows of what happens.
        (0x34 => status_enable: ReadWrite<u32>),
        /// What of it raises an interrupt.
        (0x38 => signal_enable: ReadWrite<u32>),
        (0x3c => _auto_command),
        (0x40 => capabilities: ReadOnly<u32>),
        (0x44 => @END),
    }
}

/// Transfer mode (2.2.5): counted blocks; stopped by the controller at the end; to the host; several.
const COUNT_ENABLE: u32 = 1 << 1;
const AUTO_STOP: u32 = 0b01 << 2;
const TO_HOST: u32 = 1 << 4;
const MANY: u32 = 1 << 5;
/// Command (2.2.6): with data; one that ends a transfer.
const WITH_DATA: u32 = 1 << 21;
const ABORT: u32 = 0b11 << 22;
const STOP_INDEX: u8 = 12;
/// Present state (2.2.9): the lines are in use.
const COMMAND_INHIBIT: u32 = 1 << 0;
const DATA_INHIBIT: u32 = 1 << 1;
/// Host control 1 and power control (2.2.10, 2.2.11).
const FOUR_LINES: u32 = 1 << 1;
const POWER_3_3V: u32 = 0b1111 << 8;
/// Clock control (2.2.14), the longest data timeout (2.2.15), software reset (2.2.16).
const INTERNAL_CLOCK: u32 = 1 << 0;
const INTERNAL_STABLE: u32 = 1 << 1;
const CARD_CLOCK: u32 = 1 << 2;
const LONGEST_TIMEOUT: u32 = 0xe << 16;
const RESET_ALL: u32 = 1 << 24;
const RESET_LINES: u32 = 0b11 << 25;
/// Interrupt status (2.2.17, 2.2.18).
const COMMAND_COMPLETE: u32 = 1 << 0;
const TRANSFER_COMPLETE: u32 = 1 << 1;
const WRITE_READY: u32 = 1 << 4;
const READ_READY: u32 = 1 << 5;
const ANY_ERROR: u32 = 1 << 15;
const COMMAND_TIMEOUT: u32 = 1 << 16;
const DATA_TIMEOUT: u32 = 1 << 20;
const ERRORS: u32 = 0x1ff << 16;
const EVENTS: u32 = COMMAND_COMPLETE | TRANSFER_COMPLETE | WRITE_READY | READ_READY | ERRORS;

/// Longest time for a command and its answer: 64 clocks later it has begun (Physical Layer 4.12.4), and at the slowest clock
/// both take half a millisecond.
const ANSWER_MS: u64 = 10;
/// Longest time that a card may take before it sends data (4.6.2.1), and be busy (4.6.2.2).
const ACCESS_MS: u64 = 100;
const BUSY_MS: u64 = 500;
/// Longest time for all data of a command. Cards that are busy for longer than they may be are known.
const TRANSFER_MS: u64 = 1000;
/// Longest time for the controller itself, and for its supply.
const SETTLE_MS: u64 = 100;
const POWER_UP_MS: u64 = 10;

/// A controller.
pub struct Sdhci {
    registers: Registers<Slot>,
    /// Frequency that the card's clock is made of, in hertz.
    base_clock: u32,
}

impl Sdhci {
    /// Takes over the controller, and switches the card's power on.
    ///
    /// # Safety
    /// The registers are mapped as device memory, and nothing else uses them.
    pub unsafe fn open(registers: &Range<u64>) -> Result<Self, CardError> {
        // SAFETY: the caller's promise.
        let registers: Registers<Slot> = unsafe { Registers::at(registers) };
        let base_clock = base_clock(registers.capabilities.get());
        let mut host = Self { registers, base_clock };
        host.reset(RESET_ALL)?;
        host.registers.control.set(POWER_3_3V);
        host.pause_ms(POWER_UP_MS);
        host.registers.signal_enable.set(0);
        host.registers.status_enable.set(EVENTS);
        Ok(host)
    }

    fn reset(&self, what: u32) -> Result<(), HostError> {
        self.registers.clock.set(self.registers.clock.get() | what);
        let deadline = Deadline::after_ms(SETTLE_MS);
        poll(deadline, || self.registers.clock.get() & what == 0)
    }

    /// Sends a command, and waits for the answer (3.7.1).
    fn send(&self, command: Command, transfer: u32) -> Result<(), HostError> {
        let is_abort = command.index == STOP_INDEX;
        let is_busy = command.response == Response::Busy;
        self.wait_for_lines(transfer != 0 || is_busy && !is_abort)?;
        let registers = &self.registers;
        registers.status.set(u32::MAX);
        registers.argument.set(command.argument);
        let kind = response_bits(command.response) | if is_abort { ABORT } else { 0 };
        registers.command.set(u32::from(command.index) << 24 | kind | transfer);
        self.wait_for(COMMAND_COMPLETE, Deadline::after_ms(ANSWER_MS))?;
        if is_busy { self.wait_for(TRANSFER_COMPLETE, Deadline::after_ms(BUSY_MS)) } else { Ok(()) }
    }

    /// Waits until a command can be sent (3.7.1.1): one that needs the data lines may find a card still busy on them.
    fn wait_for_lines(&self, with_data: bool) -> Result<(), HostError> {
        let (inhibit, limit) =
            if with_data { (COMMAND_INHIBIT | DATA_INHIBIT, BUSY_MS) } else { (COMMAND_INHIBIT, ANSWER_MS) };
        poll(Deadline::after_ms(limit), || self.registers.state.get() & inhibit == 0)
    }

    /// Waits until something happens, and clears it.
    fn wait_for(&self, event: u32, deadline: Deadline) -> Result<(), HostError> {
        let mut status = 0;
        poll(deadline, || {
            status = self.registers.status.get();
            status & (event | ANY_ERROR) != 0
        })?;
        if status & (COMMAND_TIMEOUT | DATA_TIMEOUT) != 0 {
            return Err(HostError::Silent);
        }
        if status & ANY_ERROR != 0 {
            return Err(HostError::Failed);
        }
        self.registers.status.set(event);
        Ok(())
    }

    /// Makes the controller ready for the next command if this one has failed (3.10.1).
    fn recover<T>(&self, result: Result<T, HostError>) -> Result<T, HostError> {
        if result.is_err() {
            self.reset(RESET_LINES)?;
        }
        result
    }

    /// A command with so many sectors of data, which `each` moves one sector after the other (3.7.2.1).
    fn transfer(
        &self,
        command: Command,
        direction: u32,
        sectors: usize,
        mut each: impl FnMut(usize, Deadline) -> Result<(), HostError>,
    ) -> Result<u32, HostError> {
        let deadline = Deadline::after_ms(TRANSFER_MS);
        let count = u32::try_from(sectors).map_err(|_| HostError::Failed)?;
        let mode = if count > 1 { COUNT_ENABLE | AUTO_STOP | MANY } else { 0 };
        self.registers.blocks.set(count << 16 | BLOCK_SIZE);
        self.send(command, WITH_DATA | direction | mode)?;
        let answer = self.registers.response[0].get();
        (0..sectors).try_for_each(|sector| each(sector, deadline))?;
        self.wait_for(TRANSFER_COMPLETE, deadline)?;
        Ok(answer)
    }
}

/// Size of a sector in the block size register, and its words.
const BLOCK_SIZE: u32 = 512;
const WORDS: usize = 128;
const _: () = assert!(BLOCK_SIZE as u64 == SECTOR_SIZE && WORDS as u64 * 4 == SECTOR_SIZE);

impl Host for Sdhci {
    fn command(&mut self, command: Command) -> Result<[u32; 4], HostError> {
        let result = self.send(command, 0);
        self.recover(result)?;
        Ok([0, 1, 2, 3].map(|index: usize| self.registers.response[index].get()))
    }

    fn read(&mut self, command: Command, buffer: &mut [u8]) -> Result<u32, HostError> {
        // SAFETY: any bytes are words, and any words bytes.
        let ([], words, []) = (unsafe { buffer.align_to_mut::<u32>() }) else {
            return Err(HostError::Failed);
        };
        let (sectors, _) = words.as_chunks_mut::<WORDS>();
        let result = self.transfer(command, TO_HOST, sectors.len(), |index, deadline| {
            self.wait_for(READ_READY, deadline.min(Deadline::after_ms(ACCESS_MS)))?;
            sectors[index].iter_mut().for_each(|word| *word = self.registers.data.get().to_le());
            Ok(())
        });
        self.recover(result)
    }

    fn write(&mut self, command: Command, data: &[u8]) -> Result<u32, HostError> {
        // SAFETY: any bytes are words.
        let ([], words, []) = (unsafe { data.align_to::<u32>() }) else { return Err(HostError::Failed) };
        let (sectors, _) = words.as_chunks::<WORDS>();
        let result = self.transfer(command, 0, sectors.len(), |index, deadline| {
            self.wait_for(WRITE_READY, deadline)?;
            sectors[index].iter().for_each(|word| self.registers.data.set(u32::from_le(*word)));
            Ok(())
        });
        self.recover(result)
    }

    /// 3.2.1 to 3.2.3.
    fn set_clock(&mut self, hertz: u32) -> Result<(), HostError> {
        let clock = &self.registers.clock;
        let setting = LONGEST_TIMEOUT | divider_bits(self.base_clock, hertz) | INTERNAL_CLOCK;
        clock.set(LONGEST_TIMEOUT);
        clock.set(setting);
        poll(Deadline::after_ms(SETTLE_MS), || clock.get() & INTERNAL_STABLE != 0)?;
        clock.set(setting | CARD_CLOCK);
        // A card wants 74 clocks before its first command (Physical Layer 6.4.1): a millisecond has more.
        self.pause_ms(1);
        Ok(())
    }

    fn use_four_lines(&mut self) {
        self.registers.control.set(self.registers.control.get() | FOUR_LINES);
    }

    fn pause_ms(&mut self, milliseconds: u64) {
        // The time is over, which is what it is waited for.
        let _ = Deadline::after_ms(milliseconds).wait(|| false);
    }
}

/// Polls until something is so.
fn poll(deadline: Deadline, is_so: impl FnMut() -> bool) -> Result<(), HostError> {
    if deadline.wait(is_so) { Ok(()) } else { Err(HostError::Silent) }
}

/// Response type, and what is checked (2.2.6, 3.7.1.1).
fn response_bits(response: Response) -> u32 {
    const CHECKSUM: u32 = 1 << 19;
    const INDEX: u32 = 1 << 20;
    match response {
        Response::None => 0,
        Response::Long => 0b01 << 16 | CHECKSUM,
        Response::Unchecked => 0b10 << 16,
        Response::Short => 0b10 << 16 | CHECKSUM | INDEX,
        Response::Busy => 0b11 << 16 | CHECKSUM | INDEX,
    }
}

/// The base clock (2.2.26), 100 MHz where the controller does not say.
fn base_clock(capabilities: u32) -> u32 {
    match capabilities >> 8 & 0xff {
        0 => 100_000_000,
        megahertz => megahertz * 1_000_000,
    }
}

/// The 10-bit divider: the base clock is divided by twice its value, or not at all (2.2.14).
fn divider_bits(base: u32, hertz: u32) -> u32 {
    let divider = if base <= hertz { 0 } else { base.div_ceil(2 * hertz).min(0x3ff) };
    (divider & 0xff) << 8 | divider >> 8 << 6
}

#[cfg(test)]
mod tests;
