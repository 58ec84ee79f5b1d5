//! Running vCPUs: what a core does all day, and the loop that enters guests and handles why they come back.

use super::{Crash, HOUSEKEEPER, Outcome, Report, Usage, Vcpu, VcpuLink, Vm, fleet, interrupts, traps};
use crate::{
    arch::{
        cpu::{self, Exit, LoadedVcpu},
        gic::{self, Handled},
        syndrome::Syndrome,
        timer, tlb,
    },
    console,
    devices::access::MmioAccess,
    hypercall::{self, Flow},
    memory::vmid::VmidAllocator,
    scheduler,
};
use alloc::boxed::Box;

/// Longest turn of a vCPU while others of its priority wait for theirs, in milliseconds.
const QUANTUM_MS: u64 = 10;

static VMIDS: VmidAllocator = VmidAllocator::new();

/// Numbers of the interrupts that the hypervisor takes.
#[derive(Debug, Clone, Copy)]
pub struct Interrupts {
    /// EL2's physical timer.
    pub timer: gic::IntId,
    /// The virtual timer of the guest that has the core.
    pub guest_timer: gic::IntId,
    /// What tells that a guest's list registers run empty.
    pub maintenance: Option<gic::IntId>,
    /// The console's UART, on the core that serves it.
    pub uart: Option<gic::IntId>,
}

/// Runs vCPUs on this core until the run is over.
pub fn run_core(interrupts: Interrupts) -> ! {
    tlb::tables_changed();
    gic::enable(interrupts.timer);
    gic::enable(interrupts.guest_timer);
    interrupts.maintenance.into_iter().for_each(gic::enable);
    if let Some(uart) = interrupts.uart {
        gic::enable(uart);
        // Whatever was typed before is waiting, and the UART's interrupt is still off.
        fleet::receive();
    }
    let core = Core { index: cpu::core_index(), interrupts, quantum: timer::frequency() * QUANTUM_MS / 1000 };
    loop {
        if core.has_chores() {
            fleet::tend();
        }
        match core.next() {
            Some(vcpu) => core.run(vcpu),
            None => core.sleep(),
        }
    }
}

/// This core.
struct Core {
    index: usize,
    interrupts: Interrupts,
    /// Longest turn in ticks.
    quantum: u64,
}

/// Why a vCPU gives the core back.
enum Turn {
    /// It waits for something to happen, or until this time.
    Wait(Option<u64>),
    /// Others may run first.
    Yield,
    /// It is off, until another vCPU of its VM turns it on.
    Off,
    /// Its VM ends.
    End,
    /// Its VM did what it may not.
    Crash(Crash),
}

impl Core {
    /// The vCPU whose turn it is, here or else on a core that has more than it can run.
    fn next(&self) -> Option<Box<Vcpu>> {
        let mut queue = scheduler::queue(self.index).lock();
        queue.wake_due(timer::now());
        let own = queue.pop();
        scheduler::set_running(self.index, own.as_ref().map(|vcpu| vcpu.priority));
        drop(queue);
        own.or_else(|| scheduler::steal(self.index))
    }

    /// Waits for an interrupt. Whoever makes something ready after this core was marked idle sends one.
    fn sleep(&self) {
        timer::set_alarm(self.deadline());
        // Interrupts are masked at EL2: a pending one only ends the wait.
        aarch64_cpu::asm::wfi();
        if self.handle_interrupts().timer {
            // It was raised before the vCPU lost the core, which will find it due again.
            gic::set_active(self.interrupts.guest_timer, false);
        }
    }

    /// Whether this core has to see to something else than vCPUs.
    fn has_chores(&self) -> bool {
        self.index == HOUSEKEEPER && fleet::due().is_some_and(|due| due <= timer::now())
    }

    /// When something is due that no interrupt tells.
    fn deadline(&self) -> Option<u64> {
        let chores = if self.index == HOUSEKEEPER { fleet::due() } else { None };
        scheduler::earlier(scheduler::queue(self.index).lock().deadline(), chores)
    }

    fn run(&self, mut vcpu: Box<Vcpu>) {
        scheduler::set_running(self.index, Some(vcpu.priority));
        let turn = match (vcpu.vm.ending(), vcpu.vm.control.is_paused()) {
            (Some(_), _) => Turn::End,
            // Whoever lets it go on wakes it.
            (None, true) => Turn::Wait(None),
            (None, false) => self.run_turn(&mut vcpu),
        };
        match turn {
            Turn::Wait(deadline) => {
                vcpu.vm.flush();
                scheduler::queue(self.index).lock().park(vcpu, deadline);
            }
            Turn::Yield => scheduler::queue(self.index).lock().push(vcpu),
            Turn::Off => switch_off(vcpu),
            Turn::End => end(vcpu),
            Turn::Crash(crash) => {
                vcpu.vm.flush();
                log::error!("{}", Report { vcpu: &vcpu, crash });
                vcpu.vm.crash();
                end(vcpu);
            }
        }
    }

