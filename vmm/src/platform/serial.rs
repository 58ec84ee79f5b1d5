//! Which of a board's UARTs is the console.

use super::{MAX_RANGES, Uart};
use crate::device_tree::Path;
use heapless::Vec;

/// UARTs of which one can be the console.
const MAX_UARTS: usize = 8;
/// The aliases by which a UART may be named (`/aliases`). The first is the console where nothing else is said.
const ALIASES: [&str; 2] = ["serial0", "serial1"];
/// Frequency of the PL011s' clock that the firmware of a Raspberry Pi 4 sets, in hertz: `init_uart_clock` in `config.txt`, which
/// has this value if it is not given. The tree's clock is a part of the clock manager, without a frequency.
const BCM2711_CLOCK: u32 = 48_000_000;

/// What the tree says about UARTs, as far as it has been read.
#[derive(Default)]
pub(super) struct Serial<'a> {
    uarts: Vec<Found<'a>, MAX_UARTS>,
    /// Handles and frequencies of fixed clocks.
    clocks: Vec<(u32, u32), MAX_RANGES>,
    /// `stdout-path` of `/chosen`, without what follows the name.
    stdout: &'a str,
    /// The paths that [`ALIASES`] stand for.
    aliases: [&'a str; ALIASES.len()],
    is_bcm2711: bool,
}

/// A PL011 and its place in the tree.
struct Found<'a> {
    name: &'a str,
    parent: &'a str,
    uart: Uart,
    /// Handle of its clock.
    clock: Option<u32>,
}

impl Found<'_> {
    /// Whether the tree's path to it ends like this one.
    fn is_at(&self, path: &str) -> bool {
        let mut names = path.rsplit('/');
        names.next() == Some(self.name) && names.next() == Some(self.parent)
    }
}

impl<'a> Serial<'a> {
    /// Takes in a node.
    pub(super) fn visit(&mut self, path: &Path<'_, 'a>) {
        let node = path.node();
        match node.name {
            "chosen" => {
                let name = node.string("stdout-path").unwrap_or_default();
                self.stdout = name.split(':').next().unwrap_or_default();
            }
            "aliases" => self.aliases = ALIASES.map(|alias| node.string(alias).unwrap_or_default()),
            "" => self.is_bcm2711 = node.is_compatible("brcm,bcm2711"),
            _ => {}
        }
        let clock = || Some((node.cell("phandle", 0)?, node.cell("clock-frequency", 0)?));
        if let (true, Some(clock)) = (node.is_compatible("fixed-clock"), clock()) {
            // A board with more fixed clocks keeps the rate that the firmware set.
            let _ = self.clocks.push(clock);
        }
        if node.is_enabled() && node.is_compatible("arm,pl011") {
            self.visit_uart(path);
        }
    }

    fn visit_uart(&mut self, path: &Path<'_, 'a>) {
        let Some(registers) = path.reg(0) else { return };
        let uart = Uart { registers, interrupt: path.interrupt(0), clock: None };
        let (name, parent) = (path.node().name, path.parent().unwrap_or_default());
        // A board with more of them has its console among the first, or by its name.
        let _ = self.uarts.push(Found { name, parent, uart, clock: path.node().cell("clocks", 0) });
    }

    /// The console: the UART that `stdout-path` names, else the one called `serial0`, else the first.
    pub(super) fn console(&self) -> Option<Uart> {
        let named = |path: &str| self.uarts.iter().find(|found| found.is_at(path));
        let found = named(self.stdout_path()).or_else(|| named(self.aliases[0])).or(self.uarts.first())?;
        Some(Uart { clock: self.frequency(found.clock), ..found.uart.clone() })
    }

    fn stdout_path(&self) -> &'a str {
        let alias = ALIASES.iter().position(|alias| *alias == self.stdout);
        alias.map_or(self.stdout, |alias| self.aliases[alias])
    }

    fn frequency(&self, clock: Option<u32>) -> Option<u32> {
        let fixed = self.clocks.iter().find(|(handle, _)| Some(*handle) == clock).map(|(_, hertz)| *hertz);
        fixed.or(self.is_bcm2711.then_some(BCM2711_CLOCK))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use crate::device_tree::tests::Aligned;
    use vm_fdt::FdtWriter;

    /// The address of the console of a Raspberry Pi 4 whose `stdout-path` is this.
    fn console(stdout: &str, serial0: &str) -> Option<(u64, Option<u32>)> {
        let mut fdt = FdtWriter::new().unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_string("compatible", "brcm,bcm2711").unwrap();
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 1).unwrap();
        let node = fdt.begin_node("aliases").unwrap();
        fdt.property_string("serial0", serial0).unwrap();
        fdt.property_string("serial1", "/soc/serial@7e215040").unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("chosen").unwrap();
        fdt.property_string("stdout-path", stdout).unwrap();
        fdt.end_node(node).unwrap();
        let soc = fdt.begin_node("soc").unwrap();
        fdt.property_u32("#address-cells", 1).unwrap();
        fdt.property_u32("#size-cells", 1).unwrap();
        fdt.property_array_u32("ranges", &[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000]).unwrap();
        for (address, compatible, status) in [
            (0x7e20_1400, "arm,pl011", "disabled"),
            (0x7e20_1000, "arm,pl011", "okay"),
            (0x7e20_1600, "arm,pl011", "okay"),
            (0x7e21_5040, "brcm,bcm2835-aux-uart", "okay"),
        ] {
            let node = fdt.begin_node(&alloc::format!("serial@{address:x}")).unwrap();
            fdt.property_string("compatible", compatible).unwrap();
            fdt.property_string("status", status).unwrap();
            fdt.property_array_u32("reg", &[address, 0x40]).unwrap();
            fdt.property_array_u32("clocks", &[7, 19]).unwrap();
            fdt.end_node(node).unwrap();
        }
        fdt.end_node(soc).unwrap();
        fdt.end_node(root).unwrap();
        let tree = Aligned::new(&fdt.finish().unwrap());
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        assert_eq!(platform.mini_uart, Some(0xfe21_5040..0xfe21_5080));
        platform.uart.map(|uart| (uart.registers.start, uart.clock))
    }

    #[test]
    fn the_console_is_the_one_that_is_named() {
        let at = |address| Some((address, Some(48_000_000)));
        assert_eq!(console("serial0:115200n8", "/soc/serial@7e201600"), at(0xfe20_1600));
        assert_eq!(console("/soc/serial@7e201600", "/soc/serial@7e201000"), at(0xfe20_1600));
    }

    #[test]
    fn a_name_of_something_else_counts_for_nothing() {
        let at = |address| Some((address, Some(48_000_000)));
        // The mini UART, and one that is disabled.
        assert_eq!(console("serial1:115200n8", "/soc/serial@7e201600"), at(0xfe20_1600));
        assert_eq!(console("serial0", "/soc/serial@7e201400"), at(0xfe20_1000));
        assert_eq!(console("", "/other/serial@7e201600"), at(0xfe20_1000));
    }
}
