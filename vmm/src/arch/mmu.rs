//! EL2's own address space: everything at its physical address, nothing both writable and executable.

use super::{
    entry,
    registers::{dsb_ish, isb, read_register, write_register},
};
use crate::memory::page_table::{MapError, PAGE_SIZE, PageTable, Regime, Table, TableSource};
use aarch64_cpu::registers::{MAIR_EL2, Readable, TCR_EL2, Writeable};
use core::{arch::asm, cell::UnsafeCell, ops::Range, ptr::NonNull};
use spin::{Mutex, Once};

/// What EL2 may do with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The image's code.
    Code,
    /// The image's constants; what the boot loader left for us.
    ReadOnly,
    /// RAM.
    Data,
    /// Device registers.
    Device,
}

/// Descriptor bits of EL2's stage 1 (Arm ARM, D8.3 and D8.4.1).
mod bits {
    /// `AttrIndx` 0 of `MAIR_EL2`: Device-nGnRE.
    pub(super) const DEVICE: u64 = 0 << 2;
    /// `AttrIndx` 1 of `MAIR_EL2`: Normal write-back.
    pub(super) const NORMAL: u64 = 1 << 2;
    /// `AP[1]`: RES1 in a regime without EL0.
    pub(super) const AP1: u64 = 1 << 6;
    /// `AP[2]`: read-only.
    pub(super) const READ_ONLY: u64 = 1 << 7;
    /// `SH`: inner shareable.
    pub(super) const INNER_SHAREABLE: u64 = 0b11 << 8;
    /// `XN`: never execute.
    pub(super) const EXECUTE_NEVER: u64 = 1 << 54;
}

/// The stage 1 regime of EL2.
pub struct El2Regime;

impl Regime for El2Regime {
    type Attributes = Kind;

    fn bits(kind: Kind) -> u64 {
        use bits::{AP1, DEVICE, EXECUTE_NEVER, INNER_SHAREABLE, NORMAL, READ_ONLY};
        AP1 | match kind {
            Kind::Code => NORMAL | INNER_SHAREABLE | READ_ONLY,
            Kind::ReadOnly => NORMAL | INNER_SHAREABLE | READ_ONLY | EXECUTE_NEVER,
            Kind::Data => NORMAL | INNER_SHAREABLE | EXECUTE_NEVER,
            Kind::Device => DEVICE | EXECUTE_NEVER,
        }
    }
}

/// Tables that EL2's address space may need: a root; for the image, the device tree and each
/// cluster of devices a level 2 and a level 3; for a few ranges of RAM their ragged ends.
const TABLES: usize = 24;

/// Translation tables from the image itself: they are needed before the frame allocator has memory.
struct Pool {
    used: UnsafeCell<usize>,
}

/// The pool's tables. Each is cleared when it is handed out, not at boot.
#[unsafe(link_section = ".noinit.tables")]
static mut POOL_TABLES: [Table; TABLES] = [Table::EMPTY; TABLES];

// SAFETY: `enable` uses the pool before there is a second core; afterwards it is reached only through
// `ADDRESS_SPACE`, under its lock.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool { used: UnsafeCell::new(0) };

impl TableSource for &'static Pool {
    fn allocate(&self) -> Option<NonNull<Table>> {
        // SAFETY: see `Sync`.
        let used = unsafe { &mut *self.used.get() };
        if *used == TABLES {
            return None;
        }
        let table = (&raw mut POOL_TABLES).cast::<Table>().wrapping_add(*used);
        *used += 1;
        // SAFETY: inside the array, and handed out once.
        unsafe { table.write(Table::EMPTY) };
        NonNull::new(table)
    }

    unsafe fn release(&self, _: NonNull<Table>) {
        // EL2's address space is never dropped.
    }
}

type AddressSpace = PageTable<El2Regime, &'static Pool>;

static ADDRESS_SPACE: Once<Mutex<AddressSpace>> = Once::new();

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __relro_end: u8;
    static __image_end: u8;
}

/// Address of a symbol of the linker script.
macro_rules! symbol {
    ($name:ident) => {
        (&raw const $name).addr() as u64
    };
}

/// Where the image is, stacks and zero-initialised data included.
#[must_use]
pub fn image_range() -> Range<u64> {
    symbol!(__image_start)..symbol!(__image_end)
}

/// Turns the MMU and the caches on, with nothing mapped but the image and, read-only, `device_tree`.
///
/// # Safety
/// Called once, at EL2, with the MMU off, before anything uses a lock.
pub unsafe fn enable(device_tree: Range<u64>) {
    // Built with the MMU off, so a failure can hardly be told; the pool is large enough for both.
    if let Ok(space) = build(device_tree) {
        // SAFETY: the tables map all that runs and all that is used from here on.
        unsafe { turn_on(space.root()) };
        ADDRESS_SPACE.call_once(|| Mutex::new(space));
    }
}

/// Whether [`enable`] has run.
#[must_use]
pub fn is_on() -> bool {
    ADDRESS_SPACE.get().is_some()
}

