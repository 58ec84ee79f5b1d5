//! The physical interrupt controller: GICv2 (Arm IHI 0048B) or GICv3 (Arm IHI 0069).

use super::registers::{dsb_sy, isb, read_register, write_register};
use crate::platform;
use spin::Once;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, ReadWrite, WriteOnly},
};

/// An interrupt's number.
pub type IntId = u32;

/// Numbers from here on are not interrupts: 1023 means that none is pending.
const SPECIAL: IntId = 1020;
/// The first interrupt that is shared by all cores.
const FIRST_SPI: IntId = 32;
/// Priority of all interrupts: the middle of what the non-secure state may use.
const PRIORITY: u8 = 0xa0;
/// Lets every priority through to the core.
const PRIORITY_MASK: u8 = 0xff;

register_structs! {
    /// Distributor (IHI 0048B, 4.3; IHI 0069, 12.9).
    Distributor {
        (0x0000 => ctlr: ReadWrite<u32>),
        (0x0004 => reserved0),
        (0x0080 => igroupr: [ReadWrite<u32>; 32]),
        (0x0100 => isenabler: [ReadWrite<u32>; 32]),
        (0x0180 => icenabler: [ReadWrite<u32>; 32]),
        (0x0200 => reserved1),
        (0x0400 => ipriorityr: [ReadWrite<u8>; 1024]),
        (0x0800 => itargetsr: [ReadWrite<u8>; 1024]),
        (0x0c00 => reserved2),
        (0x6000 => irouter: [ReadWrite<u64>; 1020]),
        (0x7fe0 => @END),
    },
    /// CPU interface of a GICv2 (IHI 0048B, 4.4).
    CpuInterface {
        (0x00 => ctlr: ReadWrite<u32>),
        (0x04 => pmr: ReadWrite<u32>),
        (0x08 => bpr: ReadWrite<u32>),
        (0x0c => iar: ReadOnly<u32>),
        (0x10 => eoir: WriteOnly<u32>),
        (0x14 => @END),
    },
    /// Redistributor of one core: the control frame and the SGI frame (IHI 0069, 12.10).
    Redistributor {
        (0x00000 => reserved0),
        (0x00008 => typer: ReadOnly<u64>),
        (0x00010 => reserved1),
        (0x00014 => waker: ReadWrite<u32>),
        (0x00018 => reserved2),
        (0x10080 => igroupr0: ReadWrite<u32>),
        (0x10084 => reserved3),
        (0x10100 => isenabler0: ReadWrite<u32>),
        (0x10104 => reserved4),
        (0x10180 => icenabler0: ReadWrite<u32>),
        (0x10184 => reserved5),
        (0x10400 => ipriorityr: [ReadWrite<u8>; 32]),
        (0x10420 => reserved6),
        (0x20000 => @END),
    }
}

enum Gic {
    V2 { distributor: &'static Distributor, cpu: &'static CpuInterface },
    V3 { distributor: &'static Distributor, redistributor: &'static Redistributor },
}

// SAFETY: device registers. What changes after `init` is written by single stores that set one interrupt's
// bits, or is banked for each core.
unsafe impl Sync for Gic {}
// SAFETY: as above.
unsafe impl Send for Gic {}

static GIC: Once<Gic> = Once::new();

/// Sets the controller up with every interrupt off, and this core ready to take them. Returns `false` when
/// the controller has no redistributor for this core.
///
/// # Safety
/// `gic` is what the device tree says, and mapped as device memory.
pub unsafe fn init(gic: &platform::Gic) -> bool {
    // SAFETY: the caller's promise, here and below.
    let distributor = unsafe { registers(gic.distributor.start) };
    let gic = match &gic.cpus {
        platform::GicCpus::Interface(range) => {
            // SAFETY: see above.
            let cpu = unsafe { registers(range.start) };
            Gic::V2 { distributor, cpu }
        }
        platform::GicCpus::Redistributors(ranges) => {
            // SAFETY: see above.
            let Some(redistributor) = (unsafe { find_redistributor(ranges) }) else { return false };
            Gic::V3 { distributor, redistributor }
        }
    };
    gic.init_distributor();
    gic.init_core();
    GIC.call_once(|| gic);
    true
}

/// Lets an interrupt through to this core.
pub fn enable(intid: IntId) {
    if let Some(gic) = GIC.get() {
        gic.enable(intid);
    }
}

/// Calls `handle` with each interrupt that is pending for this core, until there is none.
pub fn for_each_pending(mut handle: impl FnMut(IntId)) {
    let Some(gic) = GIC.get() else { return };
    while let Some(acknowledged) = gic.acknowledge() {
        handle(acknowledged.intid());
        gic.end(acknowledged);
    }
}

/// What the acknowledge register said. A GICv2 wants it back whole, with the sender of an SGI.
#[derive(Clone, Copy)]
struct Acknowledged(u32);

impl Acknowledged {
    fn intid(self) -> IntId {
        self.0 & 0x3ff
    }
}

