//! The physical interrupt controller: GICv2 (Arm IHI 0048B) or GICv3 (Arm IHI 0069).

pub mod interface;

use super::{
    cpu::core_index,
    registers::{dsb_sy, isb, read_register, write_register},
};
use crate::{
    devices::vgic::Version,
    platform::{self, MAX_CORES},
};
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
        (0x0300 => isactiver: [ReadWrite<u32>; 32]),
        (0x0380 => icactiver: [ReadWrite<u32>; 32]),
        (0x0400 => ipriorityr: [ReadWrite<u8>; 1024]),
        (0x0800 => itargetsr: [ReadWrite<u8>; 1024]),
        (0x0c00 => reserved2),
        (0x0f00 => sgir: WriteOnly<u32>),
        (0x0f04 => reserved3),
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
        (0x14 => reserved0),
        (0x1000 => dir: WriteOnly<u32>),
        (0x1004 => @END),
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
        (0x10300 => isactiver0: ReadWrite<u32>),
        (0x10304 => reserved7),
        (0x10380 => icactiver0: ReadWrite<u32>),
        (0x10384 => reserved8),
        (0x10400 => ipriorityr: [ReadWrite<u8>; 32]),
        (0x10420 => reserved6),
        (0x20000 => @END),
    }
}

/// The interrupt controller, the same for all cores.
struct Gic {
    distributor: &'static Distributor,
    /// GICv2: the CPU interface, banked by core. GICv3: none, it has system registers.
    cpu_interface: Option<&'static CpuInterface>,
    /// GICv2: the virtual CPU interface that guests see.
    guest_interface: Option<u64>,
    /// GICv3: where to find each core's redistributor.
    redistributors: platform::Ranges,
}

/// What is different for each core.
struct GicCore {
    /// GICv3.
    redistributor: Option<&'static Redistributor>,
    /// How a software generated interrupt reaches the core: its affinity, or on a GICv2 its bit.
    target: u64,
}

// SAFETY: device registers. What changes after `init` is written by single stores that set one interrupt's
// bits, or is banked for each core.
unsafe impl Sync for Gic {}
// SAFETY: as above.
unsafe impl Send for Gic {}
// SAFETY: as above.
unsafe impl Sync for GicCore {}
// SAFETY: as above.
unsafe impl Send for GicCore {}

static GIC: Once<Gic> = Once::new();
static CORES: [Once<GicCore>; MAX_CORES] = [const { Once::new() }; MAX_CORES];

/// The software generated interrupt by which cores ask each other to look at their queues.
pub const KICK: IntId = 0;

/// Sets the distributor up with every interrupt off.
///
/// # Safety
/// `gic` is what the device tree says, and mapped as device memory.
pub unsafe fn init(gic: &platform::Gic) {
    // SAFETY: the caller's promise.
    let distributor = unsafe { registers(gic.distributor.start) };
    let gic = match &gic.cpus {
        platform::GicCpus::Interface { cpu, control, guest } => {
            // SAFETY: the caller's promise.
            unsafe { interface::init(Some(control.start)) };
            // SAFETY: the caller's promise.
            let cpu_interface = Some(unsafe { registers(cpu.start) });
            let guest_interface = Some(guest.start);
            Gic { distributor, cpu_interface, guest_interface, redistributors: platform::Ranges::new() }
        }
        platform::GicCpus::Redistributors(ranges) => {
            // SAFETY: it has system registers.
            unsafe { interface::init(None) };
            Gic { distributor, cpu_interface: None, guest_interface: None, redistributors: ranges.clone() }
        }
    };
    gic.init_distributor();
    GIC.call_once(|| gic);
}

/// Makes this core ready to take interrupts. Returns `false` when the controller does not know the core.
pub fn init_core() -> bool {
    let Some(gic) = GIC.get() else { return false };
    let core = match gic.cpu_interface {
        Some(cpu) => Some(init_core_v2(gic.distributor, cpu)),
        // SAFETY: `init`'s promise.
        None => unsafe { find_redistributor(&gic.redistributors) }.map(init_core_v3),
    };
    let (Some(core), Some(slot)) = (core, CORES.get(core_index())) else { return false };
    slot.call_once(|| core);
    interface::Interface::get().reset();
    enable(KICK);
    true
}

