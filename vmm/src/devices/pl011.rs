//! The PL011 UART (Arm DDI 0183), as a program for a real one expects it.
//!
//! The line behind it is perfect and infinitely fast, and no time passes in the model:
//!
//! - Transmission always has room: a byte is gone as soon as it is written, and whoever carries out the access
//!   takes it with [`Pl011::take_transmitted`].
//! - Parity, framing and break errors do not happen, nor do overruns: who feeds the receiver asks first
//!   ([`Pl011::has_room`]). Only loop-back can overrun it.
//! - The receive time-out (no byte for 32 bit periods) is over at once: its interrupt is raised when bytes wait
//!   after one has come, or after one has been read. A driver that reads one byte for each
//!   interrupt and then clears all interrupts gets another one, as it would when the time has passed.
//! - The modem at the other end is always ready.
//!
//! The enable bits of the UART and of its transmitter do not count: many programs written for emulated
//! boards leave them alone. A receiver that is turned off leaves the bytes where they come from.

#[cfg(test)]
mod tests;

use super::prime_cell::PrimeCell;
use bitflags::bitflags;
use heapless::Deque;

/// Bytes in the receive FIFO.
const FIFO_SIZE: usize = 32;

/// Offsets of the registers (DDI 0183, table 3-1).
mod register {
    pub(super) const DR: u64 = 0x000;
    pub(super) const RSR_ECR: u64 = 0x004;
    pub(super) const FR: u64 = 0x018;
    pub(super) const ILPR: u64 = 0x020;
    pub(super) const IBRD: u64 = 0x024;
    pub(super) const FBRD: u64 = 0x028;
    pub(super) const LCR_H: u64 = 0x02c;
    pub(super) const CR: u64 = 0x030;
    pub(super) const IFLS: u64 = 0x034;
    pub(super) const IMSC: u64 = 0x038;
    pub(super) const RIS: u64 = 0x03c;
    pub(super) const MIS: u64 = 0x040;
    pub(super) const ICR: u64 = 0x044;
    pub(super) const DMACR: u64 = 0x048;
}

/// Bit of `DR`: bytes were lost for want of room.
const DR_OVERRUN: u32 = 1 << 11;
/// The same in `RSR`.
const RSR_OVERRUN: u32 = 1 << 3;

bitflags! {
    /// Bits of `FR`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Flags: u32 {
        const CLEAR_TO_SEND = 1 << 0;
        const DATA_SET_READY = 1 << 1;
        const DATA_CARRIER_DETECT = 1 << 2;
        const RECEIVE_EMPTY = 1 << 4;
        const RECEIVE_FULL = 1 << 6;
        const TRANSMIT_EMPTY = 1 << 7;
        const RING = 1 << 8;
    }

    /// Bits of `LCR_H`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct LineControl: u32 {
        const FIFO_ENABLE = 1 << 4;
        const IMPLEMENTED = 0xff;
    }

    /// Bits of `CR`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Control: u32 {
        const LOOP_BACK = 1 << 7;
        const TRANSMIT_ENABLE = 1 << 8;
        const RECEIVE_ENABLE = 1 << 9;
        const DATA_TRANSMIT_READY = 1 << 10;
        const REQUEST_TO_SEND = 1 << 11;
        const OUT1 = 1 << 12;
        const OUT2 = 1 << 13;
        const IMPLEMENTED = 0xff87;
    }

    /// Bits of `IMSC`, `RIS`, `MIS` and `ICR`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Interrupts: u32 {
        const RING = 1 << 0;
        const CLEAR_TO_SEND = 1 << 1;
        const DATA_CARRIER_DETECT = 1 << 2;
        const DATA_SET_READY = 1 << 3;
        const RECEIVE = 1 << 4;
        const TRANSMIT = 1 << 5;
        const RECEIVE_TIMEOUT = 1 << 6;
        const OVERRUN = 1 << 10;
        const IMPLEMENTED = 0x7ff;
    }
}

/// The modem's lines, as `FR` shows them, and the interrupts that tell of their changes.
const MODEM_LINES: [(Flags, Interrupts); 4] = [
    (Flags::RING, Interrupts::RING),
    (Flags::CLEAR_TO_SEND, Interrupts::CLEAR_TO_SEND),
    (Flags::DATA_CARRIER_DETECT, Interrupts::DATA_CARRIER_DETECT),
    (Flags::DATA_SET_READY, Interrupts::DATA_SET_READY),
];

