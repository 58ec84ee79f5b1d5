//! The mini UART of a BCM2835 and its successors (BCM2711 ARM Peripherals, 2.2): for last words only.
//!
//! On a Raspberry Pi 4 it is at the pins where the console is expected, until the PL011 is moved there. Where it is off, its
//! registers read as 0.

use super::Sink;
use core::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, WriteOnly},
};

register_structs! {
    /// The registers of which `AUX_MU_IO_REG` is the first.
    Registers {
        /// `AUX_MU_IO_REG`: a byte to send.
        (0x00 => data: WriteOnly<u32>),
        (0x04 => reserved),
        /// `AUX_MU_LSR_REG`: the state of the line.
        (0x14 => state: ReadOnly<u32>),
        (0x18 => @END),
    }
}

/// `AUX_MU_LSR_REG`: there is room for a byte.
const ROOM: u32 = 1 << 5;
/// How often that is asked for, at most: several times what a byte takes at 115,200 bits a second.
const PATIENCE: u32 = 100_000;

/// Address of the registers. 0: no mini UART.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

/// Remembers where a mini UART is.
///
/// # Safety
/// Its registers are mapped as device memory, or the MMU is off.
pub unsafe fn init(registers: &Range<u64>) {
    REGISTERS.store(usize::try_from(registers.start).unwrap_or(0), Ordering::Relaxed);
}

/// The mini UART, if there is one.
pub(super) struct MiniUart(Option<&'static Registers>);

impl MiniUart {
    pub(super) fn find() -> Self {
        let address = REGISTERS.load(Ordering::Relaxed);
        // SAFETY: `init`'s caller has promised it.
        Self((address != 0).then(|| unsafe { &*core::ptr::with_exposed_provenance(address) }))
    }
}

impl Sink for MiniUart {
    fn put(&mut self, byte: u8) {
        let Some(registers) = self.0 else { return };
        if (0..PATIENCE).any(|_| registers.state.get() & ROOM != 0) {
            registers.data.set(byte.into());
        } else {
            // It is off, and there are many bytes to come.
            self.0 = None;
        }
    }
}
