//! Virtual machines.

mod board;
mod build;
mod channel;
mod crash;
mod deployment;
#[cfg_attr(not(target_os = "none"), path = "alone.rs")]
pub mod fleet;
mod focus;
#[cfg(target_os = "none")]
mod interrupts;
mod lifecycle;
mod mailbox;
mod messages;
pub mod network;
mod psci;
#[cfg(target_os = "none")]
pub mod receiving;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod traps;
mod usage;
pub mod virt;
mod virtio;

pub use board::Board;
pub use build::{BuildError, Builder};
pub use channel::Channel;
pub use crash::{Crash, Report};
pub use deployment::Deployment;
#[cfg(target_os = "none")]
pub use fleet::{rows, start};
pub use focus::Focus;
pub use lifecycle::{Cause, Control, KILLED_EXIT_CODE, Lifecycle, Refusal, State};
pub use mailbox::{Header, Mailbox};
pub use messages::Link;
pub use network::{Card, Fabric};
pub use psci::Outcome;
#[cfg(target_os = "none")]
pub use run::{Interrupts, run_core};
pub use usage::{SharedUsage, Usage};
pub use virtio::VirtioDevice;

use crate::{
    arch::{context::VcpuContext, gic, timer},
    bundle::manifest::Capabilities,
    console::{self, InputQueue, LineBuffer, Speaker},
    devices::{pl011::Pl011, vgic::Vgic},
    disks::Disk,
    files::FileSystem,
    memory::{frames::SharedBlock, guest::GuestMemory, vmid::VmidSlot},
    platform::MAX_CORES,
    random::{self, Generator},
    scheduler::Affinity,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    mem::offset_of,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
use spin::Mutex;
use tinyvmm_abi::InfoPage;

/// The core that looks after input and after VMs that start again.
pub const HOUSEKEEPER: usize = 0;

/// Exit code of a VM that crashed (`EX_SOFTWARE` of BSD's `sysexits.h`).
pub const CRASH_EXIT_CODE: u8 = 70;

/// A VM's place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmId(pub usize);

/// What the vCPUs of a virtual machine share.
///
/// Whoever has it in an `Arc` while it may end gives that to the fleet's `let_go`, which ends it with the last.
pub struct Vm {
    /// Its place in the manifest.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// Its memory.
    pub memory: GuestMemory,
    /// Its side of the console.
    pub console: VmConsole,
    /// What it may do besides.
    pub capabilities: Capabilities,
    /// The messages for it, if it may get any.
    pub mailbox: Option<Mutex<Mailbox>>,
    /// It was told to try again when another VM has done something.
    waits_for_others: AtomicBool,
    /// Its files.
    pub files: Mutex<FileSystem>,
    /// Its disks, in the order of the manifest.
    pub disks: Vec<Disk>,
    /// Its random numbers, once it has asked for some.
    random: Mutex<Option<Generator>>,
    /// Its interrupt controller.
    pub vgic: Mutex<Vgic>,
    /// What else it finds at addresses that are not RAM.
    pub board: Board,
    /// Its vCPUs that are off.
    pub off: Mutex<Vec<Box<Vcpu>>>,
    /// Its VMID, while it has one.
    pub vmid: VmidSlot,
    /// Which of its vCPUs each core ran last.
    pub last_vcpus: LastVcpus,
    /// What the hypervisor spends on it besides its RAM, in bytes.
    pub overhead: u64,
    /// What others see of its vCPUs.
    pub links: Box<[VcpuLink]>,
    /// What has been asked of it.
    pub control: Control,
    ending: Ending,
    totals: Totals,
}

/// What other cores see of a vCPU, and do to it.
#[derive(Debug, Default)]
pub struct VcpuLink {
    /// The core in whose queue it is, or that runs it.
    core: AtomicUsize,
    /// Something has happened that ends a wait.
    event: AtomicBool,
    /// Something has changed that its list registers do not show yet.
    stale: AtomicBool,
    /// It has a core, with its list registers.
    loaded: AtomicBool,
    /// What it has used.
    pub usage: SharedUsage,
}

impl VcpuLink {
    /// The core in whose queue it is, or that runs it.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core.load(Ordering::SeqCst)
    }

    /// It moves to another core.
    pub fn set_core(&self, core: usize) {
        self.core.store(core, Ordering::SeqCst);
    }

    /// Lets its next wait end at once.
    pub fn set_event(&self) {
        self.event.store(true, Ordering::SeqCst);
    }

    /// Lets it look at its interrupts.
    pub fn set_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }

    /// It gets a core, and looks at its interrupts after that; or it has lost it.
    pub fn set_loaded(&self, loaded: bool) {
        self.loaded.store(loaded, Ordering::SeqCst);
    }

    /// Whether it has a core. If not, it will look at its interrupts when it gets one.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::SeqCst)
    }

    /// Whether its interrupts have changed since the last call.
    pub fn take_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst) && self.stale.swap(false, Ordering::SeqCst)
    }

    /// Whether something has happened since the last call.
    #[must_use]
    pub fn take_event(&self) -> bool {
        self.event.load(Ordering::SeqCst) && self.event.swap(false, Ordering::SeqCst)
    }
}

