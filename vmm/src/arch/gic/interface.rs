//! The virtual CPU interface: list registers and what else of the hardware acts for a guest (IHI 0069, 12.4
//! "AArch64 system register descriptions of the virtual registers"; IHI 0048B, 5.3 "GIC virtual interface
//! control registers").
//!
//! The registers belong to the vCPU that has the core. An [`InterruptInterface`] holds what has to survive while another
//! one has it; the list registers are not part of it, for what they hold goes back into the VM's
//! distributor.

use super::super::registers::{isb, read_register, write_register};
use crate::{arch::context::InterruptInterface, devices::vgic::Fill, word::low_word};
use spin::Once;
use tock_registers::{
    interfaces::{Readable, Writeable},
    register_structs,
    registers::{ReadOnly, ReadWrite},
};

/// List registers that are used at most: what a Cortex-A72 has.
pub const MAX_LIST_REGISTERS: usize = 4;

/// `HCR.En`: the interface works.
const ENABLE: u32 = 1 << 0;
/// `HCR.LRENPIE`: an interrupt when the guest ends an interrupt that is in no list register.
const ENDED_UNLISTED: u32 = 1 << 2;
/// `HCR.NPIE`: an interrupt when no list register is pending any more.
const NONE_PENDING: u32 = 1 << 3;
/// `HCR.EOIcount`: interrupts that the guest has ended and that are in no list register.
const EOI_COUNT_SHIFT: u32 = 27;
/// GICv3, `ICH_HCR_EL2.TC`, `TALL0`, `TALL1`: the guest's accesses to its CPU interface trap.
const TRAP_ALL: u32 = 0b111 << 10;

register_structs! {
    /// The virtual interface of a GICv2, banked by core.
    Registers {
        (0x000 => hcr: ReadWrite<u32>),
        (0x004 => vtr: ReadOnly<u32>),
        (0x008 => vmcr: ReadWrite<u32>),
        (0x00c => reserved0),
        (0x030 => elrsr0: ReadOnly<u32>),
        (0x034 => reserved1),
        (0x0f0 => apr: ReadWrite<u32>),
        (0x0f4 => reserved2),
        (0x100 => lr: [ReadWrite<u32>; 64]),
        (0x200 => @END),
    }
}

/// How the registers are reached.
#[derive(Clone, Copy)]
pub enum Interface {
    /// GICv2: in memory.
    V2(Control),
    /// GICv3: as system registers.
    V3,
}