/// Lets an interrupt through to this core.
pub fn enable(intid: IntId) {
    let (Some(gic), Some(core)) = (GIC.get(), this_core()) else { return };
    let (Ok(index), bit) = (usize::try_from(intid), bit(intid)) else { return };
    match core.redistributor {
        Some(redistributor) if intid < FIRST_SPI => {
            redistributor.ipriorityr[index].set(PRIORITY);
            redistributor.isenabler0.set(bit);
        }
        _ if intid < SPECIAL => {
            gic.distributor.ipriorityr[index].set(PRIORITY);
            if intid >= FIRST_SPI {
                gic.route_here(index, bit, core);
            }
            gic.distributor.isenabler[index / 32].set(bit);
        }
        _ => {}
    }
}

/// What becomes of an interrupt that has been handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It may come again.
    Done,
    /// It stays active: a guest will deactivate it.
    ByGuest,
}

/// Calls `handle` with the interrupt that is pending for this core, if there is one. If there are more, the core
/// is interrupted again.
///
/// Priority drop and deactivation are apart (EOImode 1), so that an interrupt can be left to a guest while
/// others go on.
#[inline]
pub fn take_pending(handle: impl FnOnce(IntId) -> Handled) {
    let Some(gic) = GIC.get() else { return };
    let Some(acknowledged) = gic.acknowledge() else { return };
    let handled = handle(acknowledged.intid());
    gic.drop_priority(acknowledged);
    if handled == Handled::Done {
        gic.deactivate(acknowledged);
    }
}

/// Makes another core look at its queue.
pub fn kick(core: usize) {
    let (Some(gic), Some(target)) = (GIC.get(), CORES.get(core).and_then(Once::get)) else { return };
    // What the other core is to see comes first (IHI 0069, 12.1.6).
    super::registers::dsb_ish();
    if gic.cpu_interface.is_some() {
        gic.distributor.sgir.set(u32::try_from(target.target << 16).unwrap_or(0) | KICK);
    } else {
        let affinity = target.target;
        let [aff0, aff1, aff2, _, aff3, ..] = affinity.to_le_bytes().map(u64::from);
        let value = aff3 << 48
            | (aff0 >> 4) << 44
            | aff2 << 32
            | u64::from(KICK) << 24
            | aff1 << 16
            | 1 << (aff0 & 0xf);
        // SAFETY: interrupts a core that is set up for it.
        unsafe { write_register!("icc_sgi1r_el1", value) };
        isb();
    }
}

/// The version of the controller, which guests get as well.
#[must_use]
pub fn version() -> Version {
    match GIC.get() {
        Some(gic) if gic.cpu_interface.is_some() => Version::V2,
        _ => Version::V3,
    }
}

/// Physical address of a GICv2's virtual CPU interface, which guests see.
#[must_use]
pub fn guest_cpu_interface() -> Option<u64> {
    GIC.get().and_then(|gic| gic.guest_interface)
}

/// Marks a private interrupt of this core active, or not: an interrupt that a guest is handling belongs to
/// the guest, and goes and comes with it.
pub fn set_active(intid: IntId, active: bool) {
    let (Some(gic), Some(core)) = (GIC.get(), this_core()) else { return };
    let register = match (core.redistributor, active) {
        (Some(redistributor), true) => &redistributor.isactiver0,
        (Some(redistributor), false) => &redistributor.icactiver0,
        (None, true) => &gic.distributor.isactiver[0],
        (None, false) => &gic.distributor.icactiver[0],
    };
    register.set(bit(intid));
}

fn this_core() -> Option<&'static GicCore> {
    CORES.get(core_index()).and_then(Once::get)
}

