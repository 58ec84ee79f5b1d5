//! What is measured, and what each figure must not exceed.

use crate::qemu::{Cpu, Machine};
use serde::Serialize;

const INSTRUCTIONS: &str = "instructions";
const BYTES: &str = "bytes";
const EXITS: &str = "exits";
/// Of what it is compared with: Debian's MicroPython on Linux, a program or a Linux without a hypervisor, or a loop on the
/// bare board.
const THOUSANDTHS: &str = "thousandths";

/// A figure as such.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) id: &'static str,
    unit: &'static str,
    reach: Option<u64>,
}

/// Figures that take minutes: only a filter brings them.
pub(super) const SLOW: [&str; 8] = [
    "perf_bytecode",
    "perf_native",
    "virt_overhead",
    "serial_per_byte",
    "virtio_blk",
    "virtio_net",
    "linux_boot",
    "linux_cpu",
];

/// A filter that means these, and what has it in its name.
pub(super) const MICROPYTHON: &str = "micropython";
pub(super) const FIGURES_OF_MICROPYTHON: [&str; 8] = [
    "perf_bytecode",
    "perf_native",
    "virt_overhead",
    "viper_loop",
    "guest_to_output",
    "min_memory",
    "print_exits",
    "serial_per_byte",
];

/// How many VMs `system_memory_bytes` has.
pub(super) const IDLE_VMS: u64 = 64;

/// All figures, in the order in which they are shown.
pub(super) const FIGURES: &[Definition] = &[
    Definition { id: "null_hypercall", unit: INSTRUCTIONS, reach: Some(100) },
    Definition { id: "puts_80", unit: INSTRUCTIONS, reach: None },
    Definition { id: "psci_version", unit: INSTRUCTIONS, reach: Some(130) },
    Definition { id: "uart_read", unit: INSTRUCTIONS, reach: Some(250) },
    Definition { id: "gicd_read", unit: INSTRUCTIONS, reach: Some(250) },
    Definition { id: "sgi_self", unit: INSTRUCTIONS, reach: Some(600) },
    Definition { id: "sgi_cross", unit: INSTRUCTIONS, reach: Some(1800) },
    Definition { id: "sgi_pingpong", unit: INSTRUCTIONS, reach: Some(4000) },
    Definition { id: "timer_latency", unit: INSTRUCTIONS, reach: Some(700) },
    Definition { id: "vcpu_switch", unit: INSTRUCTIONS, reach: Some(600) },
    Definition { id: "vm_create", unit: INSTRUCTIONS, reach: Some(60_000) },
    Definition { id: "boot_to_guest", unit: INSTRUCTIONS, reach: Some(1_000_000) },
    Definition { id: "boot_to_python", unit: INSTRUCTIONS, reach: Some(1_500_000) },
    Definition { id: "perf_bytecode", unit: THOUSANDTHS, reach: Some(500) },
    Definition { id: "perf_native", unit: THOUSANDTHS, reach: Some(400) },
    Definition { id: "virt_overhead", unit: THOUSANDTHS, reach: Some(1002) },
    Definition { id: "viper_loop", unit: INSTRUCTIONS, reach: Some(1_500_000) },
    Definition { id: "guest_to_output", unit: INSTRUCTIONS, reach: Some(45_000) },
    Definition { id: "min_memory", unit: BYTES, reach: Some(1 << 20) },
    Definition { id: "print_exits", unit: EXITS, reach: Some(1) },
    Definition { id: "serial_per_byte", unit: INSTRUCTIONS, reach: Some(60) },
    Definition { id: "virtio_blk", unit: INSTRUCTIONS, reach: Some(2500) },
    Definition { id: "virtio_net", unit: INSTRUCTIONS, reach: Some(3000) },
    Definition { id: "sd_read", unit: THOUSANDTHS, reach: Some(2000) },
    Definition { id: "linux_boot", unit: THOUSANDTHS, reach: Some(1030) },
    Definition { id: "linux_cpu", unit: THOUSANDTHS, reach: Some(1005) },
    Definition { id: "system_memory_bytes", unit: BYTES, reach: Some((2 << 20) + IDLE_VMS * (32 << 10)) },
    Definition { id: "vm_overhead_bytes", unit: BYTES, reach: Some(32 << 10) },
    Definition { id: "image_bytes", unit: BYTES, reach: Some(256 << 10) },
    Definition { id: "micropython_bytes", unit: BYTES, reach: None },
    Definition { id: "hello_rs_bytes", unit: BYTES, reach: None },
    Definition { id: "vm1_bytes", unit: BYTES, reach: None },
    Definition { id: "vm2_bytes", unit: BYTES, reach: None },
];

