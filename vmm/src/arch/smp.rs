//! The other cores: how they are started, and the first instructions they execute.
//!
//! A core starts with its MMU and caches off, so what it reads first must have left the boot core's caches:
//! a record for each core, which it finds by its affinity.

use super::{
    cpu,
    entry::{GuardedStack, STACK_SIZE},
    mmu::{self, El2Registers},
    registers::dsb_sy,
};
use crate::{
    deadline::Deadline,
    platform::{Core, MAX_CORES, Psci, Start},
};
use core::{
    arch::{asm, global_asm},
    mem::offset_of,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};
use smccc::{Hvc, Smc, psci};

/// How long a core may take to come up, in milliseconds.
const PATIENCE_MS: u64 = 1000;

/// What a core needs before it has a stack.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Record {
    affinity: u64,
    stack: u64,
    slot: u64,
    registers: El2Registers,
}

/// No core has this affinity.
const NOBODY: u64 = u64::MAX;

static mut RECORDS: [Record; MAX_CORES] =
    [Record { affinity: NOBODY, stack: 0, slot: 0, registers: El2Registers::OFF }; MAX_CORES];

#[unsafe(link_section = ".noinit.stack")]
static mut STACKS: [GuardedStack<STACK_SIZE>; MAX_CORES - 1] = [const { GuardedStack::EMPTY }; MAX_CORES - 1];

/// What has become of a core that was asked to come up. It and the boot core agree on that by one exchange, for it may
/// come when nobody waits for it any more: its record and its stack are never another core's.
static STATES: [AtomicU8; MAX_CORES] = [const { AtomicU8::new(ASKED) }; MAX_CORES];
const ASKED: u8 = 0;
const ONLINE: u8 = 1;
const LEFT_OUT: u8 = 2;

/// Which core it is to be.
static INDICES: [AtomicUsize; MAX_CORES] = [const { AtomicUsize::new(0) }; MAX_CORES];

