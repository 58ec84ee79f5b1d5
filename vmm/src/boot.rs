//! The steps of a boot, in the order in which `main.rs` takes them.

use crate::{
    arch::{
        cpu, gic,
        mmu::{self, Kind},
        power, power_manager, smp,
    },
    bundle::BundleError,
    clock,
    console::{self, Device},
    device_tree, disks, logger,
    memory::{
        self,
        heap::FRAMES,
        page_table::{ADDRESS_LIMIT, PAGE_SIZE},
    },
    platform::{GicCpus, Platform, Psci, Required},
    random, raspberry_pi, virtio_bus,
    vm::{self, BuildError, Deployment, Interrupts},
};
use core::{fmt, ops::Range};
use spin::Once;

/// Exit code of a run whose bundle, manifest or images are no good.
pub const BAD_BUNDLE_EXIT_CODE: u8 = 2;

/// Why no VM was started.
#[derive(Debug)]
pub enum Error {
    /// The bundle or its manifest is wrong.
    Bundle(BundleError),
    /// A VM cannot be built.
    Vm(BuildError),
    /// The command line is wrong.
    Bootarg(&'static str, &'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(error) => error.fmt(f),
            Self::Vm(error) => error.fmt(f),
            Self::Bootarg(name, expected) => write!(f, "command line: {name}= wants {expected}"),
        }
    }
}

/// The device tree that the boot loader passed; without one there is hardly a console to complain on.
///
/// # Safety
/// Called once, before memory is handed out. `address` is what the boot loader left in `X0`.
#[must_use]
pub unsafe fn find_device_tree(address: usize) -> &'static [u8] {
    if address.is_multiple_of(8) && address != 0 {
        let start = core::ptr::with_exposed_provenance::<u8>(address);
        // SAFETY: the boot protocol's promise; the magic number is checked before more than the header is
        // read, and nothing changes the tree.
        unsafe {
            let header = core::slice::from_raw_parts(start, device_tree::HEADER_SIZE);
            if let Ok(size) = device_tree::size(header) {
                return core::slice::from_raw_parts(start, size);
            }
        }
    }
    let _ = open_or_guess(&Platform::default());
    power::fatal(format_args!(
        "X0 = {address:#x} is not the address of a device tree: give one with QEMU's -dtb, or put it beside the boot loader"
    ))
}

/// Where the device tree is, in whole pages.
fn pages_of(bytes: &[u8]) -> Range<u64> {
    let range = bytes.as_ptr_range();
    let (start, end) = (range.start.addr() as u64, range.end.addr() as u64);
    start - start % PAGE_SIZE..end.next_multiple_of(PAGE_SIZE)
}

/// Stops with a message unless the core is at EL2.
pub fn require_el2(tree: &[u8]) {
    if cpu::is_at_el2() {
        return;
    }
    if let Ok(platform) = Platform::from_device_tree(tree) {
        // Without EL2, the firmware's caller is a guest or QEMU's own stand-in for it.
        power::init(platform.psci.unwrap_or(Psci::Hvc));
        // What is said next goes to the UARTs that were opened last.
        let _ = open(&platform);
    }
    power::fatal(format_args!(
        "entered at EL1, but a hypervisor needs EL2: start QEMU with -machine virt,virtualization=on, or a board's firmware without one"
    ))
}

/// Turns the MMU and caches on.
///
/// # Safety
/// Called once, at EL2, with the MMU off.
pub unsafe fn enable_mmu(tree: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { mmu::enable(pages_of(tree)) };
}

