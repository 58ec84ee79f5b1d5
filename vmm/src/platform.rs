//! What the device tree says the board has.

mod led;
mod serial;

use crate::device_tree::{self, Path};
use core::{fmt, ops::Range};
use heapless::Vec;
pub use led::Led;
use led::Leds;
use serial::Serial;

/// Ranges of one kind that a board may have.
const MAX_RANGES: usize = 16;

/// The SD hosts of a BCM2711. On a Raspberry Pi 4 the first has the card, and the second one the radio; QEMU's has the
/// card at the second.
const SD_HOSTS: [&str; 2] = ["brcm,bcm2711-emmc2", "brcm,bcm2835-sdhci"];
/// Slots of virtio devices that are looked at: as many as QEMU's `virt` has.
pub const MAX_VIRTIO_SLOTS: usize = 32;

/// Cores that the hypervisor uses at most.
pub const MAX_CORES: usize = 8;

/// Ranges of physical addresses.
pub type Ranges = Vec<Range<u64>, MAX_RANGES>;

/// A board.
#[derive(Debug, Clone, Default)]
pub struct Platform<'a> {
    /// RAM.
    pub memory: Ranges,
    /// Parts of RAM that the firmware keeps, or keeps something in.
    pub reserved: Ranges,
    /// Parts of RAM that must not even be mapped.
    pub unmapped: Ranges,
    /// The console.
    pub uart: Option<Uart>,
    /// Registers of a BCM2835's second, smaller UART, which is no console, but may be where someone looks.
    pub mini_uart: Option<Range<u64>>,
    /// The interrupt controller.
    pub gic: Option<Gic>,
    /// Number of EL2's physical timer interrupt.
    pub timer_interrupt: Option<u32>,
    /// Number of the virtual timer's interrupt.
    pub guest_timer_interrupt: Option<u32>,
    /// How the firmware is called.
    pub psci: Option<Psci>,
    /// Registers of a BCM2835's power manager.
    pub power_manager: Option<Range<u64>>,
    /// Registers of a Raspberry Pi's mailboxes, by which its firmware is asked.
    pub mailbox: Option<Range<u64>>,
    /// The LED that shows activity, on a Raspberry Pi.
    pub led: Option<Led>,
    /// Registers of a generator of random numbers, an RNG200.
    pub noise: Option<Range<u64>>,
    /// The cores, in the order of the device tree.
    pub cores: Vec<Core, MAX_CORES>,
    /// The bundle that the boot loader has put into memory.
    pub bundle: Option<Range<u64>>,
    /// The command line.
    pub bootargs: &'a str,
    /// Registers of the clock.
    pub clock: Option<Range<u64>>,
    /// Registers of the SD hosts that may have the card, the BCM2711's second one first.
    pub sd_hosts: [Option<Range<u64>>; SD_HOSTS.len()],
    /// Slots of a virtio-mmio bus, in the order of the device tree.
    pub virtio_slots: Vec<VirtioSlot, MAX_VIRTIO_SLOTS>,
    /// What the boot loader has put there to start random numbers from.
    pub seeds: [&'a [u8]; 2],
}

/// A PL011 UART.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uart {
    /// Its registers.
    pub registers: Range<u64>,
    /// Its interrupt's number.
    pub interrupt: Option<u32>,
    /// Frequency of its clock in hertz, where the device tree says it. Elsewhere the firmware has set the rate.
    pub clock: Option<u32>,
}

/// A slot of a virtio-mmio bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtioSlot {
    /// Its registers.
    pub registers: Range<u64>,
    /// Its interrupt's number.
    pub interrupt: Option<u32>,
}

/// An Arm generic interrupt controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gic {
    /// The distributor's registers.
    pub distributor: Range<u64>,
    /// What each core has.
    pub cpus: GicCpus,
    /// Number of the interrupt by which it tells that a guest's list registers run empty.
    pub maintenance: Option<u32>,
}

/// The part of an interrupt controller that each core has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one, and no heap yet when it is made")]
pub enum GicCpus {
    /// GICv2: one CPU interface, and what it has for guests, banked by core.
    Interface {
        /// The CPU interface.
        cpu: Range<u64>,
        /// The control registers of the virtual CPU interface (GICH).
        control: Range<u64>,
        /// The virtual CPU interface that guests see (GICV).
        guest: Range<u64>,
    },
    /// GICv3: regions of redistributors.
    Redistributors(Ranges),
}

