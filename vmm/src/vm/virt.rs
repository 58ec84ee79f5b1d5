//! The `virt` machine: a board for guests that expect one. What is where stands in [`tinyvmm_abi::virt`];
//! the guest learns it from the device tree.
//!
//! A guest is started by the arm64 boot protocol (Linux, Documentation/arch/arm64/booting.rst), whatever
//! kind of image it is: [`entry_registers`], everything else of the vCPU as after a reset, and the other vCPUs
//! off until PSCI turns them on.

mod device_tree;
mod initrd;
mod placement;

pub use device_tree::{DeviceTree, DeviceTreeError, SEED_SIZE};
pub use initrd::InitRamDisk;
pub use placement::{NoRoom, Placement};

use crate::{
    arch::context::{GuestRegisters, PSTATE_EL1H_MASKED},
    devices::{
        bus::{Bus, BusError},
        vgic::Version,
    },
};
use tinyvmm_abi::virt::{
    GICD_BASE, GICD_V2_SIZE, GICD_V3_SIZE, GICR_BASE, GICR_SIZE, RTC_BASE, RTC_SIZE, UART_BASE, UART_SIZE,
    VIRTIO_BASE, VIRTIO_SPACING,
};

/// What the hypervisor emulates at an address. (The CPU interface of a GICv2 is mapped, not emulated.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The GIC's distributor.
    Distributor,
    /// The redistributors of a GICv3: each vCPU's has [`GICR_SIZE`] bytes.
    Redistributors,
    /// The PL011 UART.
    Uart,
    /// The PL031 real-time clock.
    Rtc,
    /// The slots of virtio devices: each has [`VIRTIO_SPACING`] bytes.
    Virtio,
}

impl Region {
    /// Whether the state of interrupts is read there.
    #[must_use]
    pub const fn is_interrupt_controller(self) -> bool {
        matches!(self, Self::Distributor | Self::Redistributors)
    }
}

/// The bus of a board with this interrupt controller and number of vCPUs, and this number of virtio devices.
///
/// # Errors
/// There are more vCPUs than the map has room for.
pub fn bus(gic: Version, vcpus: u32, virtio: u32) -> Result<Bus<Region>, BusError> {
    let mut bus = Bus::new();
    bus.add(UART_BASE..UART_BASE + UART_SIZE, Region::Uart)?;
    add_interrupt_controller(&mut bus, gic, vcpus)?;
    bus.add(RTC_BASE..RTC_BASE + RTC_SIZE, Region::Rtc)?;
    if virtio > 0 {
        bus.add(VIRTIO_BASE..VIRTIO_BASE + u64::from(virtio) * VIRTIO_SPACING, Region::Virtio)?;
    }
    Ok(bus)
}

/// Puts the interrupt controller alone on a bus.
///
/// # Errors
/// There are more vCPUs than the map has room for.
pub fn add_interrupt_controller(bus: &mut Bus<Region>, gic: Version, vcpus: u32) -> Result<(), BusError> {
    bus.add(GICD_BASE..GICD_BASE + distributor_size(gic), Region::Distributor)?;
    if gic == Version::V3 {
        bus.add(GICR_BASE..GICR_BASE + redistributors_size(vcpus), Region::Redistributors)?;
    }
    Ok(())
}

const fn distributor_size(gic: Version) -> u64 {
    match gic {
        Version::V2 => GICD_V2_SIZE,
        Version::V3 => GICD_V3_SIZE,
    }
}

fn redistributors_size(vcpus: u32) -> u64 {
    GICR_SIZE * u64::from(vcpus)
}

/// The registers of a vCPU that starts at `entry`: all zero but `X0`, at EL1 with all interrupts masked.
///
/// `x0` is the address of the device tree, or what PSCI's CPU_ON was given.
#[must_use]
pub fn entry_registers(entry: u64, x0: u64) -> GuestRegisters {
    let mut registers = GuestRegisters::default();
    registers.pc = entry;
    registers.pstate = PSTATE_EL1H_MASKED;
    registers.x[0] = x0;
    registers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Width;
    use tinyvmm_abi::VCPUS_MAX;

    #[test]
    fn the_bus_has_what_the_board_has() {
        let bus = bus(Version::V3, VCPUS_MAX, 2).unwrap();
        let find = |address| bus.find(address, Width::Word);
        assert_eq!(find(0x0800_fffc), Some((Region::Distributor, 0xfffc)));
        assert_eq!(find(0x0801_0000), None);
        assert_eq!(find(0x080a_0000 + 7 * 0x2_0000), Some((Region::Redistributors, 0xe_0000)));
        assert_eq!(find(0x0900_0018), Some((Region::Uart, 0x18)));
        assert_eq!(find(0x0901_0000), Some((Region::Rtc, 0)));
        assert_eq!(find(0x0a00_0204), Some((Region::Virtio, 0x204)));
        assert_eq!(find(0x0a00_0400), None);
        assert_eq!(find(0x4000_0000), None);
    }

    #[test]
    fn a_gicv2_has_no_redistributors() {
        let bus = bus(Version::V2, 1, 0).unwrap();
        assert_eq!(bus.find(0x0800_0ffc, Width::Word), Some((Region::Distributor, 0xffc)));
        assert_eq!(bus.find(0x0800_1000, Width::Word), None);
        assert_eq!(bus.find(0x080a_0000, Width::Word), None);
    }

    #[test]
    fn a_vcpu_starts_by_the_boot_protocol() {
        let registers = entry_registers(0x4008_0000, 0x4000_0000);
        assert_eq!((registers.pc, registers.pstate), (0x4008_0000, 0x3c5));
        assert_eq!(registers.x[0], 0x4000_0000);
        assert_eq!(registers.x[1..], [0; 30]);
    }
}