fn build(device_tree: Range<u64>) -> Result<AddressSpace, MapError> {
    let mut space = PageTable::new(&POOL)?;
    let mut map =
        |range: Range<u64>, kind| space.map(range.start, range.start, range.end - range.start, kind);
    map(symbol!(__image_start)..symbol!(__text_end), Kind::Code)?;
    map(symbol!(__text_end)..symbol!(__relro_end), Kind::ReadOnly)?;
    let mut start = symbol!(__relro_end);
    for guard in entry::guard_pages() {
        map(start..guard, Kind::Data)?;
        start = guard + PAGE_SIZE;
    }
    map(start..symbol!(__image_end), Kind::Data)?;
    map(device_tree, Kind::ReadOnly)?;
    Ok(space)
}

/// Maps what is not mapped yet, at its own address, out to whole pages.
pub fn map(range: Range<u64>, kind: Kind) -> Result<(), MapError> {
    let start = range.start - range.start % PAGE_SIZE;
    let end = range.end.checked_next_multiple_of(PAGE_SIZE).ok_or(MapError::BadRange)?;
    let Some(space) = ADDRESS_SPACE.get() else { return Err(MapError::OutOfMemory) };
    space.lock().map(start, start, end - start, kind)?;
    dsb_ish();
    isb();
    Ok(())
}

/// The registers that make EL2's address space, with the same values on every core.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct El2Registers {
    pub(super) mair: u64,
    pub(super) tcr: u64,
    pub(super) ttbr0: u64,
    pub(super) sctlr: u64,
}

impl El2Registers {
    /// Before there is an address space.
    pub(super) const OFF: Self = Self { mair: 0, tcr: 0, ttbr0: 0, sctlr: 0 };

    fn new(root: u64) -> Self {
        /// `SCTLR_EL2` bits that are RES1 in Armv8.0.
        const RES1: u64 = 0x30c5_0830;
        /// `M`, `C`, `SA`, `I`, `WXN`: MMU, data cache, stack alignment check, instruction cache, nothing
        /// writable is executable.
        const ON: u64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;
        let mair = MAIR_EL2::Attr0_Device::nonGathering_nonReordering_EarlyWriteAck
            + MAIR_EL2::Attr1_Normal_Inner::WriteBack_NonTransient_ReadWriteAlloc
            + MAIR_EL2::Attr1_Normal_Outer::WriteBack_NonTransient_ReadWriteAlloc;
        // T0SZ 25: 39-bit addresses; walks inner shareable and cacheable; bits 31 and 23 are RES1.
        let tcr = 1 << 31
            | 1 << 23
            | physical_address_size() << 16
            | 0b11 << 12
            | 0b01 << 10
            | 0b01 << 8
            | (64 - 39);
        Self { mair: mair.value, tcr, ttbr0: root, sctlr: RES1 | ON }
    }
}

/// The registers of the address space, for a core that joins it.
pub(super) fn registers() -> El2Registers {
    ADDRESS_SPACE.get().map_or(El2Registers::OFF, |space| El2Registers::new(space.lock().root()))
}

/// Whether an address is mapped as data.
pub(super) fn is_data(address: u64) -> bool {
    let leaf = ADDRESS_SPACE.get().and_then(|space| space.lock().lookup(address));
    leaf.is_some_and(|leaf| leaf.bits & (bits::NORMAL | bits::READ_ONLY) == bits::NORMAL)
}

/// # Safety
/// The tables at `root` map the running code, its data and stack at their own addresses.
unsafe fn turn_on(root: u64) {
    let registers = El2Registers::new(root);
    MAIR_EL2.set(registers.mair);
    TCR_EL2.set(registers.tcr);
    // SAFETY: the caller's promise for the tables. The invalidation comes first: what was written with the
    // MMU off is in memory, and a stale line would hide it (arm64 boot protocol: the image is clean to
    // the point of coherency, so no dirty line is lost).
    unsafe {
        invalidate_image();
        write_register!("ttbr0_el2", registers.ttbr0);
        asm!("dsb ish", "tlbi alle2", "dsb ish", "isb", options(nostack, preserves_flags));
        asm!("ic iallu", "dsb ish", "isb", options(nostack, preserves_flags));
        write_register!("sctlr_el2", registers.sctlr);
    }
    isb();
}

/// # Safety
/// The data cache is off and holds no dirty line of the image.
unsafe fn invalidate_image() {
    let line = 4_u64 << (read_register!("ctr_el0") >> 16 & 0xf);
    let Range { start, end } = image_range();
    let mut at = start;
    while at < end {
        // SAFETY: the caller's promise.
        unsafe { asm!("dc ivac, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    dsb_ish();
}

/// `ID_AA64MMFR0_EL1.PARange`, at most 48 bits: larger ones need descriptors of another format.
#[must_use]
pub fn physical_address_size() -> u64 {
    aarch64_cpu::registers::ID_AA64MMFR0_EL1
        .read(aarch64_cpu::registers::ID_AA64MMFR0_EL1::PARange)
        .min(0b101)
}