/// A core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    /// Its affinity, as in `MPIDR_EL1`.
    pub affinity: u64,
    /// How it is started.
    pub start: Start,
}

/// How a core is started (`enable-method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// `CPU_ON` of PSCI.
    Psci,
    /// It spins until its entry address is written here.
    SpinTable(u64),
    /// In a way that is not known here.
    Unknown,
}

/// The instruction that calls the firmware (PSCI).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Psci {
    /// `SMC`.
    Smc,
    /// `HVC`.
    Hvc,
}

/// Something that every board must have is missing from the device tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No PL011 for the console.
    Uart,
    /// No memory node.
    Memory,
    /// No GICv2 or GICv3.
    Gic,
    /// No architected timer, or not the interrupt of its EL2 timer.
    Timer,
    /// No `linux,initrd-start` and `linux,initrd-end` in `/chosen`.
    Bundle,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uart => "the device tree has no UART arm,pl011 that is enabled, for the console",
            Self::Memory => "the device tree names no memory",
            Self::Gic => "the device tree has no interrupt controller arm,gic-400, arm,cortex-a15-gic or arm,gic-v3",
            Self::Timer => "the device tree has no arm,armv8-timer with an interrupt for EL2",
            Self::Bundle => "no bundle: give one with QEMU's -initrd or the firmware's initramfs (/chosen linux,initrd-start)",
        })
    }
}

impl<'a> Platform<'a> {
    /// Reads a device tree. What is missing is left empty.
    pub fn from_device_tree(tree: &'a [u8]) -> Result<Self, device_tree::Error> {
        let mut platform = Self::default();
        let (mut serial, mut leds) = (Serial::default(), Leds::default());
        for range in device_tree::reserved(tree)? {
            push(&mut platform.reserved, Some(range));
        }
        device_tree::walk(tree, |path| {
            platform.visit(path);
            serial.visit(path);
            leds.visit(path);
        })?;
        platform.uart = serial.console();
        platform.led = leds.activity();
        platform.keep_release_addresses();
        Ok(platform)
    }

    /// What a board is taken to have that came without a usable device tree, by its processor's `MIDR_EL1` and by where
    /// the image is: the UARTs of a Raspberry Pi 4, to complain on, and its power manager (BCM2711 ARM Peripherals, 1.2,
    /// "low peripheral mode"). No other board is known that has a Cortex-A72 and RAM below 1 GiB, but no tree.
    #[must_use]
    pub fn guess(midr: u64, image: u64) -> Self {
        /// Arm's Cortex-A72, without variant and revision.
        const CORTEX_A72: u64 = 0x410f_d080;
        if midr & 0xff0f_fff0 != CORTEX_A72 || image >= 1 << 30 {
            return Self::default();
        }
        Self {
            uart: Some(Uart { registers: 0xfe20_1000..0xfe20_1200, interrupt: None, clock: None }),
            mini_uart: Some(0xfe21_5040..0xfe21_5080),
            power_manager: Some(0xfe10_0000..0xfe10_0114),
            ..Self::default()
        }
    }

