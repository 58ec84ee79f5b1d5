//! Running VMs: the loop that enters guests, and handles why they come back.

use super::{CRASH_EXIT_CODE, Crash, Report, Vcpu, Vm, VmId};
use crate::{
    arch::{
        cpu::{self, Exit, LoadedVcpu},
        gic, timer, tlb,
    },
    hypercall::{self, Flow},
    memory::vmid::{Vmid, VmidAllocator},
    scheduler::{Decision, Scheduler},
};
use alloc::{boxed::Box, vec, vec::Vec};
use core::sync::atomic::Ordering;

/// Longest turn of a vCPU while others wait for theirs, in milliseconds.
const QUANTUM_MS: u64 = 10;

/// Numbers of the interrupts that the hypervisor takes.
#[derive(Debug, Clone, Copy)]
pub struct Interrupts {
    /// EL2's physical timer.
    pub timer: gic::IntId,
    /// The console's UART, if it has one.
    pub uart: Option<gic::IntId>,
}

/// Runs VMs, each given by its vCPU and priority in the order of the manifest, until all have ended.
///
/// Returns the exit code of the first one whose code is not zero, or zero.
pub fn run_all(vcpus: Vec<(Box<Vcpu>, u8)>, interrupts: Interrupts) -> u8 {
    tlb::tables_changed();
    gic::enable(interrupts.timer);
    interrupts.uart.into_iter().for_each(gic::enable);
    let exit_codes = vec![0; vcpus.len()];
    let scheduler = Scheduler::new(vcpus, timer::frequency() * QUANTUM_MS / 1000);
    let mut core = Core { scheduler, vmids: VmidAllocator::new(cpu::vmid_bits()), interrupts, exit_codes };
    // Whatever was typed before is waiting, and the UART's interrupt is still off.
    core.receive();
    core.run();
    core.exit_codes.into_iter().find(|code| *code != 0).unwrap_or(0)
}

/// A core and what it runs.
struct Core {
    scheduler: Scheduler,
    vmids: VmidAllocator,
    interrupts: Interrupts,
    exit_codes: Vec<u8>,
}

/// Why a vCPU gives the core back.
enum Turn {
    /// It waits for input, or until this time.
    Wait(Option<u64>),
    /// Others may run first.
    Yield,
    /// A physical interrupt is pending.
    Interrupt,
    /// Its VM ends.
    Exit(u8),
    /// Its VM did what it may not.
    Crash(Crash),
}

impl Core {
    fn run(&mut self) {
        loop {
            match self.scheduler.decide(timer::now()) {
                Decision::Run(slot, until) => {
                    timer::set_alarm(until);
                    let turn = self.run_vcpu(slot);
                    self.finish_turn(slot, turn);
                }
                Decision::Sleep(until) => {
                    timer::set_alarm(until);
                    // Interrupts are masked at EL2: a pending one only ends the wait.
                    aarch64_cpu::asm::wfi();
                    self.handle_interrupts();
                }
                Decision::Stop => return,
            }
        }
    }

    fn run_vcpu(&mut self, slot: usize) -> Turn {
        let vcpu = self.scheduler.vcpu(slot);
        let vmid = self.vmids.assign(Vmid(vcpu.vm.vmid.load(Ordering::Relaxed)), tlb::flush_all_guests);
        vcpu.vm.vmid.store(vmid.0, Ordering::Relaxed);
        vcpu.first_run.get_or_insert_with(timer::now);
        let vttbr = vmid.number() << 48 | vcpu.vm.memory.stage2().root();
        // SAFETY: a VM's stage 2 tables map its own memory alone, and the vCPU keeps its VM alive.
        let loaded = unsafe { vcpu.context.load(vttbr) };
        run_loaded(&vcpu.vm, loaded, &mut vcpu.exits)
    }

    fn finish_turn(&mut self, slot: usize, turn: Turn) {
        match turn {
            Turn::Wait(deadline) => {
                self.scheduler.vcpu(slot).vm.flush();
                self.scheduler.wait(slot, deadline);
            }
            Turn::Yield => {}
            Turn::Interrupt => self.handle_interrupts(),
            Turn::Exit(code) => self.end(slot, code),
            Turn::Crash(crash) => {
                let vcpu = self.scheduler.vcpu(slot);
                vcpu.vm.flush();
                log::error!("{}", Report { vcpu, crash });
                self.end(slot, CRASH_EXIT_CODE);
            }
        }
    }

    /// Ends a VM and gives its memory back.
    fn end(&mut self, slot: usize, code: u8) {
        let vcpu = self.scheduler.remove(slot);
        let Vm { id: VmId(index), name, console, overhead, .. } = &*vcpu.vm;
        vcpu.vm.flush();
        let first_run = vcpu.first_run.unwrap_or(0);
        let exits = vcpu.exits;
        match console.first_output() {
            Some(output) => log::info!(
                "vm '{name}' ended: exit code {code}, first entered at {first_run} ticks, first output at {output} ticks, {exits} exits, overhead {overhead} bytes"
            ),
            None => log::info!(
                "vm '{name}' ended: exit code {code}, first entered at {first_run} ticks, first output at never, {exits} exits, overhead {overhead} bytes"
            ),
        }
        if let Some(slot) = self.exit_codes.get_mut(*index) {
            *slot = code;
        }
        // Input that waited for this VM is lost; what comes now is for the next.
        self.receive();
    }

    fn handle_interrupts(&mut self) {
        gic::for_each_pending(|intid| {
            if intid == self.interrupts.timer {
                timer::set_alarm(None);
            } else if Some(intid) == self.interrupts.uart {
                self.receive();
            }
        });
    }

    fn receive(&self) {
        if let Some(vm) = self.scheduler.focus() {
            vm.console.receive();
        }
    }
}

/// Runs a vCPU until it gives the core back.
fn run_loaded(vm: &Vm, mut vcpu: LoadedVcpu<'_>, exits: &mut u64) -> Turn {
    loop {
        *exits += 1;
        match vcpu.run() {
            Exit::Hypercall => {
                if let Flow::Exit(code) = hypercall::call(vm, vcpu.registers()) {
                    return Turn::Exit(code);
                }
            }
            Exit::SecureCall if hypercall::is_secure_call(vcpu.registers()) => {
                vcpu.skip_instruction();
                hypercall::secure_call(vcpu.registers());
            }
            Exit::SecureCall | Exit::Undefined => vcpu.inject_undefined(),
            Exit::Fp => vcpu.enable_fp(),
            Exit::Wait => return Turn::Wait(timer::guest_deadline()),
            Exit::Yield => return Turn::Yield,
            Exit::Interrupt => return Turn::Interrupt,
            Exit::Fault(syndrome) => {
                let (ipa, address) = vcpu.fault_address(syndrome);
                return Turn::Crash(Crash::Fault { syndrome, ipa, address });
            }
            Exit::Unhandled(vector) => {
                let (syndrome, pc, address) = vcpu.own_exception();
                return Turn::Crash(Crash::Unhandled { vector, syndrome, pc, address });
            }
            Exit::SystemError(syndrome) => return Turn::Crash(Crash::SystemError(syndrome)),
        }
    }
}
