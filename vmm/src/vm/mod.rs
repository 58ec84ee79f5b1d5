//! Virtual machines.

mod build;
mod crash;
#[cfg(target_os = "none")]
mod run;
pub mod virt;

pub use build::{BuildError, build};
pub use crash::{Crash, Report};
#[cfg(target_os = "none")]
pub use run::{Interrupts, run_all};

use crate::{
    arch::{context::VcpuContext, timer},
    console::{self, InputQueue, LineBuffer, Speaker},
    memory::{frames::SharedBlock, guest::GuestMemory},
};
use alloc::{string::String, sync::Arc};
use core::{
    mem::offset_of,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
use spin::Mutex;
use tinyvmm_abi::InfoPage;

/// Exit code of a VM that crashed (`EX_SOFTWARE` of BSD's `sysexits.h`).
pub const CRASH_EXIT_CODE: u8 = 70;

/// A VM's place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmId(pub usize);

/// What the vCPUs of a virtual machine share.
pub struct Vm {
    /// Its place in the manifest.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// Its memory.
    pub memory: GuestMemory,
    /// Its side of the console.
    pub console: VmConsole,
    /// The VMID that its translations were last tagged with, and when.
    pub vmid: AtomicU64,
    /// What the hypervisor spends on it besides its RAM, in bytes.
    pub overhead: u64,
}

impl Vm {
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

    /// Shows an unfinished line.
    pub fn flush(&self) {
        console::flush(self.speaker(), &mut self.console.line.lock());
    }
}

/// A VM's side of the console: the line it is writing, and the input that waits for it.
pub struct VmConsole {
    line: Mutex<LineBuffer>,
    input: Mutex<InputQueue>,
    /// When the VM first wrote, in ticks. 0: not yet.
    first_output: AtomicU64,
    woken: AtomicBool,
    /// The page that the guest sees at `INFO_PAGE_BASE`.
    info: SharedBlock,
}

impl VmConsole {
    fn new(info: SharedBlock) -> Self {
        Self {
            line: Mutex::default(),
            input: Mutex::default(),
            first_output: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            info,
        }
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

    /// Reads input that waits. Returns the bytes read.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        let mut input = self.input.lock();
        let count = input.read(buffer);
        if count > 0 {
            // What found no room may still be in the UART.
            console::receive(&mut input);
        }
        self.publish(&input);
        count
    }

    /// Bytes that wait to be read.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.lock().len()
    }

    /// Takes what the UART has received, and wakes the VM if that was anything.
    pub fn receive(&self) {
        let mut input = self.input.lock();
        let before = input.len();
        console::receive(&mut input);
        if input.len() != before {
            self.publish(&input);
            self.woken.store(true, Ordering::Relaxed);
        }
    }

    /// Whether input has come since the last call: what ends a wait.
    pub fn take_event(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::Relaxed)
    }

    /// Brings the flags of the info page up to date.
    fn publish(&self, input: &InputQueue) {
        let flags = self.info.as_ptr().wrapping_add(offset_of!(InfoPage, console_flags)).cast();
        // SAFETY: the info page lives as long as `self.info`, and the field is aligned. The guest only reads it.
        unsafe { AtomicU32::from_ptr(flags) }.store(input.flags(), Ordering::Release);
    }
}

/// A virtual CPU.
pub struct Vcpu {
    /// Its VM.
    pub vm: Arc<Vm>,
    /// Its number in the VM.
    pub index: u8,
    /// Its registers.
    pub context: VcpuContext,
    /// Times it came back to the hypervisor.
    pub exits: u64,
    /// When it first ran, in ticks.
    pub first_run: Option<u64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::memory::{
        frames::{FrameAllocator, FrameBlock},
        stage2::Stage2,
    };

    /// A VM with this memory and nothing to run.
    pub(crate) fn vm_with_memory(
        id: VmId,
        name: &str,
        stage2: Stage2,
        ram: u64,
        frames: &'static FrameAllocator,
    ) -> Vm {
        let info = Arc::new(FrameBlock::zeroed(frames, 4096).unwrap());
        Vm {
            id,
            name: name.into(),
            memory: GuestMemory::new(stage2, ram),
            console: VmConsole::new(info),
            vmid: AtomicU64::new(0),
            overhead: 0,
        }
    }
}
