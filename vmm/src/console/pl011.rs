//! The board's PL011 UART (Arm DDI 0183).

use super::Sink;
use crate::platform;
use arm_pl011_uart::{
    DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer,
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Bits a second, where the hypervisor sets the rate.
const BAUD_RATE: u32 = 115_200;

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

    /// The UART of the device tree, set up if its clock is known and nothing has been received yet.
    ///
    /// Setting it up empties the FIFO, and a UART that has received something works already. QEMU's does from
    /// the start: input from a pipe is there before the first instruction.
    ///
    /// # Safety
    /// `uart` is what the device tree says; its registers are mapped as device memory, or the MMU is off.
    pub unsafe fn open(uart: &platform::Uart) -> Self {
        let Ok(address) = usize::try_from(uart.registers.start) else { return Self::NONE };
        REGISTERS.store(address, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        let mut device = unsafe { at(address) };
        if let (Some(clock), Some(uart)) = (uart.clock, &mut device.uart)
            && uart.is_rx_fifo_empty()
        {
            set_up(uart, clock);
            // QEMU sends nothing to a full FIFO until it is read. If a byte came just before the FIFO was
            // emptied, nobody else would read it.
            if uart.is_rx_fifo_empty() {
                // SAFETY: UARTDR is the first register; an empty FIFO loses nothing.
                unsafe { core::ptr::with_exposed_provenance::<u32>(address).read_volatile() };
            }
        }
        device
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

    /// Hands received bytes to `accept` while `has_room`, until no more have come. Bytes that find no room
    /// wait in the UART, and their interrupt is off until the next call.
    pub fn receive(&mut self, has_room: impl Fn() -> bool, mut accept: impl FnMut(u8)) {
        let Some(uart) = &mut self.uart else { return };
        uart.clear_interrupts(RECEIVED);
        while has_room() {
            match uart.read_word() {
                Ok(Some(byte)) => accept(byte),
                Ok(None) => return uart.set_interrupt_masks(RECEIVED),
                // A line error: the byte is lost.
                Err(_) => {}
            }
        }
        uart.set_interrupt_masks(Interrupts::empty());
    }
}

fn set_up(uart: &mut Uart<'_>, clock: u32) {
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    // A clock too slow for the rate leaves the UART as the firmware set it.
    let _ = uart.enable(line, BAUD_RATE, clock);
}

/// # Safety
/// `address` is 0 or the address of a PL011's registers, mapped as device memory.
unsafe fn at(address: usize) -> Device {
    let registers = NonNull::new(core::ptr::with_exposed_provenance_mut::<PL011Registers>(address));
    // SAFETY: the caller's promise.
    let uart = registers.map(|registers| Uart::new(unsafe { UniqueMmioPointer::new(registers) }));
    Device { uart }
}