/// An interrupt's bit in a register of 32.
const fn bit(intid: IntId) -> u32 {
    1 << (intid % 32)
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
    fn init_distributor(&self) {
        /// Both groups. Seen from the non-secure state, bits 0 and 1 enable what there is.
        const ENABLE_GROUPS: u32 = 0b11;
        /// GICv3: affinity routing.
        const AFFINITY_ROUTING: u32 = 1 << 4;
        for word in &self.distributor.icenabler[1..] {
            word.set(u32::MAX);
        }
        let routing = if self.cpu_interface.is_none() { AFFINITY_ROUTING } else { 0 };
        self.distributor.ctlr.set(ENABLE_GROUPS | routing);
    }

    /// Sends a shared interrupt to this core.
    fn route_here(&self, index: usize, bit: u32, core: &GicCore) {
        if self.cpu_interface.is_some() {
            self.distributor.itargetsr[index].set(core.target.to_le_bytes()[0]);
        } else {
            let group = &self.distributor.igroupr[index / 32];
            group.set(group.get() | bit);
            self.distributor.irouter[index].set(core.target);
        }
    }

    fn acknowledge(&self) -> Option<Acknowledged> {
        let value = match self.cpu_interface {
            Some(cpu) => cpu.iar.get(),
            None => {
                let value = read_register!("icc_iar1_el1");
                // The acknowledgement takes effect before what the handler does (IHI 0069, 4.1.1).
                dsb_sy();
                u32::try_from(value & 0xff_ffff).unwrap_or(u32::MAX)
            }
        };
        let acknowledged = Acknowledged(value);
        (acknowledged.intid() < SPECIAL).then_some(acknowledged)
    }

    fn drop_priority(&self, acknowledged: Acknowledged) {
        match self.cpu_interface {
            Some(cpu) => cpu.eoir.set(acknowledged.0),
            // SAFETY: ends the interrupt that this core acknowledged.
            None => unsafe { write_register!("icc_eoir1_el1", u64::from(acknowledged.0)) },
        }
    }

    fn deactivate(&self, acknowledged: Acknowledged) {
        match self.cpu_interface {
            Some(cpu) => cpu.dir.set(acknowledged.0),
            // SAFETY: deactivates the interrupt that this core acknowledged.
            None => unsafe { write_register!("icc_dir_el1", u64::from(acknowledged.0)) },
        }
        isb();
    }
}

fn init_core_v2(distributor: &Distributor, cpu: &CpuInterface) -> GicCore {
    /// Group 1 as the non-secure state sees it, or group 0 where there are no security extensions.
    const ENABLE: u32 = 1 << 0;
    /// `EOImodeNS`, or `EOImode` where there are no security extensions.
    const EOI_MODE: u32 = 1 << 9;
    distributor.icenabler[0].set(u32::MAX);
    distributor.icactiver[0].set(u32::MAX);
    cpu.pmr.set(u32::from(PRIORITY_MASK));
    cpu.bpr.set(0);
    cpu.ctlr.set(ENABLE | EOI_MODE);
    // The targets of a private interrupt read as this core's own bit, or as 0 if it is the only core (IHI 0048B,
    // 4.3.12).
    GicCore { redistributor: None, target: u64::from(distributor.itargetsr[0].get().max(1)) }
}

fn init_core_v3(redistributor: &'static Redistributor) -> GicCore {
    const PROCESSOR_SLEEP: u32 = 1 << 1;
    const CHILDREN_ASLEEP: u32 = 1 << 2;
    redistributor.waker.set(redistributor.waker.get() & !PROCESSOR_SLEEP);
    while redistributor.waker.get() & CHILDREN_ASLEEP != 0 {
        core::hint::spin_loop();
    }
    redistributor.icenabler0.set(u32::MAX);
    redistributor.icactiver0.set(u32::MAX);
    redistributor.igroupr0.set(u32::MAX);
    /// `ICC_SRE_EL2`: system registers for EL2, no bypass; EL1's access to its own SRE traps.
    const SYSTEM_REGISTERS: u64 = 0b111;
    /// `ICC_CTLR_EL1.EOImode`.
    const EOI_MODE: u64 = 1 << 1;
    // SAFETY: the interrupt interface of EL2 only.
    unsafe {
        write_register!("icc_sre_el2", SYSTEM_REGISTERS);
        isb();
        write_register!("icc_pmr_el1", u64::from(PRIORITY_MASK));
        write_register!("icc_ctlr_el1", EOI_MODE);
        write_register!("icc_igrpen1_el1", 1);
    }
    isb();
    GicCore { redistributor: Some(redistributor), target: super::cpu::core_id() }
}
/// The redistributor of this core, among all of them.
///
/// # Safety
/// `ranges` are GICv3 redistributors, mapped as device memory.
unsafe fn find_redistributor(ranges: &[core::ops::Range<u64>]) -> Option<&'static Redistributor> {
    const LAST: u64 = 1 << 4;
    const VIRTUAL_LPIS: u64 = 1 << 1;
    let mpidr = super::cpu::core_id();
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