/// Which vCPU of a VM each core ran last, if any.
///
/// The vCPUs of a VM share a VMID, but may use the same ASID for different tables, each on what it takes for a core of its
/// own: what a core's TLB holds is of no use to another one.
#[derive(Debug, Default)]
pub struct LastVcpus([AtomicU8; MAX_CORES]);

impl LastVcpus {
    /// This core runs this vCPU now. Returns whether it ran another one before.
    #[must_use]
    pub fn replace(&self, core: usize, index: u8) -> bool {
        // 0: none yet. Only this core looks at its own place.
        let last = self.0[core].load(Ordering::Relaxed);
        self.0[core].store(index + 1, Ordering::Relaxed);
        last != 0 && last != index + 1
    }
}

/// Whether a VM is to end, and with which exit code: the first that says so decides.
#[derive(Debug, Default)]
struct Ending(AtomicU32);

impl Ending {
    const SET: u32 = 1 << 8;

    fn set(&self, code: u8) {
        let value = Self::SET | u32::from(code);
        // A VM that ends already keeps its code.
        let _ = self.0.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire);
    }

    fn get(&self) -> Option<u8> {
        let value = self.0.load(Ordering::Acquire);
        (value & Self::SET != 0).then(|| value.to_le_bytes()[0])
    }
}

/// What a VM's vCPUs have used, summed up as each of them ends.
#[derive(Debug, Default)]
struct Totals {
    ended: AtomicUsize,
    exits: AtomicU64,
    first_run: AtomicU64,
}

impl Vm {
    /// A VM that has not run yet.
    fn new(
        id: VmId,
        name: String,
        memory: GuestMemory,
        console: VmConsole,
        files: FileSystem,
        board: Board,
        vcpus: usize,
    ) -> Self {
        Self {
            id,
            name,
            memory,
            console,
            capabilities: Capabilities::default(),
            mailbox: None,
            waits_for_others: AtomicBool::new(false),
            files: Mutex::new(files),
            disks: Vec::new(),
            random: Mutex::default(),
            vgic: Mutex::new(Vgic::new(gic::version(), vcpus)),
            board,
            off: Mutex::default(),
            vmid: VmidSlot::default(),
            last_vcpus: LastVcpus::default(),
            overhead: 0,
            links: core::iter::repeat_with(VcpuLink::default).take(vcpus).collect(),
            control: Control::default(),
            ending: Ending::default(),
            totals: Totals { first_run: AtomicU64::new(u64::MAX), ..Totals::default() },
        }
    }