/// A PL011.
#[derive(Debug)]
pub struct Pl011 {
    received: Deque<u8, FIFO_SIZE>,
    transmitted: Option<u8>,
    /// Whether bytes were lost, as the next one read tells (`DR.OE`).
    overrun: bool,
    /// `RSR.OE`: the same, until it is cleared.
    receive_status: u32,
    low_power_divisor: u32,
    baud_rate: u32,
    baud_rate_fraction: u32,
    line_control: LineControl,
    control: Control,
    trigger_levels: u32,
    mask: Interrupts,
    pending: Interrupts,
    /// Whether a byte was read after the receive time-out's interrupt was last cleared, so that the time-out
    /// has begun anew.
    timeout_restarted: bool,
    dma_control: u32,
}

impl Pl011 {
    /// A UART after its reset (DDI 0183, table 3-1).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            received: Deque::new(),
            transmitted: None,
            overrun: false,
            receive_status: 0,
            low_power_divisor: 0,
            baud_rate: 0,
            baud_rate_fraction: 0,
            line_control: LineControl::empty(),
            control: Control::TRANSMIT_ENABLE.union(Control::RECEIVE_ENABLE),
            trigger_levels: 0x12,
            mask: Interrupts::empty(),
            pending: Interrupts::empty(),
            timeout_restarted: false,
            dma_control: 0,
        }
    }

    /// The level of the interrupt line. It can change with each access and each byte received.
    #[inline]
    #[must_use]
    pub const fn interrupt_level(&self) -> bool {
        !self.pending.intersection(self.mask).is_empty()
    }

    /// The byte that the last access sent, if it sent one.
    #[inline]
    pub const fn take_transmitted(&mut self) -> Option<u8> {
        self.transmitted.take()
    }

    /// Whether reading at this offset takes a byte, by which the interrupt line and the room for more may change; no
    /// other read changes anything.
    #[inline]
    #[must_use]
    pub const fn takes_by_read(offset: u64) -> bool {
        offset < register::DR + 4
    }

    /// Whether the receiver can take a byte.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.control.contains(Control::RECEIVE_ENABLE) && self.received.len() < self.capacity()
    }

    /// Receives a byte. Returns whether there was room for it; without, nothing changes.
    pub fn push(&mut self, byte: u8) -> bool {
        // There is room for it when the UART has room.
        if !self.has_room() || self.received.push_back(byte).is_err() {
            return false;
        }
        self.overrun = false;
        self.pending |= Interrupts::RECEIVE_TIMEOUT;
        if self.received.len() >= self.trigger_level() {
            self.pending |= Interrupts::RECEIVE;
        }
        true
    }

    /// Bytes that the receiver holds: without the FIFO there is one register.
    const fn capacity(&self) -> usize {
        if self.has_fifo() { FIFO_SIZE } else { 1 }
    }

    const fn has_fifo(&self) -> bool {
        self.line_control.contains(LineControl::FIFO_ENABLE)
    }

    /// Bytes that raise the receive interrupt (`IFLS.RXIFLSEL`); reserved values are as the highest.
    const fn trigger_level(&self) -> usize {
        match self.trigger_levels >> 3 {
            _ if !self.has_fifo() => 1,
            0 => FIFO_SIZE / 8,
            1 => FIFO_SIZE / 4,
            2 => FIFO_SIZE / 2,
            3 => FIFO_SIZE / 4 * 3,
            _ => FIFO_SIZE / 8 * 7,
        }
    }

    /// Reads `DR`.
    fn read_data(&mut self) -> u32 {
        let byte = u32::from(self.received.pop_front().unwrap_or(0));
        if self.received.len() < self.trigger_level() {
            self.pending -= Interrupts::RECEIVE;
        }
        self.timeout_restarted = !self.received.is_empty();
        self.pending.set(Interrupts::RECEIVE_TIMEOUT, self.timeout_restarted);
        if self.overrun { byte | DR_OVERRUN } else { byte }
    }

    /// Writes `DR`. The byte leaves at once, so that the transmitter is empty again.
    fn transmit(&mut self, byte: u8) {
        self.pending |= Interrupts::TRANSMIT;
        if !self.control.contains(Control::LOOP_BACK) {
            self.transmitted = Some(byte);
        } else if self.control.contains(Control::RECEIVE_ENABLE) && !self.push(byte) {
            self.overrun = true;
            self.receive_status = RSR_OVERRUN;
            self.pending |= Interrupts::OVERRUN;
        }
    }

    /// Reads `FR`.
    #[inline]
    fn flags(&self) -> Flags {
        let received = self.received.len();
        let mut flags = self.modem_lines() | Flags::TRANSMIT_EMPTY;
        flags.set(Flags::RECEIVE_EMPTY, received == 0);
        flags.set(Flags::RECEIVE_FULL, received >= self.capacity());
        flags
    }

    /// The modem's lines, which are the UART's own in loop-back (DDI 0183, 2.7.2 "Loopback testing").
    fn modem_lines(&self) -> Flags {
        let ready = Flags::CLEAR_TO_SEND | Flags::DATA_SET_READY | Flags::DATA_CARRIER_DETECT;
        if !self.control.contains(Control::LOOP_BACK) {
            return ready;
        }
        let mut lines = Flags::empty();
        lines.set(Flags::CLEAR_TO_SEND, self.control.contains(Control::REQUEST_TO_SEND));
        lines.set(Flags::DATA_SET_READY, self.control.contains(Control::DATA_TRANSMIT_READY));
        lines.set(Flags::DATA_CARRIER_DETECT, self.control.contains(Control::OUT1));
        lines.set(Flags::RING, self.control.contains(Control::OUT2));
        lines
    }

    fn set_control(&mut self, value: u32) {
        let before = self.modem_lines();
        self.control = Control::from_bits_retain(value) & Control::IMPLEMENTED;
        let changed = before ^ self.modem_lines();
        for (line, interrupt) in MODEM_LINES {
            if changed.contains(line) {
                self.pending |= interrupt;
            }
        }
    }

    /// Writes `LCR_H`. Turning the FIFO off empties it, which drivers rely on.
    fn set_line_control(&mut self, value: u32) {
        let had_fifo = self.has_fifo();
        self.line_control = LineControl::from_bits_retain(value) & LineControl::IMPLEMENTED;
        if had_fifo && !self.has_fifo() {
            self.received.clear();
            self.timeout_restarted = false;
            self.pending -= Interrupts::RECEIVE | Interrupts::RECEIVE_TIMEOUT;
        }
    }

    /// Writes `ICR`. A time-out that began after the last one was reported is over by now.
    fn clear_interrupts(&mut self, value: u32) {
        let cleared = Interrupts::from_bits_retain(value);
        self.pending -= cleared;
        if cleared.contains(Interrupts::RECEIVE_TIMEOUT) && self.timeout_restarted {
            self.timeout_restarted = false;
            self.pending |= Interrupts::RECEIVE_TIMEOUT;
        }
    }
}