/// The figure called `id`.
pub(super) fn find(id: &str) -> Option<&'static Definition> {
    FIGURES.iter().find(|definition| definition.id == id)
}

/// One measured value.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) id: &'static str,
    value: u64,
    unit: &'static str,
    cpu: &'static str,
    machine: &'static str,
    reach: Option<u64>,
}

impl Definition {
    /// A measurement of it.
    pub(super) fn measured(&self, value: u64, cpu: Cpu, machine: Machine) -> Figure {
        let Self { id, unit, .. } = *self;
        Figure { id, value, unit, cpu: cpu.name(), machine: machine.name(), reach: self.reach_on(machine) }
    }

    /// Whether it can be taken on a board. QEMU's `virt` has no SD card; on a Raspberry Pi 4, guests have their memory where
    /// the hypervisor's image is, so the instructions at EL2 cannot be told from theirs.
    pub(super) fn is_on(&self, machine: Machine) -> bool {
        match self.id {
            "sd_read" => machine == Machine::Raspi4b,
            "virt_overhead" | "serial_per_byte" | "virtio_blk" | "virtio_net" => machine != Machine::Raspi4b,
            // QEMU has none without EL2 to compare with.
            "linux_boot" | "linux_cpu" => machine != Machine::Raspi4b,
            _ => true,
        }
    }

    /// A Raspberry Pi 4 reads a larger device tree and starts three other cores before anything else.
    fn reach_on(&self, machine: Machine) -> Option<u64> {
        match (machine, self.id) {
            (Machine::Raspi4b, "boot_to_guest") => None,
            (Machine::Raspi4b, "boot_to_python") => Some(2_000_000),
            _ => self.reach,
        }
    }

    /// A line with its values on several boards.
    pub(super) fn row(&self, figures: &[&Figure]) -> String {
        let columns: String = figures.iter().map(|figure| format!("{:>12}", figure.value)).collect();
        let reach = figures.first().and_then(|figure| figure.reach);
        let promised = reach.is_some();
        let reach = reach.map(|reach| reach.to_string()).unwrap_or_default();
        let row = format!(
            "{:<20}{columns} {:<12} {reach:>9} {}",
            self.id,
            self.unit,
            if promised { verdict(figures) } else { String::new() }
        );
        row.trim_end().to_owned()
    }
}

fn verdict(figures: &[&Figure]) -> String {
    let over = figures.iter().filter(|figure| figure.reach.is_some_and(|reach| figure.value > reach));
    let over: Vec<&str> = over.map(|figure| figure.machine).collect();
    if over.is_empty() { "ok".to_owned() } else { format!("over: {}", over.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_reach_is_over() {
        let figure =
            |value, machine| find("null_hypercall").unwrap().measured(value, Cpu::CortexA72, machine);
        let row = |v3, v2| {
            let figures = [figure(v3, Machine::Virt), figure(v2, Machine::VirtGicv2)];
            find("null_hypercall").unwrap().row(&figures.each_ref())
        };
        assert!(row(100, 99).ends_with(" 100 ok"));
        assert!(row(101, 100).ends_with(" 100 over: virt"));
        assert!(row(101, 101).ends_with(" 100 over: virt, virt-gicv2"));
        let boot = |value, machine| find("boot_to_python").unwrap().measured(value, Cpu::CortexA72, machine);
        let row = |value, machine| find("boot_to_python").unwrap().row(&[&boot(value, machine)]);
        assert!(row(1_999_999, Machine::Raspi4b).ends_with(" 2000000 ok"));
        assert!(row(1_999_999, Machine::Virt).ends_with(" 1500000 over: virt"));
        let puts = find("puts_80").unwrap();
        assert!(puts.row(&[&puts.measured(7, Cpu::Max, Machine::Virt)]).ends_with(" instructions"));
    }
}