    /// Who speaks for this VM on the console.
    #[must_use]
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker { id: self.id, name: &self.name }
    }

    /// Writes to the console, unchanged.
    pub fn write(&self, bytes: &[u8]) {
        console::write_guest(self.speaker(), &mut self.console.line(), bytes);
    }

    /// Writes text to the console: a line feed also returns the carriage.
    pub fn write_text(&self, text: &[u8]) {
        console::write_guest_text(self.speaker(), &mut self.console.line(), text);
    }

    /// Fills a buffer with the VM's random numbers.
    pub fn fill_random(&self, buffer: &mut [u8]) {
        self.random.lock().get_or_insert_with(random::generator).fill(buffer);
    }

    /// Shows an unfinished line.
    pub fn flush(&self) {
        let mut line = self.console.line.lock();
        if !line.is_empty() {
            console::flush(self.speaker(), &mut line);
        }
    }

    /// Ends the VM: each of its vCPUs stops the next time it comes to the hypervisor.
    pub fn end(&self, code: u8) {
        self.ending.set(code);
    }

    /// Ends the VM because it did what it may not.
    pub fn crash(&self) {
        self.control.set_crashed();
        self.end(CRASH_EXIT_CODE);
    }

    /// Ends the VM, which then starts anew.
    pub fn reset(&self) {
        self.control.set_reset();
        self.end(0);
    }

    /// Ends the VM from outside.
    pub fn kill(&self) {
        self.control.set_killed();
        self.end(KILLED_EXIT_CODE);
    }

    /// Whether its vCPUs are to leave the core.
    #[must_use]
    pub fn is_recalled(&self) -> bool {
        self.ending().is_some() || self.control.is_paused()
    }

    /// Its waits end once another VM has done something that it may wait for.
    pub fn wait_for_others(&self) {
        self.waits_for_others.store(true, Ordering::SeqCst);
    }

    /// Whether it was to be told since the last call.
    #[must_use]
    pub fn take_wait_for_others(&self) -> bool {
        self.waits_for_others.load(Ordering::SeqCst) && self.waits_for_others.swap(false, Ordering::SeqCst)
    }

    /// What its vCPUs have used.
    #[must_use]
    pub fn usage(&self, now: u64) -> Usage {
        self.links.iter().map(|link| link.usage.read(now)).fold(Usage::default(), Usage::plus)
    }

    /// The exit code of a VM that is to end.
    #[must_use]
    #[inline]
    pub fn ending(&self) -> Option<u8> {
        self.ending.get()
    }

    /// Counts a vCPU out that has used this much since it first ran. Returns whether it was the last one.
    #[must_use]
    pub fn count_out(&self, usage: Usage, first_run: Option<u64>) -> bool {
        self.totals.exits.fetch_add(usage.exits, Ordering::Relaxed);
        if let Some(ticks) = first_run {
            self.totals.first_run.fetch_min(ticks, Ordering::Relaxed);
        }
        self.totals.ended.fetch_add(1, Ordering::AcqRel) + 1 == self.links.len()
    }

    /// One line on how it went, for the log.
    #[must_use]
    pub fn summary(&self, code: u8) -> impl fmt::Display {
        let first_run = self.totals.first_run.load(Ordering::Relaxed);
        let output = self.console.first_output();
        let exits = self.totals.exits.load(Ordering::Relaxed);
        let time = self.usage(0).time;
        fmt::from_fn(move |f| {
            write!(
                f,
                "vm '{}' ended: exit code {code}, first entered at {first_run} ticks, first output at ",
                self.name
            )?;
            match output {
                Some(ticks) => write!(f, "{ticks} ticks")?,
                None => f.write_str("never")?,
            }
            write!(f, ", {time} ticks on a core, {exits} exits, overhead {} bytes", self.overhead)
        })
    }
}

/// A VM's side of the console: the line it is writing, and the input that waits for it.
pub struct VmConsole {
    line: Mutex<LineBuffer>,
    input: Mutex<InputQueue>,
    /// When the VM first wrote, in ticks. 0: not yet.
    first_output: AtomicU64,
    /// The page that the guest sees at `INFO_PAGE_BASE`, if it has one.
    info: Option<SharedBlock>,
}

impl VmConsole {
    fn new(info: Option<SharedBlock>) -> Self {
        Self { line: Mutex::default(), input: Mutex::default(), first_output: AtomicU64::new(0), info }
    }

    fn line(&self) -> spin::MutexGuard<'_, LineBuffer> {
        if self.first_output.load(Ordering::Relaxed) == 0 {
            self.first_output.store(timer::now(), Ordering::Relaxed);
        }
        self.line.lock()
    }

    /// When the VM first wrote, in ticks.
    #[must_use]
    pub fn first_output(&self) -> Option<u64> {
        Some(self.first_output.load(Ordering::Relaxed)).filter(|ticks| *ticks != 0)
    }

    /// Shows input that waits to `take`, which says how much of it it has taken. Returns how much that was in all.
    pub fn read(&self, take: impl FnMut(&[u8]) -> usize) -> usize {
        let mut input = self.input.lock();
        let count = input.read(take);
        self.publish(&input);
        let has_room = count > 0 && input.has_much_room();
        drop(input);
        if has_room {
            ask_for_input();
        }
        count
    }

    /// Moves input that waits to a UART, as far as that has room.
    pub fn feed(&self, uart: &mut Pl011) {
        let mut input = self.input.lock();
        let moved = input.read(|piece| piece.iter().take_while(|byte| uart.push(**byte)).count());
        let has_room = moved > 0 && input.has_much_room();
        drop(input);
        if has_room {
            ask_for_input();
        }
    }

    /// Bytes that wait to be read.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.lock().len()
    }

    /// How many more bytes of input can be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.input.lock().room()
    }

    /// Takes input. What there is no room for is lost.
    pub fn push(&self, bytes: &[u8]) {
        let mut input = self.input.lock();
        input.push(bytes);
        self.publish(&input);
    }

    /// Brings the flags of the info page up to date.
    fn publish(&self, input: &InputQueue) {
        let Some(info) = &self.info else { return };
        let flags = info.as_ptr().wrapping_add(offset_of!(InfoPage, console_flags)).cast();
        // SAFETY: the info page lives as long as `info`, and the field is aligned. The guest only reads it.
        unsafe { AtomicU32::from_ptr(flags) }.store(input.flags(), Ordering::Release);
    }
}

