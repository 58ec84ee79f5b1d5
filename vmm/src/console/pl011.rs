//! The board's PL011 UART (Arm DDI 0183).

use super::Sink;
use crate::platform;
use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::ReadWrite,
};

register_structs! {
    /// The registers that set the UART up (3.2).
    SetUp {
        (0x00 => reserved),
        /// `UARTIBRD`: clocks in the sixteenth part of a bit, ...
        (0x24 => integer_divisor: ReadWrite<u32>),
        /// `UARTFBRD`: ... and 64ths of a clock.
        (0x28 => fractional_divisor: ReadWrite<u32>),
        /// `UARTLCR_H`. A write makes the divisors count, too.
        (0x2c => line: ReadWrite<u32>),
        /// `UARTCR`.
        (0x30 => control: ReadWrite<u32>),
        (0x34 => @END),
    }
}

/// `UARTLCR_H.FEN`: the FIFOs are on.
const FEN: u32 = 1 << 4;
/// `UARTLCR_H.WLEN`: 8 bits, and by the other bits being 0: no parity, one stop bit.
const EIGHT_BITS: u32 = 0b11 << 5;
/// `UARTCR.UARTEN`: the UART is on.
const UARTEN: u32 = 1;
/// `UARTCR.TXE`: it sends.
const TXE: u32 = 1 << 8;
/// `UARTCR.RXE`: it receives.
const RXE: u32 = 1 << 9;

/// Bits a second, where the hypervisor sets the rate.
const BAUD_RATE: u64 = 115_200;

/// Received bytes wait, or have waited for the time of a few characters.
const RECEIVED: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

/// Address of the registers, for reports that cannot wait for a lock. 0: no UART.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

/// The UART, once there is one.
pub struct Device {
    uart: Option<Uart<'static>>,
}

// SAFETY: device registers that this value alone reaches.
unsafe impl Send for Device {}

impl Sink for Device {
    fn put(&mut self, byte: u8) {
        if let Some(uart) = &mut self.uart {
            while uart.is_tx_fifo_full() {
                core::hint::spin_loop();
            }
            uart.write_word(byte);
        }
    }
}

impl Device {
    /// No UART: what is written is lost.
    pub const NONE: Self = Self { uart: None };

    /// The UART of the device tree.
    ///
    /// # Safety
    /// `uart` is what the device tree says; its registers are mapped as device memory, or the MMU is off.
    pub unsafe fn open(uart: &platform::Uart) -> Self {
        let Ok(address) = usize::try_from(uart.registers.start) else { return Self::NONE };
        REGISTERS.store(address, Ordering::Relaxed);
        if let Some(clock) = uart.clock {
            // SAFETY: the caller's promise.
            unsafe { set_up(&*core::ptr::with_exposed_provenance(address), clock) };
        }
        // SAFETY: the caller's promise.
        unsafe { at(address) }
    }

    /// The UART once more, for a report that cannot wait for whoever holds the console.
    ///
    /// # Safety
    /// The caller does not return to what it interrupted.
    pub unsafe fn emergency() -> Self {
        // SAFETY: the address is 0 or was `open`'s. Another core may be writing to the UART, too: nothing
        // but the output is at stake.
        unsafe { at(REGISTERS.load(Ordering::Relaxed)) }
    }

    /// Takes received bytes, as many as there are and `bytes` holds; returns how many. When there are fewer, the next
    /// one interrupts.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let Some(uart) = &mut self.uart else { return 0 };
        // Before the FIFO is read: a byte that comes later sets it again.
        uart.clear_interrupts(RECEIVED);
        let mut count = 0;
        while let Some(free) = bytes.get_mut(count) {
            match uart.read_word() {
                Ok(Some(byte)) => {
                    *free = byte;
                    count += 1;
                }
                Ok(None) => {
                    uart.set_interrupt_masks(RECEIVED);
                    break;
                }
                // A line error: the byte is lost.
                Err(_) => {}
            }
        }
        count
    }

    /// Leaves bytes in the UART, without an interrupt, until the next call of `receive`.
    pub fn hold(&mut self) {
        if let Some(uart) = &mut self.uart {
            uart.set_interrupt_masks(Interrupts::empty());
        }
    }
}

/// Sets rate and line, and turns the UART on, unless the firmware has done that.
///
/// The FIFO stays on or off. Turning it on would empty it, and QEMU's UART receives from the first moment on:
/// input from a pipe comes while the hypervisor starts.
fn set_up(registers: &SetUp, clock: u32) {
    if registers.control.get() & UARTEN != 0 {
        return;
    }
    let divisor = 4 * u64::from(clock) / BAUD_RATE;
    let (Ok(integer @ 1..=0xffff), Ok(fraction)) = (u32::try_from(divisor / 64), u32::try_from(divisor % 64))
    else {
        return; // The clock is too slow for the rate, or too fast.
    };
    registers.integer_divisor.set(integer);
    registers.fractional_divisor.set(fraction);
    registers.line.set(registers.line.get() & FEN | EIGHT_BITS);
    registers.control.set(UARTEN | TXE | RXE);
}

/// Waits until everything is sent: a machine that is switched off sends no more.
pub fn drain() {
    // SAFETY: the address is 0 or was `open`'s; only flags are read.
    if let Some(uart) = unsafe { at(REGISTERS.load(Ordering::Relaxed)) }.uart {
        while uart.is_busy() {
            core::hint::spin_loop();
        }
    }
}

/// # Safety
/// `address` is 0 or the address of a PL011's registers, mapped as device memory.
unsafe fn at(address: usize) -> Device {
    let registers = NonNull::new(core::ptr::with_exposed_provenance_mut::<PL011Registers>(address));
    // SAFETY: the caller's promise.
    let uart = registers.map(|registers| Uart::new(unsafe { UniqueMmioPointer::new(registers) }));
    Device { uart }
}