    /// The parts that no board does without.
    pub fn required(&self) -> Result<Required<'_>, Missing> {
        if self.uart.is_none() {
            return Err(Missing::Uart);
        }
        Ok(Required {
            memory: Some(&self.memory).filter(|memory| !memory.is_empty()).ok_or(Missing::Memory)?,
            gic: self.gic.as_ref().ok_or(Missing::Gic)?,
            timer_interrupt: self.timer_interrupt.ok_or(Missing::Timer)?,
            guest_timer_interrupt: self.guest_timer_interrupt.ok_or(Missing::Timer)?,
            bundle: self.bundle.clone().ok_or(Missing::Bundle)?,
        })
    }

    /// The value of `name=value` on the command line; the last one counts.
    #[must_use]
    pub fn bootarg(&self, name: &str) -> Option<&'a str> {
        self.bootargs.split_ascii_whitespace().rev().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
    }

    /// Other cores may spin on these long after the boot: the trees of some boards leave that unsaid.
    fn keep_release_addresses(&mut self) {
        for core in &self.cores {
            if let Start::SpinTable(release) = core.start {
                push(&mut self.reserved, release.checked_add(8).map(|end| release..end));
            }
        }
    }

    fn visit(&mut self, path: &Path<'_, 'a>) {
        let node = path.node();
        if node.name == "chosen" {
            self.bootargs = node.string("bootargs").unwrap_or_default();
            self.bundle =
                node.number("linux,initrd-start").zip(node.number("linux,initrd-end")).map(|(a, b)| a..b);
            self.seeds = ["rng-seed", "kaslr-seed"].map(|name| node.property(name).unwrap_or_default());
            self.bundle.take_if(|bundle| bundle.start >= bundle.end);
        }
        if !node.is_enabled() {
            return;
        }
        if node.string("device_type") == Some("cpu") {
            // A board with more cores does without the rest.
            let _ = node.number("reg").map(|affinity| self.cores.push(Core { affinity, start: start(path) }));
        }
        if node.string("device_type") == Some("memory") {
            (0..MAX_RANGES).for_each(|index| push(&mut self.memory, path.reg(index)));
        }
        if path.parent() == Some("reserved-memory") {
            let kept =
                if node.property("no-map").is_some() { &mut self.unmapped } else { &mut self.reserved };
            (0..MAX_RANGES).for_each(|index| push(kept, path.reg(index)));
        }
        if node.is_compatible("brcm,bcm2835-aux-uart") {
            self.mini_uart = path.reg(0);
        }
        if node.is_compatible("brcm,bcm2835-pm-wdt") {
            self.power_manager = path.reg(0);
        }
        if node.is_compatible("brcm,bcm2835-mbox") {
            self.mailbox = path.reg(0);
        }
        if node.is_compatible("brcm,bcm2711-rng200") {
            self.noise = path.reg(0);
        }
        if let Some(index) = SD_HOSTS.iter().position(|name| node.is_compatible(name)) {
            self.sd_hosts[index] = path.reg(0);
        }
        if node.is_compatible("virtio,mmio") {
            // What is in slots beyond these is not used.
            let slot = |registers| VirtioSlot { registers, interrupt: path.interrupt(0) };
            let _ = path.reg(0).map(|registers| self.virtio_slots.push(slot(registers)));
        }
        if node.is_compatible("arm,pl031") {
            self.clock = path.reg(0);
        }
        if ["arm,gic-400", "arm,cortex-a15-gic"].iter().any(|name| node.is_compatible(name)) {
            self.gic = gic_v2(path);
        }
        if node.is_compatible("arm,gic-v3") {
            self.gic = gic_v3(path);
        }
        if node.is_compatible("arm,armv8-timer") {
            // Secure, non-secure, virtual, hypervisor.
            self.guest_timer_interrupt = path.interrupt(2);
            self.timer_interrupt = path.interrupt(3);
        }
        if node.name == "psci" {
            self.psci = match node.string("method") {
                Some("smc") => Some(Psci::Smc),
                Some("hvc") => Some(Psci::Hvc),
                _ => None,
            };
        }
    }
}

/// The parts of a [`Platform`] that no board does without.
pub struct Required<'a> {
    /// RAM.
    pub memory: &'a Ranges,
    /// The interrupt controller.
    pub gic: &'a Gic,
    /// Number of EL2's physical timer interrupt.
    pub timer_interrupt: u32,
    /// Number of the virtual timer's interrupt.
    pub guest_timer_interrupt: u32,
    /// The bundle.
    pub bundle: Range<u64>,
}

fn start(path: &Path<'_, '_>) -> Start {
    match path.node().string("enable-method") {
        Some("psci") => Start::Psci,
        Some("spin-table") => path.node().number("cpu-release-addr").map_or(Start::Unknown, Start::SpinTable),
        _ => Start::Unknown,
    }
}

fn gic_v2(path: &Path<'_, '_>) -> Option<Gic> {
    let cpus = GicCpus::Interface { cpu: path.reg(1)?, control: path.reg(2)?, guest: path.reg(3)? };
    Some(Gic { distributor: path.reg(0)?, cpus, maintenance: path.interrupt(0) })
}

fn gic_v3(path: &Path<'_, '_>) -> Option<Gic> {
    let regions =
        path.node().cell("#redistributor-regions", 0).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let mut redistributors = Ranges::new();
    (1..=regions.min(MAX_RANGES)).for_each(|index| push(&mut redistributors, path.reg(index)));
    let cpus = GicCpus::Redistributors(redistributors);
    Some(Gic { distributor: path.reg(0)?, cpus, maintenance: path.interrupt(0) })
}

