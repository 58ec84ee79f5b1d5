//! The activity LED, at a pin of the GPIO controller (BCM2711 ARM Peripherals, 5.2).

use super::NoDevice;
use crate::{mmio::Registers, platform::Led};
use spin::Mutex;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadWrite, WriteOnly},
};

/// Pins to a register of functions, and what says that one is an output.
const PINS_TO_FUNCTIONS: u32 = 10;
const FUNCTION_BITS: u32 = 3;
const FUNCTION_MASK: u32 = 0b111;
const OUTPUT: u32 = 0b001;

register_structs! {
    /// The registers of the GPIO controller.
    Gpio {
        /// `GPFSEL0` to `GPFSEL5`: what each pin is.
        (0x00 => functions: [ReadWrite<u32>; 6]),
        (0x18 => reserved0),
        /// `GPSET0`, `GPSET1`: pins that go high.
        (0x1c => set: [WriteOnly<u32>; 2]),
        (0x24 => reserved1),
        /// `GPCLR0`, `GPCLR1`: pins that go low.
        (0x28 => clear: [WriteOnly<u32>; 2]),
        (0x30 => @END),
    }
}

struct Pin {
    gpio: Registers<Gpio>,
    led: Led,
}

static PIN: Mutex<Option<Pin>> = Mutex::new(None);

/// Makes the pin an output. The LED stays as the firmware has left it.
///
/// # Safety
/// The controller's registers are mapped as device memory.
pub(super) unsafe fn init(led: &Led) {
    // SAFETY: the caller's promise.
    let gpio: Registers<Gpio> = unsafe { Registers::at(&led.controller) };
    let [word, place] = [led.pin / PINS_TO_FUNCTIONS, led.pin % PINS_TO_FUNCTIONS * FUNCTION_BITS];
    let Some(functions) = gpio.functions.get(word as usize) else { return };
    functions.set(functions.get() & !(FUNCTION_MASK << place) | OUTPUT << place);
    *PIN.lock() = Some(Pin { gpio, led: led.clone() });
}

/// Switches the LED on or off.
pub fn light(on: bool) -> Result<(), NoDevice> {
    let pin = PIN.lock();
    let Pin { gpio, led } = pin.as_ref().ok_or(NoDevice)?;
    let bank = if on == led.active_low { &gpio.clear } else { &gpio.set };
    bank[(led.pin / u32::BITS) as usize].set(1 << (led.pin % u32::BITS));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmio::tests::Memory;

    #[test]
    fn a_pin_is_made_an_output_and_driven() {
        let memory = Memory::<13>::new([(1, u32::MAX)]);
        let led = Led { controller: memory.range(), pin: 15, active_low: true };
        // SAFETY: memory that is as large as the registers.
        unsafe { init(&led) };
        assert_eq!(memory.word(1), !(0b110 << 15), "function 1 of pin 15");
        light(true).unwrap();
        assert_eq!((memory.word(7), memory.word(10)), (0, 1 << 15), "low is on");
        light(false).unwrap();
        assert_eq!(memory.word(7), 1 << 15);
        *PIN.lock() = None;
    }
}