/// What found no room waits in the UART, which one core looks after.
fn ask_for_input() {
    if console::is_input_held() {
        gic::kick(HOUSEKEEPER);
    }
}

/// A virtual CPU. It belongs to the core that runs it, or to a queue.
pub struct Vcpu {
    /// Its VM.
    pub vm: Arc<Vm>,
    /// Its number in the VM.
    pub index: u8,
    /// Higher ones run first.
    pub priority: u8,
    /// The cores that it may run on.
    pub affinity: Affinity,
    /// Its registers.
    pub context: VcpuContext,
    /// What it has used.
    pub usage: Usage,
    /// When it first ran, in ticks.
    pub first_run: Option<u64>,
    /// What is left of a turn that was broken off, in ticks. 0: the next turn is a new one.
    pub turn_left: u64,
    /// Since when it could run if it had a core, in ticks; of no meaning while it waits.
    pub ready_since: u64,
    /// What it did that it may not.
    pub crash: Option<Crash>,
}

impl Vcpu {
    /// A vCPU that has not run yet.
    #[must_use]
    pub fn new(vm: Arc<Vm>, index: u8, priority: u8, affinity: Affinity, context: VcpuContext) -> Self {
        Self {
            vm,
            index,
            priority,
            affinity,
            context,
            usage: Usage::default(),
            first_run: None,
            turn_left: 0,
            ready_since: 0,
            crash: None,
        }
    }

    /// What other cores see of it.
    #[must_use]
    pub fn link(&self) -> &VcpuLink {
        // A VM has a link for each of its vCPUs.
        &self.vm.links[usize::from(self.index)]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        devices::Bus,
        memory::{
            frames::{FrameAllocator, FrameBlock},
            stage2::{Access, Stage2},
        },
    };

    /// A VM with one vCPU, RAM of this size, and nothing to run.
    pub(crate) fn vm(id: VmId, ram: u64, frames: &'static FrameAllocator) -> Vm {
        let mut stage2 = Stage2::new(frames).unwrap();
        if ram > 0 {
            let block = FrameBlock::zeroed(frames, ram).unwrap();
            stage2.map(0, Arc::new(block), Access::ReadWriteExecute).unwrap();
        }
        let info = Arc::new(FrameBlock::zeroed(frames, 4096).unwrap());
        let board = Board::tiny(Bus::new());
        let files = FileSystem::new(frames, 64 << 10, None, core::iter::empty()).unwrap();
        let memory = GuestMemory::new(stage2, 0..ram);
        Vm::new(id, "py".into(), memory, VmConsole::new(Some(info)), files, board, 1)
    }

    /// The first vCPU of a VM.
    pub(crate) fn vcpu(vm: Arc<Vm>, priority: u8) -> Box<Vcpu> {
        let context = VcpuContext::new(0, 0x1_0000, vm.memory.ram_size(), 0);
        Box::new(Vcpu::new(vm, 0, priority, Affinity::ANY, context))
    }

    #[test]
    fn each_core_knows_the_vcpu_that_it_ran_last() {
        let last = LastVcpus::default();
        let turns = [(0, 3), (0, 3), (1, 0), (0, 0), (1, 0), (1, 3), (0, 0)];
        let changed = turns.map(|(core, index)| last.replace(core, index));
        assert_eq!(changed, [false, false, false, true, false, true, false]);
    }

    #[test]
    fn the_first_exit_code_counts() {
        let vm = vm(VmId(0), 0, crate::memory::frames::tests::frames(64));
        assert_eq!(vm.ending(), None);
        vm.end(7);
        vm.end(70);
        assert_eq!(vm.ending(), Some(7));
    }
}
