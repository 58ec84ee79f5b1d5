//! The device tree of a guest: what its board has, in the form that it expects to be told.

use super::{distributor_size, redistributors_size};
use crate::devices::vgic::Version;
use alloc::{format, string::String, vec::Vec};
use core::{fmt, ops::Range};
use tinyvmm_abi::virt::{
    GICC_BASE, GICC_SIZE, GICD_BASE, GICR_BASE, MEMORY_BASE, RTC_BASE, RTC_INTID, RTC_SIZE, TIMER_INTID,
    UART_BASE, UART_INTID, UART_SIZE, VIRTIO_BASE, VIRTIO_INTID, VIRTIO_SPACING,
};
use vm_fdt::FdtWriter;

type Result<T = ()> = core::result::Result<T, vm_fdt::Error>;

/// By these numbers nodes refer to one another.
const GIC_PHANDLE: u32 = 1;
const CLOCK_PHANDLE: u32 = 2;

/// Frequency that the UART and its bus seem to have, in hertz.
const CLOCK_FREQUENCY: u32 = 24_000_000;

/// Third cell of an interrupt: it comes when its line rises.
const EDGE_RISING: u32 = 1;
/// Third cell of an interrupt: active while its line is high.
const LEVEL_HIGH: u32 = 4;

/// The architected timers' interrupts, in the order of the binding: secure, EL1 physical, virtual, EL2. A guest is
/// given the virtual timer; the others are named because programs look for the third.
const TIMER_INTIDS: [u32; 4] = [16 + 13, 16 + 14, TIMER_INTID, 16 + 10];

/// Bytes of `kaslr-seed`, by which a kernel chooses its virtual addresses.
const KASLR_SEED_SIZE: usize = 8;
/// Bytes of both seeds: `rng-seed` has as many as Linux takes to be enough to start from.
pub const SEED_SIZE: usize = KASLR_SEED_SIZE + 32;

/// What a device tree tells.
#[derive(Debug, Clone)]
pub struct DeviceTree<'a> {
    /// The interrupt controller.
    pub gic: Version,
    /// Number of vCPUs, at most [`VCPUS_MAX`](tinyvmm_abi::VCPUS_MAX).
    pub vcpus: u32,
    /// Size of RAM in bytes.
    pub memory: u64,
    /// The guest's command line, word by word.
    pub args: &'a [String],
    /// Number of virtio devices, which are in the first slots.
    pub virtio: u32,
    /// The initial RAM disk, if there is one.
    pub initrd: Option<Range<u64>>,
    /// What the guest starts its random numbers from.
    pub seed: [u8; SEED_SIZE],
}