global_asm!(
    r#"
    .section .text.secondary, "ax"
    .global secondary_entry
secondary_entry:
    msr     daifset, #0xf
    mrs     x0, mpidr_el1
    mov     x1, #0xffffff
    movk    x1, #0xff, lsl #32
    and     x0, x0, x1
    adrp    x1, {records}
    add     x1, x1, :lo12:{records}
    mov     x2, #{count}
1:  ldr     x3, [x1, #{affinity}]
    cmp     x3, x0
    b.eq    2f
    add     x1, x1, #{size}
    subs    x2, x2, #1
    b.ne    1b
    // A core that nobody asked for.
3:  wfe
    b       3b

2:  ldr     x3, [x1, #{stack}]
    mov     sp, x3
    ldr     x0, [x1, #{slot}]
    ldp     x2, x3, [x1, #{registers} + {mair}]
    msr     mair_el2, x2
    msr     tcr_el2, x3
    ldp     x2, x3, [x1, #{registers} + {ttbr0}]
    msr     ttbr0_el2, x2
    dsb     ish
    tlbi    alle2
    ic      iallu
    dsb     ish
    isb
    msr     sctlr_el2, x3
    isb
    mov     x29, xzr
    mov     x30, xzr
    b       {main}
    "#,
    records = sym RECORDS,
    count = const MAX_CORES,
    size = const size_of::<Record>(),
    affinity = const offset_of!(Record, affinity),
    stack = const offset_of!(Record, stack),
    slot = const offset_of!(Record, slot),
    registers = const offset_of!(Record, registers),
    mair = const offset_of!(El2Registers, mair),
    ttbr0 = const offset_of!(El2Registers, ttbr0),
    main = sym secondary_start,
);

/// The other cores' stacks.
pub(super) fn stacks() -> *const GuardedStack<STACK_SIZE> {
    (&raw const STACKS).cast()
}

/// What each core does once it is up.
static mut MAIN: fn() -> ! = || unreachable!();

extern "C" fn secondary_start(slot: usize) -> ! {
    if !settle(slot, ONLINE) {
        loop {
            aarch64_cpu::asm::wfe();
        }
    }
    cpu::adopt(INDICES[slot].load(Ordering::Relaxed));
    // SAFETY: written before the first core was started.
    unsafe { MAIN() }
}

/// Says what has become of a core, unless that is settled.
fn settle(slot: usize, state: u8) -> bool {
    STATES[slot].compare_exchange(ASKED, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Starts all cores but this one, each of which then calls `main`. Returns how many cores run, this one
/// included; one that does not come up is reported and left out.
///
/// Cores are numbered in the order of the device tree, this one first.
pub fn start_all(cores: &[Core], psci: Option<Psci>, main: fn() -> !) -> usize {
    // SAFETY: no other core runs yet.
    unsafe { MAIN = main };
    let mut count = 1;
    let others = cores.iter().filter(|core| core.affinity != cpu::core_id());
    for (slot, core) in (1..MAX_CORES).zip(others) {
        if start(core, slot, count, psci) {
            count += 1;
        }
    }
    count
}

fn start(core: &Core, slot: usize, index: usize, psci: Option<Psci>) -> bool {
    unsafe extern "C" {
        static secondary_entry: u8;
    }
    let record = Record {
        affinity: core.affinity,
        // Core 1 has the first of them; a stack begins at its end.
        stack: stacks().wrapping_add(slot).addr() as u64,
        slot: slot as u64,
        registers: mmu::registers(),
    };
    INDICES[slot].store(index, Ordering::Relaxed);
    // SAFETY: the slot is this core's alone; no running core looks for its affinity there.
    unsafe { (&raw mut RECORDS).cast::<Record>().add(slot).write(record) };
    clean_to_memory();
    let entry = (&raw const secondary_entry).addr() as u64;
    let asked = match core.start {
        Start::Psci => psci_cpu_on(core.affinity, entry, psci),
        Start::SpinTable(release) => release_from_spin(release, entry),
        Start::Unknown => false,
    };
    let is_up = asked && comes_up(slot);
    if !is_up {
        log::error!("core {index} (affinity {:#x}) does not come up and is left out", core.affinity);
    }
    is_up
}

fn psci_cpu_on(affinity: u64, entry: u64, psci: Option<Psci>) -> bool {
    match psci {
        Some(Psci::Smc) => psci::cpu_on::<Smc>(affinity, entry, 0).is_ok(),
        Some(Psci::Hvc) => psci::cpu_on::<Hvc>(affinity, entry, 0).is_ok(),
        None => false,
    }
}

/// Writes the entry address where the core looks for it (Linux' `booting.rst`, "spin-table").
fn release_from_spin(release: u64, entry: u64) -> bool {
    if !release.is_multiple_of(8) || !mmu::is_data(release) {
        return false;
    }
    let release: *mut u64 = core::ptr::with_exposed_provenance_mut(usize::try_from(release).unwrap_or(0));
    // SAFETY: mapped as data, aligned, and kept from the frame allocator.
    unsafe {
        release.write_volatile(entry);
        asm!("dc civac, {}", "dsb sy", "sev", in(reg) release, options(nostack));
    }
    true
}

/// Waits for a core. One that comes later sleeps.
fn comes_up(slot: usize) -> bool {
    let has_come = || STATES[slot].load(Ordering::Acquire) != ASKED;
    Deadline::after_ms(PATIENCE_MS).wait(has_come) || !settle(slot, LEFT_OUT)
}

/// Cleans the records to the point of coherency, where a core without caches reads them.
fn clean_to_memory() {
    for record in 0..MAX_CORES {
        let record = (&raw const RECORDS).cast::<Record>().wrapping_add(record);
        for line in 0..size_of::<Record>().div_ceil(64) {
            let line = record.cast::<u8>().wrapping_add(64 * line);
            // SAFETY: cleaning a line changes no value that anyone can see.
            unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack)) };
        }
    }
    dsb_sy();
}