    fn run_turn(&self, vcpu: &mut Vcpu) -> Turn {
        let now = timer::now();
        vcpu.first_run.get_or_insert(now);
        interrupts::notify(&vcpu.vm, vcpu.vm.advance_devices(now));
        let vmid = VMIDS.assign(self.index, &vcpu.vm.vmid, cpu::vmid_bits(), tlb::flush_all_guests);
        let vttbr = vmid.number() << 48 | vcpu.vm.memory.stage2().root();
        let link = &vcpu.vm.links[usize::from(vcpu.index)];
        let end = now.saturating_add(self.quantum);
        let mut turn = RunningTurn { core: self, link, priority: vcpu.priority, end };
        turn.set_alarm();
        link.usage.begin(now);
        // SAFETY: a VM's stage 2 tables map its own memory alone, and the vCPU keeps its VM alive.
        let mut loaded = unsafe { vcpu.context.load(vttbr) };
        let guest_timer = self.interrupts.guest_timer;
        let interrupts = interrupts::Interrupts::load(&vcpu.vm, vcpu.index, guest_timer, loaded.interface());
        let mut guest = Guest {
            vm: &vcpu.vm,
            index: usize::from(vcpu.index),
            vcpu: loaded,
            interrupts,
            usage: &mut vcpu.usage,
        };
        let reason = guest.run(&mut turn);
        let Guest { vcpu: mut loaded, interrupts, usage, .. } = guest;
        interrupts.unload(loaded.interface());
        drop(loaded);
        link.usage.end(usage, timer::now());
        reason
    }

    /// Handles what is pending. Returns what of it is for the guest that has the core.
    fn handle_interrupts(&self) -> ForGuest {
        let mut guest = ForGuest::default();
        gic::for_each_pending(|intid| {
            if intid == self.interrupts.guest_timer {
                guest.timer = true;
                return Handled::ByGuest;
            }
            if intid == self.interrupts.timer {
                timer::set_alarm(None);
            } else if Some(intid) == self.interrupts.maintenance {
                gic::interface::silence_maintenance();
                guest.maintenance = true;
            } else if Some(intid) == self.interrupts.uart {
                fleet::receive();
            }
            Handled::Done
        });
        if console::is_input_held() && self.index == HOUSEKEEPER {
            // Someone may have made room.
            fleet::receive();
        }
        guest
    }
}

/// Interrupts of the hypervisor that are for the guest that has the core.
#[derive(Debug, Clone, Copy, Default)]
struct ForGuest {
    /// Its virtual timer is due.
    timer: bool,
    /// Its list registers need a look.
    maintenance: bool,
}

/// A turn as it goes on.
struct RunningTurn<'a> {
    core: &'a Core,
    link: &'a VcpuLink,
    priority: u8,
    /// When it is over if an equal waits.
    end: u64,
}

impl RunningTurn<'_> {
    /// Whether the turn is over, after an interrupt.
    fn is_over(&mut self, vm: &Vm, usage: &Usage) -> bool {
        self.link.usage.publish(usage);
        if vm.is_recalled() || self.core.has_chores() {
            return true;
        }
        let now = timer::now();
        let mut queue = scheduler::queue(self.core.index).lock();
        queue.wake_due(now);
        let over = match queue.ready_priority() {
            Some(priority) if priority == self.priority => now >= self.end,
            Some(priority) => priority > self.priority,
            None => false,
        };
        drop(queue);
        if !over {
            self.set_alarm();
        }
        over
    }

    /// Comes back when the turn is over or someone else is due. A vCPU that runs alone is left in peace.
    fn set_alarm(&self) {
        let ready = scheduler::queue(self.core.index).lock().ready_priority();
        let end = ready.filter(|priority| *priority == self.priority).map(|_| self.end);
        timer::set_alarm(scheduler::earlier(end, self.core.deadline()));
    }
}

/// Sets a vCPU aside that has turned itself off. A VM ends with the last one, for none is left to turn another
/// on.
fn switch_off(vcpu: Box<Vcpu>) {
    let vm = vcpu.vm.clone();
    let mut off = vm.off.lock();
    off.push(vcpu);
    if off.len() == vm.links.len() {
        vm.end(0);
    }
    drop(off);
    // If the VM has ended, nobody else will come for it.
    if vm.ending().is_some() {
        retire_off(&vm);
    }
}

/// Takes out a vCPU whose VM ends, and sees to it that the others come out as well.
fn end(vcpu: Box<Vcpu>) {
    if vcpu.vm.links.len() > 1 {
        recall(&vcpu.vm);
    }
    fleet::retire(vcpu);
}

/// Makes all vCPUs of a VM come to the hypervisor.
pub(super) fn recall(vm: &Vm) {
    scheduler::wake_all(vm);
    scheduler::kick_all();
    if vm.ending().is_some() {
        retire_off(vm);
    }
}