/// The registers of a GICv2's virtual interface.
#[derive(Clone, Copy)]
pub struct Control(&'static Registers);

// SAFETY: device registers that are banked by core.
unsafe impl Sync for Control {}
// SAFETY: as above.
unsafe impl Send for Control {}

static INTERFACE: Once<Interface> = Once::new();

/// Remembers where the registers are: at `address`, or in the system registers.
///
/// # Safety
/// `address` is that of a GICv2's virtual interface control registers, mapped as device memory.
pub(super) unsafe fn init(address: Option<u64>) {
    INTERFACE.call_once(|| match address {
        // SAFETY: the caller's promise.
        Some(address) => Interface::V2(Control(unsafe { super::registers(address) })),
        None => Interface::V3,
    });
}

impl Interface {
    /// The interface of this core.
    #[must_use]
    pub fn get() -> Self {
        INTERFACE.get().copied().unwrap_or(Self::V3)
    }

    /// Makes the interface inert, with all list registers free.
    pub(super) fn reset(self) {
        self.write_list_registers(&[0; MAX_LIST_REGISTERS][..self.count()]);
        self.stop();
    }

    /// How many list registers a vCPU may use.
    #[must_use]
    pub fn list_registers(self) -> usize {
        static COUNT: Once<usize> = Once::new();
        *COUNT.call_once(|| self.count())
    }

    fn count(self) -> usize {
        let vtr = match self {
            Self::V2(Control(registers)) => registers.vtr.get(),
            Self::V3 => low_word(read_register!("ich_vtr_el2")),
        };
        usize::try_from((vtr & 0x1f) + 1).unwrap_or(1).min(MAX_LIST_REGISTERS)
    }

    /// Lets the interface act for a vCPU.
    pub fn start(self, state: &InterruptInterface) {
        match self {
            Self::V2(Control(registers)) => {
                registers.vmcr.set(state.vmcr);
                registers.apr.set(state.active_priorities[0]);
                registers.hcr.set(ENABLE);
            }
            Self::V3 => {
                // SAFETY: what the guest sees of its interrupts.
                unsafe {
                    write_register!("ich_vmcr_el2", u64::from(state.vmcr));
                    write_register!("ich_ap0r0_el2", u64::from(state.active_priorities[0]));
                    write_register!("ich_ap1r0_el2", u64::from(state.active_priorities[1]));
                    write_register!("ich_hcr_el2", u64::from(ENABLE));
                }
            }
        }
    }

    /// Takes the interface away from a vCPU whose list registers are free.
    pub fn save(self, state: &mut InterruptInterface) {
        state.vmcr = self.controls();
        match self {
            Self::V2(Control(registers)) => state.active_priorities[0] = registers.apr.get(),
            Self::V3 => {
                state.active_priorities =
                    [low_word(read_register!("ich_ap0r0_el2")), low_word(read_register!("ich_ap1r0_el2"))];
            }
        }
        self.stop();
    }

    /// What the guest has set of its interface (`VMCR`).
    #[must_use]
    pub fn controls(self) -> u32 {
        match self {
            Self::V2(Control(registers)) => registers.vmcr.get(),
            Self::V3 => low_word(read_register!("ich_vmcr_el2")),
        }
    }

    fn stop(self) {
        match self {
            Self::V2(_) => self.set_control(0),
            Self::V3 => self.set_control(TRAP_ALL),
        }
    }

    fn control(self) -> u32 {
        match self {
            Self::V2(Control(registers)) => registers.hcr.get(),
            Self::V3 => low_word(read_register!("ich_hcr_el2")),
        }
    }

    fn set_control(self, value: u32) {
        match self {
            Self::V2(Control(registers)) => registers.hcr.set(value),
            // SAFETY: the guest's interrupts only.
            Self::V3 => unsafe { write_register!("ich_hcr_el2", u64::from(value)) },
        }
    }

    /// Asks for a maintenance interrupt if what found no room in the list registers needs one, and lets the interface
    /// work. Forgets what [`Self::ended_unlisted`] has told.
    pub fn request_maintenance(self, fill: Fill) {
        let pending = if fill.pending_left { NONE_PENDING } else { 0 };
        let active = if fill.active_left { ENDED_UNLISTED } else { 0 };
        self.set_control(ENABLE | pending | active);
    }

    /// Turns the interface off until [`Self::request_maintenance`], so that the maintenance interrupt is not asserted any
    /// more: whatever the reason for it, it needs `HCR.En`. What the reason was stays where it is, in the list registers
    /// and in what [`Self::ended_unlisted`] tells.
    pub fn silence_maintenance(self) {
        self.set_control(self.control() & !ENABLE);
        isb();
    }

    /// Interrupts that the guest has ended and that are in no list register.
    #[must_use]
    pub fn ended_unlisted(self) -> u32 {
        self.control() >> EOI_COUNT_SHIFT
    }

    /// Reads the first list registers.
    #[inline]
    pub fn read_list_registers(self, values: &mut [u64]) {
        match self {
            Self::V2(Control(registers)) => {
                values.iter_mut().zip(&registers.lr).for_each(|(value, lr)| *value = u64::from(lr.get()));
            }
            Self::V3 => values.iter_mut().enumerate().for_each(|(index, value)| *value = read_v3(index)),
        }
    }

    /// Writes the first list registers.
    #[inline]
    pub fn write_list_registers(self, values: &[u64]) {
        match self {
            Self::V2(Control(registers)) => {
                values.iter().zip(&registers.lr).for_each(|(value, lr)| lr.set(low_word(*value)));
            }
            Self::V3 => values.iter().enumerate().for_each(|(index, value)| write_v3(index, *value)),
        }
    }
}

#[inline]
fn read_v3(index: usize) -> u64 {
    match index {
        0 => read_register!("ich_lr0_el2"),
        1 => read_register!("ich_lr1_el2"),
        2 => read_register!("ich_lr2_el2"),
        _ => read_register!("ich_lr3_el2"),
    }
}

#[inline]
fn write_v3(index: usize, value: u64) {
    // SAFETY: signals interrupts to the guest only.
    unsafe {
        match index {
            0 => write_register!("ich_lr0_el2", value),
            1 => write_register!("ich_lr1_el2", value),
            2 => write_register!("ich_lr2_el2", value),
            _ => write_register!("ich_lr3_el2", value),
        }
    }
}