impl Gic {
    fn distributor(&self) -> &'static Distributor {
        match self {
            Self::V2 { distributor, .. } | Self::V3 { distributor, .. } => distributor,
        }
    }

    fn init_distributor(&self) {
        /// GICv3: affinity routing, and both groups. On a GICv2, and seen from the non-secure state, bits 0
        /// and 1 enable what there is, and the others are reserved.
        const ENABLE_GROUPS: u32 = 0b11;
        const AFFINITY_ROUTING: u32 = 1 << 4;
        let distributor = self.distributor();
        for word in &distributor.icenabler[1..] {
            word.set(u32::MAX);
        }
        let routing = if matches!(self, Self::V3 { .. }) { AFFINITY_ROUTING } else { 0 };
        distributor.ctlr.set(ENABLE_GROUPS | routing);
    }

    fn init_core(&self) {
        match self {
            Self::V2 { distributor, cpu } => init_core_v2(distributor, cpu),
            Self::V3 { redistributor, .. } => init_core_v3(redistributor),
        }
    }

    fn enable(&self, intid: IntId) {
        let (Ok(index), bit) = (usize::try_from(intid), 1 << (intid % 32)) else { return };
        match self {
            Self::V3 { redistributor, .. } if intid < FIRST_SPI => {
                redistributor.ipriorityr[index].set(PRIORITY);
                redistributor.isenabler0.set(bit);
            }
            Self::V3 { distributor, .. } if intid < SPECIAL => {
                distributor.igroupr[index / 32].set(distributor.igroupr[index / 32].get() | bit);
                distributor.ipriorityr[index].set(PRIORITY);
                distributor.irouter[index].set(affinity());
                distributor.isenabler[index / 32].set(bit);
            }
            Self::V2 { distributor, .. } if intid < SPECIAL => {
                distributor.ipriorityr[index].set(PRIORITY);
                if intid >= FIRST_SPI {
                    // The targets of a private interrupt read as this core's own bit (IHI 0048B, 4.3.12).
                    distributor.itargetsr[index].set(distributor.itargetsr[0].get());
                }
                distributor.isenabler[index / 32].set(bit);
            }
            _ => {}
        }
    }

    fn acknowledge(&self) -> Option<Acknowledged> {
        let value = match self {
            Self::V2 { cpu, .. } => cpu.iar.get(),
            Self::V3 { .. } => {
                let value = read_register!("icc_iar1_el1");
                // The acknowledgement takes effect before what the handler does (IHI 0069, 4.1.1).
                dsb_sy();
                u32::try_from(value & 0xff_ffff).unwrap_or(u32::MAX)
            }
        };
        let acknowledged = Acknowledged(value);
        (acknowledged.intid() < SPECIAL).then_some(acknowledged)
    }

    fn end(&self, acknowledged: Acknowledged) {
        match self {
            Self::V2 { cpu, .. } => cpu.eoir.set(acknowledged.0),
            // SAFETY: ends the interrupt that this core acknowledged.
            Self::V3 { .. } => unsafe { write_register!("icc_eoir1_el1", u64::from(acknowledged.0)) },
        }
        isb();
    }
}

fn init_core_v2(distributor: &Distributor, cpu: &CpuInterface) {
    distributor.icenabler[0].set(u32::MAX);
    cpu.pmr.set(u32::from(PRIORITY_MASK));
    cpu.bpr.set(0);
    // Group 1 as the non-secure state sees it, or group 0 where there are no security extensions.
    cpu.ctlr.set(1);
}

fn init_core_v3(redistributor: &Redistributor) {
    const PROCESSOR_SLEEP: u32 = 1 << 1;
    const CHILDREN_ASLEEP: u32 = 1 << 2;
    redistributor.waker.set(redistributor.waker.get() & !PROCESSOR_SLEEP);
    while redistributor.waker.get() & CHILDREN_ASLEEP != 0 {
        core::hint::spin_loop();
    }
    redistributor.icenabler0.set(u32::MAX);
    redistributor.igroupr0.set(u32::MAX);
    /// `ICC_SRE_EL2`: system registers for EL2, no bypass; EL1's access to its own SRE traps.
    const SYSTEM_REGISTERS: u64 = 0b111;
    /// `ICH_HCR_EL2`: a guest's accesses to the CPU interface trap, for it has none.
    const TRAP_ALL: u64 = 0b111 << 10;
    // SAFETY: the interrupt interface of EL2 only.
    unsafe {
        write_register!("icc_sre_el2", SYSTEM_REGISTERS);
        isb();
        write_register!("ich_hcr_el2", TRAP_ALL);
        write_register!("icc_pmr_el1", u64::from(PRIORITY_MASK));
        write_register!("icc_ctlr_el1", 0);
        write_register!("icc_igrpen1_el1", 1);
    }
    isb();
}

/// This core's affinity, as `GICD_IROUTER` wants it.
fn affinity() -> u64 {
    read_register!("mpidr_el1") & 0xff_00ff_ffff
}

/// The redistributor of this core, among all of them.
///
/// # Safety
/// `ranges` are GICv3 redistributors, mapped as device memory.
unsafe fn find_redistributor(ranges: &[core::ops::Range<u64>]) -> Option<&'static Redistributor> {
    const LAST: u64 = 1 << 4;
    const VIRTUAL_LPIS: u64 = 1 << 1;
    let mpidr = affinity();
    let wanted = mpidr & 0xff_ffff | mpidr >> 32 << 24;
    for range in ranges {
        let mut at = range.start;
        while at + FRAMES_SIZE <= range.end {
            // SAFETY: the caller's promise.
            let redistributor: &'static Redistributor = unsafe { registers(at) };
            let typer = redistributor.typer.get();
            if typer >> 32 == wanted {
                return Some(redistributor);
            }
            if typer & LAST != 0 {
                break;
            }
            // GICv4 has two more frames for each core.
            at += if typer & VIRTUAL_LPIS != 0 { 2 * FRAMES_SIZE } else { FRAMES_SIZE };
        }
    }
    None
}

/// Size of a redistributor's two frames in bytes.
const FRAMES_SIZE: u64 = 0x2_0000;

/// # Safety
/// The registers of a `T` are mapped at `address`.
unsafe fn registers<T>(address: u64) -> &'static T {
    // SAFETY: the caller's promise. An address is as wide as a pointer.
    unsafe { &*(address as *const T) }
}
