//! The virtual CPU interface: list registers and what else of the hardware acts for a guest (IHI 0069, 12.4
//! "AArch64 system register descriptions of the virtual registers"; IHI 0048B, 5.3 "GIC virtual interface
//! control registers").
//!
//! The registers belong to the vCPU that has the core. An [`InterruptInterface`] holds what has to survive while another
//! one has it; the list registers are not part of it, for what they hold goes back into the VM's
//! distributor.

use super::super::registers::{isb, read_register, write_register};
use crate::{
    arch::context::InterruptInterface,
    devices::vgic::{Fill, ListRegister},
};
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
    Control {
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

/// The registers of a GICv2. A GICv3 has system registers instead.
struct Interface {
    control: Option<&'static Control>,
}

// SAFETY: device registers that are banked by core.
unsafe impl Sync for Interface {}
// SAFETY: as above.
unsafe impl Send for Interface {}

static INTERFACE: Once<Interface> = Once::new();

/// Remembers where the registers are: at `address`, or in the system registers.
///
/// # Safety
/// `address` is that of a GICv2's virtual interface control registers, mapped as device memory.
pub(super) unsafe fn init(address: Option<u64>) {
    // SAFETY: the caller's promise.
    let control = address.map(|address| unsafe { super::registers(address) });
    INTERFACE.call_once(|| Interface { control });
}

fn control() -> Option<&'static Control> {
    INTERFACE.get().and_then(|interface| interface.control)
}

/// Makes the interface inert, with all list registers free.
pub(super) fn reset() {
    (0..count()).for_each(|index| write_list_register(index, ListRegister::EMPTY));
    stop();
}

/// List registers that there are to use.
fn count() -> usize {
    let vtr = match control() {
        Some(control) => control.vtr.get(),
        None => low_word(read_register!("ich_vtr_el2")),
    };
    usize::try_from((vtr & 0x1f) + 1).unwrap_or(1).min(MAX_LIST_REGISTERS)
}

/// Lets the interface act for a vCPU.
pub fn start(state: &InterruptInterface) {
    match control() {
        Some(control) => {
            control.vmcr.set(state.vmcr);
            control.apr.set(state.active_priorities[0]);
            control.hcr.set(ENABLE);
        }
        None => {
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
pub fn save(state: &mut InterruptInterface) {
    match control() {
        Some(control) => {
            state.vmcr = control.vmcr.get();
            state.active_priorities[0] = control.apr.get();
        }
        None => {
            state.vmcr = low_word(read_register!("ich_vmcr_el2"));
            state.active_priorities =
                [low_word(read_register!("ich_ap0r0_el2")), low_word(read_register!("ich_ap1r0_el2"))];
        }
    }
    stop();
}

/// Reads what the guest has set of its interface.
pub fn peek(state: &mut InterruptInterface) {
    state.vmcr = match control() {
        Some(control) => control.vmcr.get(),
        None => low_word(read_register!("ich_vmcr_el2")),
    };
}

fn stop() {
    match control() {
        Some(control) => control.hcr.set(0),
        // SAFETY: nothing is signalled to a guest any more.
        None => unsafe { write_register!("ich_hcr_el2", u64::from(TRAP_ALL)) },
    }
}

/// Asks for a maintenance interrupt if what found no room in the list registers needs one, and lets the interface work.
/// Forgets what [`ended_unlisted`] has told.
pub fn request_maintenance(fill: Fill) {
    let mut value = ENABLE;
    if fill.pending_left {
        value |= NONE_PENDING;
    }
    if fill.active_left {
        value |= ENDED_UNLISTED;
    }
    match control() {
        Some(control) => control.hcr.set(value),
        // SAFETY: the guest's interrupts only.
        None => unsafe { write_register!("ich_hcr_el2", u64::from(value)) },
    }
}

/// Turns the interface off until [`request_maintenance`], so that the maintenance interrupt is not asserted any more:
/// whatever the reason for it, it needs `HCR.En`. What the reason was stays where it is, in the list registers and
/// in what [`ended_unlisted`] tells.
pub fn silence_maintenance() {
    match control() {
        Some(control) => control.hcr.set(control.hcr.get() & !ENABLE),
        None => {
            let value = read_register!("ich_hcr_el2") & !u64::from(ENABLE);
            // SAFETY: the guest's interrupts only.
            unsafe { write_register!("ich_hcr_el2", value) };
        }
    }
    isb();
}

/// Interrupts that the guest has ended and that are in no list register.
#[must_use]
pub fn ended_unlisted() -> u32 {
    let hcr = match control() {
        Some(control) => control.hcr.get(),
        None => low_word(read_register!("ich_hcr_el2")),
    };
    hcr >> EOI_COUNT_SHIFT
}

/// Reads the first list registers.
pub fn read_list_registers(registers: &mut [ListRegister]) {
    for (index, register) in registers.iter_mut().enumerate() {
        *register = match control() {
            Some(control) => control.lr.get(index).map(|lr| ListRegister::decode_v2(lr.get())),
            None => Some(ListRegister::decode_v3(read_v3(index))),
        }
        .unwrap_or(ListRegister::EMPTY);
    }
}

/// Writes the first list registers.
pub fn write_list_registers(registers: &[ListRegister]) {
    registers.iter().enumerate().for_each(|(index, register)| write_list_register(index, *register));
}

/// How many list registers a vCPU may use.
#[must_use]
pub fn list_registers() -> usize {
    static COUNT: Once<usize> = Once::new();
    *COUNT.call_once(count)
}

fn write_list_register(index: usize, register: ListRegister) {
    match control() {
        Some(control) => {
            if let Some(lr) = control.lr.get(index) {
                lr.set(register.encode_v2());
            }
        }
        None => write_v3(index, register.encode_v3()),
    }
}

fn read_v3(index: usize) -> u64 {
    match index {
        0 => read_register!("ich_lr0_el2"),
        1 => read_register!("ich_lr1_el2"),
        2 => read_register!("ich_lr2_el2"),
        _ => read_register!("ich_lr3_el2"),
    }
}

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

fn low_word(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0)
}
