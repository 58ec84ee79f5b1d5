//! Running vCPUs: what a core does all day, and the loop that enters guests and handles why they come back.

use super::{
    Crash, HOUSEKEEPER, Outcome, Report, Usage, Vcpu, VcpuLink, Vm, fleet, interrupts, network, traps,
};
use crate::{
    arch::{
        cpu::{self, Exit, LoadedVcpu},
        gic::{self, Handled},
        syndrome::Syndrome,
        timer, tlb,
    },
    console,
    devices::{
        Width,
        access::{Direction, MmioAccess},
    },
    hypercall::{self, Flow, psci::Action},
    memory::vmid::VmidAllocator,
    scheduler::{self, Former, Rank},
};
use alloc::boxed::Box;
use tinyvmm_abi::virt::EXIT_BASE;

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
    let mut former = None;
    loop {
        if core.has_chores() {
            // What it sees to may concern a vCPU in any queue.
            former.take().into_iter().for_each(|former| scheduler::put_back(core.index, former));
            fleet::tend();
        }
        match scheduler::next(core.index, timer::now(), former.take()) {
            Some(vcpu) => former = core.run(vcpu),
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
    /// Its turn is over: its equals come first.
    Yield,
    /// Its turn is not over, but there is something more urgent.
    Interrupted,
    /// It is off, until another vCPU of its VM turns it on.
    Off,
    /// Its VM ends.
    End,
    /// It did what it may not, and says so in [`Vcpu::crash`].
    Crash,
}

impl Core {
    /// Waits for an interrupt. Whoever makes something ready after this core was marked idle sends one.
    fn sleep(&self) {
        timer::set_alarm(self.deadline());
        // Interrupts are masked at EL2: a pending one only ends the wait.
        aarch64_cpu::asm::wfi();
        if self.handle_interrupt() == Interrupted::GuestTimer {
            // It was raised before the vCPU lost the core, which will find it due again.
            gic::set_active(self.interrupts.guest_timer, false);
        }
    }

    /// Whether this core has to see to something else than vCPUs.
    fn has_chores(&self) -> bool {
        self.index == HOUSEKEEPER && fleet::due().is_some_and(|due| due <= timer::now())
    }

    /// When something is due that no interrupt tells.
    #[inline]
    fn deadline(&self) -> Option<u64> {
        let chores = if self.index == HOUSEKEEPER { fleet::due() } else { None };
        scheduler::earlier(scheduler::deadline(self.index), chores)
    }

    /// Gives a vCPU a turn. Returns it if it is ready still.
    #[inline]
    fn run(&self, mut vcpu: Box<Vcpu>) -> Option<Former> {
        let turn = match (vcpu.vm.ending(), vcpu.vm.control.is_paused()) {
            (Some(_), _) => Turn::End,
            // Whoever lets it go on wakes it.
            (None, true) => Turn::Wait(None),
            (None, false) => self.run_turn(&mut vcpu),
        };
        match turn {
            Turn::Wait(deadline) => {
                vcpu.vm.flush();
                scheduler::queue(self.index).park(vcpu, deadline);
            }
            Turn::Yield => return Some(Former { vcpu, broken_off: false }),
            Turn::Interrupted => return Some(Former { vcpu, broken_off: true }),
            Turn::Off => switch_off(vcpu),
            Turn::End => end(vcpu),
            Turn::Crash => {
                report(&vcpu);
                vcpu.vm.crash();
                end(vcpu);
            }
        }
        None
    }

    fn run_turn(&self, vcpu: &mut Vcpu) -> Turn {
        let now = timer::now();
        vcpu.first_run.get_or_insert(now);
        scheduler::notify(&vcpu.vm, vcpu.vm.advance_devices(now));
        let vmid = VMIDS.assign(self.index, &vcpu.vm.vmid, cpu::vmid_bits(), tlb::flush_all_guests);
        let vttbr = vmid.number() << 48 | vcpu.vm.memory.stage2().root();
        let link = &vcpu.vm.links[usize::from(vcpu.index)];
        let end = now.saturating_add(if vcpu.turn_left > 0 { vcpu.turn_left } else { self.quantum });
        let turn = RunningTurn { core: self, link, rank: Rank::of(vcpu.priority), end };
        turn.set_alarm(scheduler::ready_rank(self.index));
        link.usage.begin(vcpu.ready_since, now);
        let mut guest = Guest {
            vm: &vcpu.vm,
            index: usize::from(vcpu.index),
            // SAFETY: a VM's stage 2 tables map its own memory alone, and the vCPU keeps its VM alive.
            vcpu: unsafe { vcpu.context.load(vttbr) },
            interrupts: interrupts::Interrupts::new(&vcpu.vm, vcpu.index, self.interrupts.guest_timer),
            usage: &mut vcpu.usage,
            crash: &mut vcpu.crash,
        };
        if vcpu.vm.last_vcpus.replace(self.index, vcpu.index) {
            tlb::flush_stage1_here();
        }
        guest.interrupts.load(guest.vcpu.interface());
        let reason = guest.run(&turn);
        guest.interrupts.unload(guest.vcpu.interface());
        drop(guest);
        let now = timer::now();
        link.usage.end(&mut vcpu.usage, now);
        vcpu.ready_since = now;
        vcpu.turn_left = if matches!(reason, Turn::Interrupted) { end.saturating_sub(now) } else { 0 };
        reason
    }

    /// Handles the interrupt that is pending.
    fn handle_interrupt(&self) -> Interrupted {
        let mut interrupted = Interrupted::Host;
        gic::take_pending(|intid| {
            if intid == self.interrupts.guest_timer {
                interrupted = Interrupted::GuestTimer;
                return Handled::ByGuest;
            }
            if intid == self.interrupts.timer {
                timer::set_alarm(None);
            } else if Some(intid) == self.interrupts.maintenance {
                gic::interface::Interface::get().silence_maintenance();
                interrupted = Interrupted::Maintenance;
            } else if Some(intid) == self.interrupts.uart {
                fleet::receive();
            } else {
                network::handle_interrupt(intid);
            }
            Handled::Done
        });
        if console::is_input_held() && self.index == HOUSEKEEPER {
            // Someone may have made room.
            fleet::receive();
        }
        interrupted
    }
}

/// What a physical interrupt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interrupted {
    /// The virtual timer of the guest that has the core.
    GuestTimer,
    /// Its list registers, which need a look.
    Maintenance,
    /// Something that the hypervisor has handled.
    Host,
}