/// Adds a range unless it is empty. A board with more than [`MAX_RANGES`] of a kind does without the rest.
fn push(ranges: &mut Ranges, range: Option<Range<u64>>) {
    if let Some(range) = range.filter(|range| !range.is_empty()) {
        let _ = ranges.push(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_tree::tests::Aligned;
    use vm_fdt::FdtWriter;

    /// A board with what QEMU's `virt` has; `gic_v3` chooses the interrupt controller.
    fn virt(gic_v3: bool) -> Aligned {
        let mut fdt =
            FdtWriter::new_with_mem_reserv(&[vm_fdt::FdtReserveEntry::new(0x4000_0000, 0x1000).unwrap()])
                .unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 2).unwrap();
        let cpus = fdt.begin_node("cpus").unwrap();
        fdt.property_u32("#address-cells", 1).unwrap();
        fdt.property_u32("#size-cells", 0).unwrap();
        for affinity in [0, 1, 0x100] {
            let cpu = fdt.begin_node(&alloc::format!("cpu@{affinity:x}")).unwrap();
            fdt.property_string("device_type", "cpu").unwrap();
            fdt.property_u32("reg", affinity).unwrap();
            match affinity {
                0 => fdt.property_string("enable-method", "psci").unwrap(),
                1 => {
                    fdt.property_string("enable-method", "spin-table").unwrap();
                    fdt.property_u64("cpu-release-addr", 0xd8).unwrap();
                }
                _ => {}
            }
            fdt.end_node(cpu).unwrap();
        }
        fdt.end_node(cpus).unwrap();
        let node = fdt.begin_node("psci").unwrap();
        fdt.property_string("method", "smc").unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("memory@40000000").unwrap();
        fdt.property_string("device_type", "memory").unwrap();
        fdt.property_array_u64("reg", &[0x4000_0000, 0x4000_0000, 0x8_0000_0000, 0x1_0000_0000]).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("reserved-memory").unwrap();
        fdt.property_u32("#address-cells", 2).unwrap();
        fdt.property_u32("#size-cells", 2).unwrap();
        fdt.property_null("ranges").unwrap();
        for (name, no_map) in [("kept@50000000", false), ("secure@50001000", true)] {
            let child = fdt.begin_node(name).unwrap();
            fdt.property_array_u64("reg", &[if no_map { 0x5000_1000 } else { 0x5000_0000 }, 0x1000]).unwrap();
            if no_map {
                fdt.property_null("no-map").unwrap();
            }
            fdt.end_node(child).unwrap();
        }
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("pl011@9000000").unwrap();
        fdt.property_string("compatible", "arm,pl011").unwrap();
        fdt.property_array_u64("reg", &[0x900_0000, 0x1000]).unwrap();
        fdt.property_array_u32("interrupts", &[0, 1, 4]).unwrap();
        fdt.property_array_u32("clocks", &[0x8000]).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("intc@8000000").unwrap();
        fdt.property_string("compatible", if gic_v3 { "arm,gic-v3" } else { "arm,cortex-a15-gic" }).unwrap();
        let reg: &[u64] = if gic_v3 {
            &[0x800_0000, 0x1_0000, 0x80a_0000, 0xf6_0000]
        } else {
            &[0x800_0000, 0x1_0000, 0x801_0000, 0x1_0000, 0x803_0000, 0x1_0000, 0x804_0000, 0x1_0000]
        };
        fdt.property_array_u64("reg", reg).unwrap();
        fdt.property_array_u32("interrupts", &[1, 9, 4]).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("timer").unwrap();
        fdt.property_string("compatible", "arm,armv8-timer").unwrap();
        fdt.property_array_u32("interrupts", &[1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("pl031@9010000").unwrap();
        fdt.property_string("compatible", "arm,pl031").unwrap();
        fdt.property_array_u64("reg", &[0x901_0000, 0x1000]).unwrap();
        fdt.end_node(node).unwrap();
        for (slot, number) in [("a000000", 16), ("a000200", 17)] {
            let node = fdt.begin_node(&alloc::format!("virtio_mmio@{slot}")).unwrap();
            fdt.property_string("compatible", "virtio,mmio").unwrap();
            fdt.property_array_u64("reg", &[u64::from_str_radix(slot, 16).unwrap(), 0x200]).unwrap();
            fdt.property_array_u32("interrupts", &[0, number, 1]).unwrap();
            fdt.end_node(node).unwrap();
        }
        let node = fdt.begin_node("mmc@fe340000").unwrap();
        fdt.property_string("compatible", "brcm,bcm2711-emmc2").unwrap();
        fdt.property_array_u64("reg", &[0xfe34_0000, 0x100]).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("apb-pclk").unwrap();
        fdt.property_string("compatible", "fixed-clock").unwrap();
        fdt.property_u32("phandle", 0x8000).unwrap();
        fdt.property_u32("clock-frequency", 24_000_000).unwrap();
        fdt.end_node(node).unwrap();
        let node = fdt.begin_node("chosen").unwrap();
        fdt.property_string("bootargs", "loglevel=warn console=30x100 loglevel=info").unwrap();
        fdt.property("rng-seed", b"chance").unwrap();
        fdt.property_u64("linux,initrd-start", 0x4800_0000).unwrap();
        fdt.property_u32("linux,initrd-end", 0x4800_2000).unwrap();
        fdt.end_node(node).unwrap();
        fdt.end_node(root).unwrap();
        Aligned::new(&fdt.finish().unwrap())
    }

    #[test]
    fn finds_all_parts_of_a_board() {
        let tree = virt(true);
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        assert_eq!(platform.memory[..], [0x4000_0000..0x8000_0000, 0x8_0000_0000..0x9_0000_0000]);
        assert_eq!(platform.reserved[..], [0x4000_0000..0x4000_1000, 0x5000_0000..0x5000_1000, 0xd8..0xe0]);
        assert_eq!(platform.unmapped[..], [0x5000_1000..0x5000_2000]);
        let uart = Uart { registers: 0x900_0000..0x900_1000, interrupt: Some(33), clock: Some(24_000_000) };
        assert_eq!(platform.uart, Some(uart));
        assert_eq!(platform.clock, Some(0x901_0000..0x901_1000));
        let slots = [(0xa00_0000..0xa00_0200, 48), (0xa00_0200..0xa00_0400, 49)];
        let slots = slots.map(|(registers, number)| VirtioSlot { registers, interrupt: Some(number) });
        assert_eq!(platform.virtio_slots[..], slots);
        assert_eq!(platform.sd_hosts, [Some(0xfe34_0000..0xfe34_0100), None]);
        assert_eq!(platform.seeds, [&b"chance"[..], b""]);
        assert_eq!(platform.psci, Some(Psci::Smc));
        let core = |affinity, start| Core { affinity, start };
        let cores = [core(0, Start::Psci), core(1, Start::SpinTable(0xd8)), core(0x100, Start::Unknown)];
        assert_eq!(platform.cores[..], cores);
        assert_eq!(
            (platform.bootarg("loglevel"), platform.bootarg("console")),
            (Some("info"), Some("30x100"))
        );
        assert_eq!(platform.bootarg("log"), None);
        let required = platform.required().ok().unwrap();
        assert_eq!((required.timer_interrupt, required.guest_timer_interrupt), (26, 27));
        assert_eq!(required.bundle, 0x4800_0000..0x4800_2000);
        assert!(
            matches!(&required.gic.cpus, GicCpus::Redistributors(r) if r[..] == [0x80a_0000..0x900_0000])
        );
    }

    #[test]
    fn knows_a_gicv2() {
        let tree = virt(false);
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        let cpus = GicCpus::Interface {
            cpu: 0x801_0000..0x802_0000,
            control: 0x803_0000..0x804_0000,
            guest: 0x804_0000..0x805_0000,
        };
        let gic = Gic { distributor: 0x800_0000..0x801_0000, cpus, maintenance: Some(25) };
        assert_eq!(platform.gic, Some(gic));
    }

    #[test]
    fn guesses_nothing_about_other_boards() {
        let [cortex_a72, cortex_a53] = [0x410f_d083, 0x410f_d034];
        let uart = |midr, image| Platform::guess(midr, image).uart.map(|uart| uart.registers.start);
        assert_eq!(uart(cortex_a72, 0x20_0000), Some(0xfe20_1000));
        assert_eq!(uart(cortex_a72, 0x4020_0000), None);
        assert_eq!(uart(cortex_a53, 0x20_0000), None);
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(Platform::default().required().err(), Some(Missing::Uart));
        let tree = virt(true);
        let mut platform = Platform::from_device_tree(tree.bytes()).unwrap();
        platform.bundle = None;
        assert_eq!(platform.required().err(), Some(Missing::Bundle));
        platform.gic = None;
        assert_eq!(platform.required().err(), Some(Missing::Gic));
        platform.memory.clear();
        assert_eq!(platform.required().err(), Some(Missing::Memory));
    }
}