/// Takes out the vCPUs of a VM that are off.
fn retire_off(vm: &Vm) {
    while let Some(vcpu) = { vm.off.lock().pop() } {
        fleet::retire(vcpu);
    }
}

/// A vCPU that has the core.
struct Guest<'a> {
    vm: &'a Vm,
    /// Its number in the VM.
    index: usize,
    vcpu: LoadedVcpu<'a>,
    interrupts: interrupts::Interrupts<'a>,
    usage: &'a mut Usage,
}

impl Guest<'_> {
    /// Runs it until it gives the core back.
    #[inline(never)]
    fn run(&mut self, turn: &mut RunningTurn<'_>) -> Turn {
        loop {
            self.usage.exits += 1;
            let end = match self.vcpu.run() {
                Exit::Hypercall => match hypercall::call(self.vm, self.vcpu.registers()) {
                    Flow::Continue => continue,
                    Flow::Exit(code) => self.exit(code),
                    Flow::Secure => self.secure_call(),
                },
                Exit::Fault(syndrome) => self.fault(syndrome),
                exit => self.handle(exit, turn),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Handles what is rarer than hypercalls and accesses to devices.
    #[inline(never)]
    fn handle(&mut self, exit: Exit, turn: &mut RunningTurn<'_>) -> Option<Turn> {
        match exit {
            Exit::Wait | Exit::Yield => self.usage.waits += 1,
            Exit::Interrupt => self.usage.interrupts += 1,
            _ => self.usage.traps += 1,
        }
        match exit {
            Exit::Hypercall => None,
            Exit::SecureCall if hypercall::is_secure_call(self.vcpu.registers()) => {
                self.vcpu.skip_instruction();
                self.secure_call()
            }
            Exit::SecureCall | Exit::Undefined => {
                self.vcpu.inject_undefined();
                None
            }
            Exit::Fp => {
                self.vcpu.enable_fp();
                None
            }
            Exit::System(syndrome) => {
                traps::system_register(self.vm, self.index, &mut self.vcpu, &mut self.interrupts, syndrome);
                None
            }
            Exit::Wait => self.wait(),
            Exit::Yield => Some(Turn::Yield),
            Exit::Interrupt => self.interrupt(turn),
            Exit::Fault(syndrome) => self.fault(syndrome),
            Exit::Unhandled(vector) => {
                let (syndrome, pc, address) = self.vcpu.own_exception();
                Some(Turn::Crash(Crash::Unhandled { vector, syndrome, pc, address }))
            }
            Exit::SystemError(syndrome) => Some(Turn::Crash(Crash::SystemError(syndrome))),
        }
    }

    #[cold]
    fn exit(&mut self, code: u8) -> Option<Turn> {
        self.vm.end(code);
        Some(Turn::End)
    }

    fn interrupt(&mut self, turn: &mut RunningTurn<'_>) -> Option<Turn> {
        let ForGuest { timer, maintenance } = turn.core.handle_interrupts();
        if timer {
            self.interrupts.timer_fired();
        }
        if maintenance {
            self.interrupts.maintain();
        }
        self.interrupts.look();
        turn.is_over(self.vm, self.usage).then_some(Turn::Yield)
    }

    /// `WFI`: until an interrupt is there, whether it is masked or not.
    fn wait(&mut self) -> Option<Turn> {
        self.interrupts.synchronise();
        if self.interrupts.is_pending(self.vcpu.interface()) {
            return None;
        }
        Some(Turn::Wait(scheduler::earlier(self.vcpu.timer_deadline(), self.vm.next_device_event())))
    }

    #[inline(never)]
    fn secure_call(&mut self) -> Option<Turn> {
        let [x0, x1, x2, x3, ..] = self.vcpu.registers().x;
        match self.vm.psci([x0, x1, x2, x3]) {
            Outcome::Return(value) => {
                self.vcpu.registers().x[0] = value.cast_unsigned();
                None
            }
            Outcome::Wait => {
                self.vcpu.registers().x[0] = 0;
                self.wait()
            }
            Outcome::Off => Some(Turn::Off),
            Outcome::End => Some(Turn::End),
        }
    }

    /// An access to what stage 2 does not map, or not for that: to a device, or else a mistake.
    #[inline(never)]
    fn fault(&mut self, syndrome: Syndrome) -> Option<Turn> {
        let (ipa, address) = self.vcpu.fault_address(syndrome);
        let crash = Some(Turn::Crash(Crash::Fault { syndrome, ipa, address }));
        if !syndrome.is_data_abort() {
            return crash;
        }
        let Ok(access) = MmioAccess::decode(syndrome) else { return crash };
        self.interrupts.synchronise();
        let value = access.value(self.vcpu.registers());
        let Some((value, changed)) = self.vm.access(self.index, ipa, &access, value) else { return crash };
        if !syndrome.is_write() {
            access.complete(self.vcpu.registers(), value);
        }
        self.vcpu.skip_instruction();
        if !changed.is_empty() {
            self.interrupts.changed(changed);
        }
        None
    }
}
