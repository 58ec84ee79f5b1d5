//! The `virt` machine: a board, for guests that expect one. The device tree in `X0` says all of this.
//!
//! ```text
//! 0x0800_0000  +-------------------------------+
//!              | GIC distributor               |
//! 0x0801_0000  +-------------------------------+
//!              | GICv2 CPU interface (GICv2)   |
//! 0x080a_0000  +-------------------------------+
//!              | redistributors (GICv3),       |
//!              | 128 KiB for each vCPU         |
//! 0x0900_0000  +-------------------------------+
//!              | PL011 UART                    |
//! 0x0901_0000  +-------------------------------+
//!              | PL031 real-time clock         |
//! 0x0902_0000  +-------------------------------+
//!              | exit register                 |
//! 0x0a00_0000  +-------------------------------+
//!              | virtio slots, 512 bytes each  |
//! 0x4000_0000  +-------------------------------+
//!              | RAM                           |
//! ```

/// Guest physical address of the GIC's distributor.
pub const GICD_BASE: u64 = 0x0800_0000;
/// Size of a GICv2's distributor in bytes.
pub const GICD_V2_SIZE: u64 = 0x1000;
/// Size of a GICv3's distributor in bytes.
pub const GICD_V3_SIZE: u64 = 0x1_0000;
/// Guest physical address of a GICv2's CPU interface.
pub const GICC_BASE: u64 = 0x0801_0000;
/// Size of a GICv2's CPU interface in bytes.
pub const GICC_SIZE: u64 = 0x2000;
/// Guest physical address of the first of a GICv3's redistributors, which follow one another.
pub const GICR_BASE: u64 = 0x080a_0000;
/// Size of each of a GICv3's redistributors in bytes.
pub const GICR_SIZE: u64 = 0x2_0000;
/// Guest physical address of the PL011 UART.
pub const UART_BASE: u64 = 0x0900_0000;
/// Size of the UART in bytes.
pub const UART_SIZE: u64 = 0x1000;
/// Number of the UART's interrupt: SPI 1.
pub const UART_INTID: u32 = 32 + 1;
/// Guest physical address of the PL031 real-time clock.
pub const RTC_BASE: u64 = 0x0901_0000;
/// Size of the real-time clock in bytes.
pub const RTC_SIZE: u64 = 0x1000;
/// Number of the real-time clock's interrupt: SPI 2.
pub const RTC_INTID: u32 = 32 + 2;
/// Number of the virtual timer's interrupt: PPI 11.
pub const TIMER_INTID: u32 = 16 + 11;
/// Guest physical address of the exit register: the low byte of what is written there, in 32 bits, is the exit code with
/// which the whole VM ends at once. PSCI's SYSTEM_OFF has none.
pub const EXIT_BASE: u64 = 0x0902_0000;
/// Guest physical address of the first virtio slot.
pub const VIRTIO_BASE: u64 = 0x0a00_0000;
/// Distance between two virtio slots in bytes.
pub const VIRTIO_SPACING: u64 = 0x200;
/// Number of the interrupt of the first virtio slot: SPI 16; the others' follow.
pub const VIRTIO_INTID: u32 = 32 + 16;
/// Guest physical address of RAM.
pub const MEMORY_BASE: u64 = 0x4000_0000;
/// Largest RAM in bytes.
pub const MEMORY_MAX: u64 = 256 << 30;
/// Distance from the start of RAM to where a flat image without a header is loaded and entered.
pub const IMAGE_OFFSET: u64 = 0x8_0000;
/// Largest device tree in bytes.
pub const DEVICE_TREE_MAX: u64 = 64 << 10;