impl DeviceTree<'_> {
    /// The flattened device tree: at most [`DEVICE_TREE_MAX`](tinyvmm_abi::virt::DEVICE_TREE_MAX) bytes for what a
    /// manifest can say.
    ///
    /// # Errors
    /// A string has a NUL inside, or is longer than anything.
    pub fn to_bytes(&self) -> core::result::Result<Vec<u8>, DeviceTreeError> {
        self.write().map_err(DeviceTreeError)
    }

    fn write(&self) -> Result<Vec<u8>> {
        let mut fdt = FdtWriter::new()?;
        let root = fdt.begin_node("")?;
        fdt.property_u32("#address-cells", 2)?;
        fdt.property_u32("#size-cells", 2)?;
        compatible(&mut fdt, &["tinyvmm,virt", "linux,dummy-virt"])?;
        fdt.property_string("model", "TinyVMM virt")?;
        fdt.property_u32("interrupt-parent", GIC_PHANDLE)?;
        self.write_chosen(&mut fdt)?;
        self.write_memory(&mut fdt)?;
        self.write_cpus(&mut fdt)?;
        write_psci(&mut fdt)?;
        self.write_gic(&mut fdt)?;
        self.write_timer(&mut fdt)?;
        write_clock(&mut fdt)?;
        write_uart(&mut fdt)?;
        write_rtc(&mut fdt)?;
        (0..self.virtio).try_for_each(|slot| write_virtio(&mut fdt, slot))?;
        fdt.end_node(root)?;
        fdt.finish()
    }

    fn write_chosen(&self, fdt: &mut FdtWriter) -> Result {
        node(fdt, "chosen", |fdt| {
            fdt.property_string("stdout-path", &format!("/{}", uart_name()))?;
            fdt.property_string("bootargs", &self.args.join(" "))?;
            let (kaslr_seed, rng_seed) = self.seed.split_at(KASLR_SEED_SIZE);
            fdt.property("kaslr-seed", kaslr_seed)?;
            fdt.property("rng-seed", rng_seed)?;
            if let Some(initrd) = &self.initrd {
                fdt.property_u64("linux,initrd-start", initrd.start)?;
                fdt.property_u64("linux,initrd-end", initrd.end)?;
            }
            Ok(())
        })
    }

    fn write_memory(&self, fdt: &mut FdtWriter) -> Result {
        node(fdt, &format!("memory@{MEMORY_BASE:x}"), |fdt| {
            fdt.property_string("device_type", "memory")?;
            fdt.property_array_u64("reg", &[MEMORY_BASE, self.memory])
        })
    }

    fn write_cpus(&self, fdt: &mut FdtWriter) -> Result {
        node(fdt, "cpus", |fdt| {
            fdt.property_u32("#address-cells", 1)?;
            fdt.property_u32("#size-cells", 0)?;
            (0..self.vcpus).try_for_each(|index| write_cpu(fdt, index))
        })
    }

    fn write_gic(&self, fdt: &mut FdtWriter) -> Result {
        node(fdt, &format!("intc@{GICD_BASE:x}"), |fdt| {
            fdt.property_null("interrupt-controller")?;
            fdt.property_u32("#interrupt-cells", 3)?;
            fdt.property_phandle(GIC_PHANDLE)?;
            let distributor_size = distributor_size(self.gic);
            match self.gic {
                Version::V2 => {
                    compatible(fdt, &["arm,cortex-a15-gic"])?;
                    fdt.property_array_u64("reg", &[GICD_BASE, distributor_size, GICC_BASE, GICC_SIZE])
                }
                Version::V3 => {
                    compatible(fdt, &["arm,gic-v3"])?;
                    let redistributors = redistributors_size(self.vcpus);
                    fdt.property_array_u64("reg", &[GICD_BASE, distributor_size, GICR_BASE, redistributors])
                }
            }
        })
    }

    fn write_timer(&self, fdt: &mut FdtWriter) -> Result {
        // On GICv2 a mask in the third cell says which CPUs have a private interrupt.
        let cpus = match self.gic {
            Version::V2 => (1 << self.vcpus) - 1,
            Version::V3 => 0,
        };
        node(fdt, "timer", |fdt| {
            compatible(fdt, &["arm,armv8-timer"])?;
            fdt.property_null("always-on")?;
            let cells = TIMER_INTIDS.map(|intid| interrupt(intid, cpus << 8 | LEVEL_HIGH));
            fdt.property_array_u32("interrupts", cells.as_flattened())
        })
    }
}

fn write_cpu(fdt: &mut FdtWriter, index: u32) -> Result {
    node(fdt, &format!("cpu@{index:x}"), |fdt| {
        fdt.property_string("device_type", "cpu")?;
        compatible(fdt, &["arm,armv8"])?;
        // The affinity in its MPIDR_EL1.
        fdt.property_u32("reg", index)?;
        fdt.property_string("enable-method", "psci")
    })
}

fn write_psci(fdt: &mut FdtWriter) -> Result {
    node(fdt, "psci", |fdt| {
        compatible(fdt, &["arm,psci-1.0", "arm,psci-0.2"])?;
        fdt.property_string("method", "hvc")
    })
}

fn write_clock(fdt: &mut FdtWriter) -> Result {
    node(fdt, "apb-pclk", |fdt| {
        compatible(fdt, &["fixed-clock"])?;
        fdt.property_u32("#clock-cells", 0)?;
        fdt.property_u32("clock-frequency", CLOCK_FREQUENCY)?;
        fdt.property_string("clock-output-names", "clk24mhz")?;
        fdt.property_phandle(CLOCK_PHANDLE)
    })
}

fn uart_name() -> String {
    format!("pl011@{UART_BASE:x}")
}