/// Reads the device tree and starts the console and the log.
#[must_use]
pub fn discover(tree: &'static [u8]) -> Platform<'static> {
    let platform = Platform::from_device_tree(tree).unwrap_or_else(|error| {
        let _ = open_or_guess(&Platform::default());
        power::fatal(format_args!("{error}"))
    });
    if let Some(psci) = platform.psci {
        power::init(psci);
    }
    if let Some(device) = open_or_guess(&platform) {
        console::init(device);
    }
    logger::init();
    platform.seeds.into_iter().for_each(random::seed);
    read_clock(&platform);
    use_peripherals(&platform);
    platform
}

/// Opens what a failure is told by, and the machine switched off; returns the console.
fn open(platform: &Platform<'_>) -> Option<Device> {
    if let Some(manager) = &platform.power_manager {
        map(manager.clone(), Kind::Device);
        // SAFETY: just mapped, or the MMU is off.
        unsafe { power_manager::init(manager) };
    }
    if let Some(registers) = &platform.mini_uart {
        map(registers.clone(), Kind::Device);
        // SAFETY: as above.
        unsafe { console::init_mini_uart(registers) };
    }
    let uart = platform.uart.as_ref()?;
    map(uart.registers.clone(), Kind::Device);
    // SAFETY: as above.
    Some(unsafe { Device::open(uart) })
}

/// The same, with the UARTs that the board would have if it were the one that it looks like, if nothing tells of any.
fn open_or_guess(platform: &Platform<'_>) -> Option<Device> {
    if platform.uart.is_some() || platform.mini_uart.is_some() {
        return open(platform);
    }
    let guess = Platform::guess(cpu::identification(), mmu::image_range().start);
    let power_manager = platform.power_manager.clone().or(guess.power_manager.clone());
    open(&Platform { power_manager, ..guess })
}

/// Starts what only a Raspberry Pi has.
fn use_peripherals(platform: &Platform<'_>) {
    let led = platform.led.as_ref().map(|led| &led.controller);
    let ranges = [platform.mailbox.as_ref(), platform.noise.as_ref(), led];
    ranges.into_iter().flatten().for_each(|range| map(range.clone(), Kind::Device));
    // SAFETY: just mapped.
    unsafe { raspberry_pi::init(platform) };
}

/// Takes over the time of day from a PL031, whose first register counts seconds (Arm DDI 0224, 3.3.1).
fn read_clock(platform: &Platform<'_>) {
    let Some(registers) = &platform.clock else { return };
    map(registers.clone(), Kind::Device);
    let Ok(address) = usize::try_from(registers.start) else { return };
    // SAFETY: a register that has just been mapped; reading it changes nothing.
    clock::set(unsafe { core::ptr::with_exposed_provenance::<u32>(address).read_volatile() });
}

/// Takes charge of memory, the interrupt controller and this core.
pub fn take_over(board: &Required<'_>, platform: &Platform<'_>, tree: &[u8]) {
    let own = [mmu::image_range(), pages_of(tree)];
    let unmapped = all(&[&own, &platform.unmapped]);
    for range in board.memory {
        memory::subtract(range.clone(), &unmapped, PAGE_SIZE, &mut |part| map(part, Kind::Data));
    }
    let kept = all(&[&unmapped, &platform.reserved, core::slice::from_ref(&board.bundle)]);
    for range in board.memory {
        // SAFETY: RAM that has just been mapped, without what is in use.
        memory::subtract(range.clone(), &kept, PAGE_SIZE, &mut |free| unsafe { FRAMES.add(free) });
    }

    map(board.gic.distributor.clone(), Kind::Device);
    match &board.gic.cpus {
        GicCpus::Interface { cpu, control, .. } => {
            map(cpu.clone(), Kind::Device);
            map(control.clone(), Kind::Device);
        }
        GicCpus::Redistributors(regions) => {
            regions.iter().for_each(|region| map(region.clone(), Kind::Device))
        }
    }
    // SAFETY: just mapped.
    unsafe { gic::init(board.gic) };
    set_up_core();
}

/// Makes this core ready for guests and interrupts.
fn set_up_core() {
    if !gic::init_core() {
        power::fatal(format_args!("the interrupt controller does not know core {:#x}", cpu::core_id()));
    }
    cpu::init();
}

/// Starts the other cores, which wait for work. Returns how many cores there are.
fn start_cores(board: &Required<'_>, platform: &Platform<'_>) -> usize {
    /// Private interrupts have the same numbers on all cores; the boot core serves the UART.
    static PRIVATE: Once<Interrupts> = Once::new();
    fn run_secondary() -> ! {
        set_up_core();
        match PRIVATE.get() {
            Some(interrupts) => vm::run_core(Interrupts { uart: None, ..*interrupts }),
            None => power::fatal(format_args!("a core has started too early")),
        }
    }
    PRIVATE.call_once(|| interrupts(board, platform));
    smp::start_all(&platform.cores, platform.psci, run_secondary)
}

/// The interrupts that the hypervisor takes on this core.
#[must_use]
pub fn interrupts(board: &Required<'_>, platform: &Platform<'_>) -> Interrupts {
    Interrupts {
        timer: board.timer_interrupt,
        guest_timer: board.guest_timer_interrupt,
        maintenance: board.gic.maintenance,
        uart: platform.uart.as_ref().and_then(|uart| uart.interrupt),
    }
}

/// Builds all VMs of the bundle and makes them ready to run, or none.
pub fn start_vms(board: &Required<'_>, platform: &Platform<'static>) -> Result<(), Error> {
    set_console_size(platform)?;
    set_escape(platform)?;
    set_receive(platform)?;
    let deployment = Deployment::from_boot(bundle_bytes(board)).map_err(Error::Bundle)?;
    let manifest = deployment.manifest();
    logger::set_level(platform.bootarg("loglevel"), manifest.loglevel)
        .map_err(|_| Error::Bootarg("loglevel", "off, error, warn, info, debug or trace"))?;
    let cores = start_cores(board, platform);
    manifest.check_cores(|core| usize::from(core) < cores).map_err(|error| Error::Bundle(error.into()))?;
    disks::init(platform);
    virtio_bus::init(&platform.virtio_slots);
    vm::start(deployment, cores).map_err(Error::Vm)
}

/// Tells what the hypervisor holds besides the RAM of the VMs that it has built, and what is left.
pub fn log_memory(board: &Required<'_>, tree: &[u8]) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let size = |range: Range<u64>| range.end - range.start;
    let (image, bundle, tree) = (size(mmu::image_range()), size(board.bundle.clone()), size(pages_of(tree)));
    let ram: u64 = vm::rows().map(|row| row.memory).sum();
    let (allocated, free) = ((FRAMES.used() as u64).saturating_sub(ram), FRAMES.free());
    let sum = image + allocated + bundle + tree;
    log::debug!(
        "memory besides the VMs' RAM: {sum} bytes: image {image}, allocated {allocated}, bundle {bundle}, \
         device tree {tree}; free: {free} bytes"
    );
}

fn set_console_size(platform: &Platform<'_>) -> Result<(), Error> {
    match platform.bootarg("console") {
        Some(size) if !console::set_size(size) => Err(Error::Bootarg("console", "ROWSxCOLUMNS, as in 24x80")),
        _ => Ok(()),
    }
}

fn set_escape(platform: &Platform<'_>) -> Result<(), Error> {
    switch(platform, "escape").map(console::enable_escape)
}

fn set_receive(platform: &Platform<'_>) -> Result<(), Error> {
    switch(platform, "receive").map(vm::receiving::allow)
}

/// A boot argument that is on unless it is off.
fn switch(platform: &Platform<'_>, name: &'static str) -> Result<bool, Error> {
    match platform.bootarg(name) {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err(Error::Bootarg(name, "on or off")),
    }
}

/// The bundle that the boot loader has put into memory, or as much of it as is in RAM.
fn bundle_bytes(board: &Required<'_>) -> &'static [u8] {
    let Range { start, end } = board.bundle;
    let inside = board.memory.iter().any(|ram| ram.start <= start && end <= ram.end);
    let (Ok(start), Ok(len), true) = (usize::try_from(start), usize::try_from(end - start), inside) else {
        return &[];
    };
    // SAFETY: RAM, mapped, and kept from the frame allocator for ever.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(start), len) }
}

/// Room for all ranges that are kept from use on a board.
type Kept = heapless::Vec<Range<u64>, 64>;

fn all(lists: &[&[Range<u64>]]) -> Kept {
    lists.iter().flat_map(|list| list.iter().cloned()).collect()
}

/// Maps what lies below the end of EL2's address space; a board's RAM beyond it stays unused. While the MMU is off,
/// nothing needs it.
fn map(range: Range<u64>, kind: Kind) {
    if !mmu::is_on() {
        return;
    }
    let range = range.start..range.end.min(ADDRESS_LIMIT);
    if let Err(error) = mmu::map(range.clone(), kind) {
        power::fatal(format_args!("cannot map {:#x}..{:#x}: {error}", range.start, range.end));
    }
}