impl Default for Pl011 {
    fn default() -> Self {
        Self::new()
    }
}

impl PrimeCell for Pl011 {
    /// Part 011 by Arm, revision 3: the one whose FIFO holds 32 bytes.
    const PERIPHERAL_ID: u32 = 0x0034_1011;

    #[inline]
    fn read_register(&mut self, offset: u64) -> u32 {
        match offset {
            register::DR => self.read_data(),
            register::RSR_ECR => self.receive_status,
            register::FR => self.flags().bits(),
            register::ILPR => self.low_power_divisor,
            register::IBRD => self.baud_rate,
            register::FBRD => self.baud_rate_fraction,
            register::LCR_H => self.line_control.bits(),
            register::CR => self.control.bits(),
            register::IFLS => self.trigger_levels,
            register::IMSC => self.mask.bits(),
            register::RIS => self.pending.bits(),
            register::MIS => (self.pending & self.mask).bits(),
            register::DMACR => self.dma_control,
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        match offset {
            register::DR => self.transmit(value.to_le_bytes()[0]),
            register::RSR_ECR => self.receive_status = 0,
            register::ILPR => self.low_power_divisor = value & 0xff,
            register::IBRD => self.baud_rate = value & 0xffff,
            register::FBRD => self.baud_rate_fraction = value & 0x3f,
            register::LCR_H => self.set_line_control(value),
            register::CR => self.set_control(value),
            register::IFLS => self.trigger_levels = value & 0x3f,
            register::IMSC => self.mask = Interrupts::from_bits_retain(value) & Interrupts::IMPLEMENTED,
            register::ICR => self.clear_interrupts(value),
            register::DMACR => self.dma_control = value & 7,
            _ => {}
        }
    }
}