fn write_uart(fdt: &mut FdtWriter) -> Result {
    node(fdt, &uart_name(), |fdt| {
        compatible(fdt, &["arm,pl011", "arm,primecell"])?;
        fdt.property_array_u64("reg", &[UART_BASE, UART_SIZE])?;
        fdt.property_array_u32("interrupts", &interrupt(UART_INTID, LEVEL_HIGH))?;
        strings(fdt, "clock-names", &["uartclk", "apb_pclk"])?;
        fdt.property_array_u32("clocks", &[CLOCK_PHANDLE; 2])
    })
}

fn write_rtc(fdt: &mut FdtWriter) -> Result {
    node(fdt, &format!("pl031@{RTC_BASE:x}"), |fdt| {
        compatible(fdt, &["arm,pl031", "arm,primecell"])?;
        fdt.property_array_u64("reg", &[RTC_BASE, RTC_SIZE])?;
        fdt.property_array_u32("interrupts", &interrupt(RTC_INTID, LEVEL_HIGH))?;
        fdt.property_string("clock-names", "apb_pclk")?;
        fdt.property_u32("clocks", CLOCK_PHANDLE)
    })
}

/// A slot with a virtio device. It interrupts when its line rises, as on other boards: a driver ends the interrupt before it
/// has looked at everything, and a level that is still high then would be no news.
fn write_virtio(fdt: &mut FdtWriter, slot: u32) -> Result {
    let base = VIRTIO_BASE + u64::from(slot) * VIRTIO_SPACING;
    node(fdt, &format!("virtio_mmio@{base:x}"), |fdt| {
        compatible(fdt, &["virtio,mmio"])?;
        fdt.property_array_u64("reg", &[base, VIRTIO_SPACING])?;
        fdt.property_array_u32("interrupts", &interrupt(VIRTIO_INTID + slot, EDGE_RISING))?;
        fdt.property_null("dma-coherent")
    })
}

/// Writes a node and what `fill` puts into it.
fn node(fdt: &mut FdtWriter, name: &str, fill: impl FnOnce(&mut FdtWriter) -> Result) -> Result {
    let node = fdt.begin_node(name)?;
    fill(fdt)?;
    fdt.end_node(node)
}

fn compatible(fdt: &mut FdtWriter, names: &[&str]) -> Result {
    strings(fdt, "compatible", names)
}

fn strings(fdt: &mut FdtWriter, name: &str, values: &[&str]) -> Result {
    fdt.property_string_list(name, values.iter().copied().map(String::from).collect())
}

/// The cells that name an interrupt in the GIC's binding.
const fn interrupt(intid: u32, flags: u32) -> [u32; 3] {
    const SHARED: u32 = 0;
    const PRIVATE: u32 = 1;
    if intid >= 32 { [SHARED, intid - 32, flags] } else { [PRIVATE, intid - 16, flags] }
}

/// Why a device tree cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub struct DeviceTreeError(vm_fdt::Error);

impl fmt::Display for DeviceTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest's device tree: {}", self.0)
    }
}

