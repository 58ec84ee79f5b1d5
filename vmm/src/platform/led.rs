//! Which of a board's LEDs shows activity.

use crate::device_tree::Path;
use core::ops::Range;
use heapless::Vec;

/// LEDs of which one can be it.
const MAX_LEDS: usize = 4;
/// Pins of the controller (BCM2711 ARM Peripherals, 5.1).
const PINS: u32 = 58;
/// Flag of a pin: the LED is on while it is low.
const ACTIVE_LOW: u32 = 1 << 0;

/// An LED at a pin of a BCM2711's GPIO controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// The controller's registers.
    pub controller: Range<u64>,
    /// The pin's number, below 58.
    pub pin: u32,
    /// Whether it is on while the pin is low.
    pub active_low: bool,
}

/// What the tree says about LEDs, as far as it has been read.
#[derive(Default)]
pub(super) struct Leds {
    /// The controller's handle and registers.
    controller: Option<(u32, Range<u64>)>,
    /// Each LED's `gpios`: the handle of a controller, the pin, and flags.
    leds: Vec<[u32; 3], MAX_LEDS>,
}

impl Leds {
    /// Takes in a node.
    pub(super) fn visit(&mut self, path: &Path<'_, '_>) {
        let node = path.node();
        if node.is_compatible("brcm,bcm2711-gpio") {
            self.controller = node.cell("phandle", 0).zip(path.reg(0));
        }
        if path.parent() == Some("leds") {
            let cell = |index| node.cell("gpios", index);
            let led = || Some([cell(0)?, cell(1)?, cell(2)?]);
            // A board with more has this one among the first.
            let _ = led().map(|led| self.leds.push(led));
        }
    }

    /// The first LED that the controller drives: on a Raspberry Pi 4 the green one. The red one is the firmware's.
    pub(super) fn activity(&self) -> Option<Led> {
        let (handle, controller) = self.controller.as_ref()?;
        let is_there = |[of, pin, _]: &&[u32; 3]| of == handle && *pin < PINS;
        let [_, pin, flags] = *self.leds.iter().find(is_there)?;
        Some(Led { controller: controller.clone(), pin, active_low: flags & ACTIVE_LOW != 0 })
    }
}

#[cfg(test)]
mod tests {
    use crate::{device_tree::tests::Aligned, platform::Platform};
    use vm_fdt::FdtWriter;

    /// A board with LEDs at these pins of these controllers; the BCM2711's own has handle 6.
    fn board(leds: &[[u32; 3]]) -> Aligned {
        let mut fdt = FdtWriter::new().unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_u32("#address-cells", 1).unwrap();
        fdt.property_u32("#size-cells", 1).unwrap();
        let parent = fdt.begin_node("leds").unwrap();
        for (index, gpios) in leds.iter().enumerate() {
            let node = fdt.begin_node(&alloc::format!("led-{index}")).unwrap();
            fdt.property_array_u32("gpios", gpios).unwrap();
            fdt.end_node(node).unwrap();
        }
        fdt.end_node(parent).unwrap();
        let gpio = fdt.begin_node("gpio@7e200000").unwrap();
        fdt.property_string("compatible", "brcm,bcm2711-gpio").unwrap();
        fdt.property_array_u32("reg", &[0x7e20_0000, 0xb4]).unwrap();
        fdt.property_u32("phandle", 6).unwrap();
        fdt.end_node(gpio).unwrap();
        fdt.end_node(root).unwrap();
        Aligned::new(&fdt.finish().unwrap())
    }

    fn led(leds: &[[u32; 3]]) -> Option<(u32, bool)> {
        let tree = board(leds);
        Platform::from_device_tree(tree.bytes()).unwrap().led.map(|led| (led.pin, led.active_low))
    }

    #[test]
    fn the_first_one_of_the_soc_s_own_controller() {
        assert_eq!(led(&[[10, 2, 1], [6, 42, 0]]), Some((42, false)));
        assert_eq!(led(&[[6, 42, 1], [6, 41, 0]]), Some((42, true)));
    }

    #[test]
    fn a_pin_that_cannot_be_is_none() {
        assert_eq!(led(&[[6, 58, 0]]), None);
        assert_eq!(led(&[[10, 42, 0]]), None);
        assert_eq!(led(&[]), None);
    }
}