/// A turn as it goes on.
struct RunningTurn<'a> {
    core: &'a Core,
    link: &'a VcpuLink,
    rank: Rank,
    /// When it is over if an equal waits.
    end: u64,
}

impl RunningTurn<'_> {
    /// Whether the vCPU has to give the core back, after an interrupt.
    fn end(&self, vm: &Vm, usage: &Usage) -> Option<Turn> {
        self.link.usage.publish(usage);
        if vm.is_recalled() || self.core.has_chores() {
            return Some(Turn::Interrupted);
        }
        let now = timer::now();
        let ready = scheduler::ready_rank_at(self.core.index, now);
        if ready > self.rank {
            return Some(Turn::Interrupted);
        }
        if ready == self.rank && now >= self.end {
            return Some(Turn::Yield);
        }
        if ready != Rank::IDLE {
            // It may find a core that does less.
            scheduler::spread(self.core.index);
        }
        self.set_alarm(ready);
        None
    }

    /// Comes back when the turn is over or someone else is due. A vCPU that runs alone is left in peace.
    #[inline]
    fn set_alarm(&self, ready: Rank) {
        let end = (ready == self.rank).then_some(self.end);
        timer::set_alarm(scheduler::earlier(end, self.core.deadline()));
    }
}

/// Says what a vCPU did that it may not.
fn report(vcpu: &Vcpu) {
    vcpu.vm.flush();
    if let Some(crash) = vcpu.crash {
        log::error!("{}", Report { vcpu, crash });
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
    fleet::let_go(vm);
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
    crash: &'a mut Option<Crash>,
}

impl Guest<'_> {
    /// Runs it until it gives the core back.
    #[inline(never)]
    fn run(&mut self, turn: &RunningTurn<'_>) -> Turn {
        loop {
            self.usage.exits += 1;
            let end = match self.vcpu.run() {
                Exit::Hypercall => match hypercall::call(self.vm, self.vcpu.registers()) {
                    Flow::Continue => continue,
                    Flow::Exit(code) => self.exit(code),
                    Flow::Secure => self.secure_call(),
                },
                Exit::Fault(syndrome) => match self.device_access(syndrome) {
                    Some(()) => continue,
                    None => self.fault(syndrome),
                },
                Exit::System(syndrome) => {
                    self.usage.traps += 1;
                    traps::system_register(&mut self.vcpu, &mut self.interrupts, syndrome);
                    continue;
                }
                exit => self.handle(exit, turn),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Handles what is rarer than hypercalls and accesses to devices.
    #[inline(never)]
    fn handle(&mut self, exit: Exit, turn: &RunningTurn<'_>) -> Option<Turn> {
        match exit {
            Exit::Wait | Exit::Yield => self.usage.waits += 1,
            Exit::Interrupt => self.usage.interrupts += 1,
            _ => self.usage.traps += 1,
        }
        match exit {
            Exit::Hypercall | Exit::System(_) | Exit::Fault(_) => None,
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
            Exit::Wait => self.wait(),
            Exit::Yield => Some(Turn::Yield),
            Exit::Interrupt => self.interrupt(turn),
            Exit::Unhandled(vector) => {
                let (syndrome, pc, address) = self.vcpu.own_exception();
                self.crash(Crash::Unhandled { vector, syndrome, pc, address })
            }
            Exit::SystemError(syndrome) => self.crash(Crash::SystemError(syndrome)),
        }
    }

    #[cold]
    fn exit(&mut self, code: u8) -> Option<Turn> {
        self.vm.end(code);
        Some(Turn::End)
    }

    fn interrupt(&mut self, turn: &RunningTurn<'_>) -> Option<Turn> {
        match turn.core.handle_interrupt() {
            Interrupted::GuestTimer => self.interrupts.timer_fired(),
            Interrupted::Maintenance => self.interrupts.maintain(),
            Interrupted::Host => {}
        }
        self.interrupts.look();
        turn.end(self.vm, self.usage)
    }

    /// `WFI`: until an interrupt is there, whether it is masked or not.
    fn wait(&mut self) -> Option<Turn> {
        if self.interrupts.end_wait(self.vcpu.interface()) {
            return None;
        }
        Some(Turn::Wait(scheduler::earlier(self.vcpu.timer_deadline(), self.vm.next_device_event())))
    }

    #[inline]
    fn secure_call(&mut self) -> Option<Turn> {
        let [x0, x1, x2, x3, ..] = self.vcpu.registers().x;
        match Action::of([x0, x1, x2, x3]) {
            Action::Return(value) => {
                self.vcpu.registers().x[0] = value.cast_unsigned();
                None
            }
            action => self.switch_power(action),
        }
    }

    #[inline(never)]
    fn switch_power(&mut self, action: Action) -> Option<Turn> {
        match self.vm.psci(action) {
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

    /// An access to what stage 2 does not map, or not for that: if it is one to a device, carries it out.
    #[inline]
    fn device_access(&mut self, syndrome: Syndrome) -> Option<()> {
        self.usage.traps += 1;
        let access = MmioAccess::decode(syndrome)?;
        let (region, offset) = self.vm.board.bus.find(self.vcpu.fault_address(syndrome).0, access.width)?;
        if access.direction == Direction::Read && region.is_interrupt_controller() {
            self.interrupts.synchronise();
        }
        let written = match access.direction {
            Direction::Read => 0,
            Direction::Write => access.value(self.vcpu.registers()),
        };
        let effect = self.vm.access(self.index, region, offset, &access, written);
        if access.direction == Direction::Read {
            access.complete(self.vcpu.registers(), effect.value);
        }
        if !effect.again {
            self.vcpu.skip_instruction();
        }
        self.interrupts.changed(effect.changed);
        Some(())
    }

    #[cold]
    fn fault(&mut self, syndrome: Syndrome) -> Option<Turn> {
        let (ipa, address) = self.vcpu.fault_address(syndrome);
        if let Some(access) = MmioAccess::decode(syndrome).filter(|access| self.is_exit(ipa, access)) {
            let [code, ..] = access.value(self.vcpu.registers()).to_le_bytes();
            return self.exit(code);
        }
        self.crash(Crash::Fault { syndrome, ipa, address })
    }

    /// Whether this is a write to the exit register of a `virt` machine.
    fn is_exit(&self, ipa: u64, access: &MmioAccess) -> bool {
        let is_write = (access.direction, access.width) == (Direction::Write, Width::Word);
        ipa == EXIT_BASE && is_write && self.vm.board.has_devices()
    }

    #[cold]
    fn crash(&mut self, crash: Crash) -> Option<Turn> {
        *self.crash = Some(crash);
        Some(Turn::Crash)
    }
}