impl core::error::Error for DeviceTreeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device_tree::{tests::Aligned, walk},
        platform::{GicCpus, Platform, Psci, VirtioSlot},
    };
    use alloc::{string::ToString, vec};
    use tinyvmm_abi::{ARGS_SIZE, VCPUS_MAX, virt::DEVICE_TREE_MAX};

    fn tree(gic: Version, vcpus: u32, args: &[String], initrd: Option<Range<u64>>) -> Aligned {
        let tree = DeviceTree {
            gic,
            vcpus,
            memory: 64 << 20,
            args,
            virtio: 2,
            initrd,
            seed: *b"as many bytes as two seeds have together",
        };
        Aligned::new(&tree.to_bytes().unwrap())
    }

    /// The hypervisor itself could run on such a board, but for its level.
    #[test]
    fn the_board_is_understood_by_the_hypervisor_s_own_reader() {
        let args = ["console=ttyAMA0".to_string(), "quiet".to_string()];
        let tree = tree(Version::V3, 4, &args, Some(0x4200_0000..0x4300_0000));
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        assert_eq!(&platform.memory[..], [0x4000_0000..0x4400_0000]);
        let uart = platform.uart.unwrap();
        assert_eq!(uart.registers, 0x0900_0000..0x0900_1000);
        assert_eq!((uart.interrupt, uart.clock), (Some(33), Some(24_000_000)));
        let gic = platform.gic.unwrap();
        assert_eq!(gic.distributor, 0x0800_0000..0x0801_0000);
        let GicCpus::Redistributors(redistributors) = gic.cpus else { panic!("not a GICv3") };
        assert_eq!(&redistributors[..], [0x080a_0000..0x0812_0000]);
        assert_eq!(platform.timer_interrupt, Some(26));
        assert_eq!(platform.psci, Some(Psci::Hvc));
        assert_eq!(platform.bundle, Some(0x4200_0000..0x4300_0000));
        assert_eq!(platform.bootargs, "console=ttyAMA0 quiet");
    }

    #[test]
    fn a_gicv2_has_its_cpu_interface() {
        let tree = tree(Version::V2, 2, &[], None);
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        assert_eq!(platform.gic, None, "it has nothing for guests of the guest");
        let mut gic = None;
        walk(tree.bytes(), |path| {
            if path.node().is_compatible("arm,cortex-a15-gic") {
                gic = path.reg(0).zip(path.reg(1));
            }
        })
        .unwrap();
        assert_eq!(gic, Some((0x0800_0000..0x0800_1000, 0x0801_0000..0x0801_2000)));
        assert_eq!((platform.bundle, platform.bootargs), (None, ""));
        let mut flags = None;
        walk(tree.bytes(), |path| {
            if path.node().name == "timer" {
                flags = path.node().cell("interrupts", 8);
            }
        })
        .unwrap();
        assert_eq!(flags, Some(0x304), "both CPUs have the virtual timer's interrupt");
    }

    #[test]
    fn every_vcpu_is_there() {
        let tree = tree(Version::V3, VCPUS_MAX, &[], None);
        let mut cpus = Vec::new();
        walk(tree.bytes(), |path| {
            if path.node().name.starts_with("cpu@") {
                cpus.push(path.node().cell("reg", 0).unwrap());
            }
        })
        .unwrap();
        assert_eq!(cpus, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_rtc_and_the_console_are_named() {
        let tree = tree(Version::V3, 1, &[], None);
        let mut found = 0;
        walk(tree.bytes(), |path| {
            let node = path.node();
            if node.is_compatible("arm,pl031") {
                assert_eq!(path.reg(0), Some(0x0901_0000..0x0901_1000));
                assert_eq!(path.interrupt(0), Some(34));
                found += 1;
            }
        })
        .unwrap();
        assert_eq!(found, 1);
        let name = b"/pl011@9000000\0";
        assert!(tree.bytes().windows(name.len()).any(|window| window == name));
    }

    #[test]
    fn virtio_devices_are_in_their_slots() {
        let tree = tree(Version::V3, 1, &[], None);
        let platform = Platform::from_device_tree(tree.bytes()).unwrap();
        let slot = |registers, number| VirtioSlot { registers, interrupt: Some(number) };
        let slots = [slot(0xa00_0000..0xa00_0200, 48), slot(0xa00_0200..0xa00_0400, 49)];
        assert_eq!(platform.virtio_slots[..], slots);
        let mut interrupts = Vec::new();
        walk(tree.bytes(), |path| {
            if path.node().is_compatible("virtio,mmio") {
                interrupts.push((path.interrupt(0), path.node().cell("interrupts", 2)));
            }
        })
        .unwrap();
        assert_eq!(interrupts, [(Some(48), Some(1)), (Some(49), Some(1))]);
    }

    #[test]
    fn the_largest_one_fits() {
        let args = vec!["x".repeat(ARGS_SIZE - 1)];
        let tree = tree(Version::V2, VCPUS_MAX, &args, Some(0..u64::MAX));
        assert!(tree.bytes().len() as u64 <= DEVICE_TREE_MAX);
    }

    #[test]
    fn strings_have_no_nul() {
        let args = ["a\0b".to_string()];
        let tree = DeviceTree {
            gic: Version::V3,
            vcpus: 1,
            memory: 1 << 20,
            args: &args,
            virtio: 0,
            initrd: None,
            seed: [0; SEED_SIZE],
        };
        let message = tree.to_bytes().unwrap_err().to_string();
        assert_eq!(message, "the guest's device tree: Strings cannot contain NUL");
    }
}
