//! All VMs of the manifest: which are alive, who has the input, which start again, and when it is all over.
//!
//! One lock guards all of it. It is taken before those of VMs' consoles, of the console and of the scheduler's
//! queues, and never while a VM is built. What takes long, or memory, is not done where an interrupt asks for
//! it, but by the housekeeping core between turns: see `tend`.

mod generation;

pub use generation::{ReplaceError, replace};

use super::{
    Builder, Cause, Deployment, Focus, HOUSEKEEPER, Lifecycle, Refusal, State, Usage, Vcpu, Vm, VmId,
    network, receiving, run,
};
use crate::{
    arch::{gic, power, timer},
    bundle::manifest::VmConfig,
    console::{self, Key, Line, Typed},
    memory::heap::{FRAMES, HEAP},
    monitor::{self, Action, Next, Row, Target},
    scheduler,
    vm::BuildError,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};
use generation::{Generation, Vms};
use spin::{Mutex, Once};
use tinyvmm_abi::vms::{VM_NAME_SIZE, VmInfo};

struct Fleet {
    /// In the order of the manifest.
    members: Vec<Member>,
    focus: Focus,
    /// The VM that has the focus has got input that it was not woken for yet.
    fresh: bool,
    /// What is typed is for the monitor.
    in_monitor: bool,
    /// A line for the monitor that is not carried out yet. Until it is, no more is taken.
    command: Option<Line>,
    /// What the members are built from.
    deployment: Deployment,
    /// What follows when all of the members have ended.
    next: Option<Follower>,
}

/// What follows the VMs.
enum Follower {
    /// Those of another bundle.
    Vms(Box<Generation>),
    /// Nothing: the machine is switched off.
    Off,
    /// The machine starts anew.
    Reboot,
}

/// A VM's place in the fleet.
struct Member {
    config: &'static VmConfig,
    /// The VM, while it is alive.
    vm: Option<Arc<Vm>>,
    lifecycle: Lifecycle,
    /// Its arguments, each with its NUL, if they are not those of the manifest.
    args: Option<String>,
    /// It starts anew whatever it ends with.
    start_wanted: bool,
}

static FLEET: Once<Mutex<Fleet>> = Once::new();

/// Builds VMs that start again. Only the housekeeping core does.
static BUILDER: Once<Mutex<Builder<'static>>> = Once::new();

/// How many bytes of input are taken from the UART at a time.
const BURST: usize = 64;

/// When there is something to tend to, in ticks.
static DUE: AtomicU64 = AtomicU64::new(NEVER);
const NEVER: u64 = u64::MAX;
const AT_ONCE: u64 = 0;

/// Builds all VMs of a bundle, or none, and makes them ready to run on this many cores.
pub fn start(deployment: Deployment, cores: usize) -> Result<(), BuildError> {
    scheduler::init(cores);
    let Generation { deployment, vms } = Generation::build(deployment)?;
    let Vms { members, builder, fabric, vcpus, focus } = vms;
    fabric.install();
    generation::choose_style(&deployment);
    let (fresh, in_monitor, command, next) = (false, false, None, None);
    let fleet = Fleet { members, focus, fresh, in_monitor, command, deployment, next };
    let fleet = FLEET.call_once(|| Mutex::new(fleet));
    BUILDER.call_once(|| Mutex::new(builder));
    launch(fleet, vcpus);
    Ok(())
}

/// Lets VMs run. If none can, they are over.
fn launch(fleet: &Mutex<Fleet>, vcpus: Vec<Box<Vcpu>>) {
    if vcpus.is_empty() {
        let mut fleet = fleet.lock();
        let index = fleet.focus.index();
        fleet.settle(index);
    }
    vcpus.into_iter().for_each(set_going);
}

/// Lets a vCPU of a new VM run.
fn set_going(vcpu: Box<Vcpu>) {
    network::connect(&vcpu.vm);
    scheduler::add(vcpu);
}

/// Memory that nothing uses.
struct Free {
    frames: usize,
    heap: u64,
}

impl Free {
    fn now() -> Self {
        HEAP.trim();
        Self { frames: FRAMES.free(), heap: HEAP.free() }
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of frames free, {} bytes of heap", self.frames, self.heap)
    }
}

/// A vCPU has stopped for good. With the last one its VM ends, and with the last VM the run.
pub(super) fn retire(vcpu: Box<Vcpu>) {
    let (vm, usage, first_run) = (vcpu.vm.clone(), vcpu.usage, vcpu.first_run);
    // All of it, before its VM may turn out to be the last.
    drop(vcpu);
    if vm.count_out(usage, first_run) {
        let VmId(index) = vm.id;
        let member = FLEET.get().and_then(|fleet| fleet.lock().members.get_mut(index)?.vm.take());
        member.into_iter().for_each(let_go);
    }
    let_go(vm);
}

/// Lets go of a VM that may have ended meanwhile. Whoever is the last to do so, on whichever core, gives its memory
/// back, and only then decides what follows.
pub fn let_go(vm: Arc<Vm>) {
    let Some(vm) = Arc::into_inner(vm) else { return };
    let code = vm.ending().unwrap_or(0);
    vm.flush();
    log::info!("{}", vm.summary(code));
    let (VmId(index), cause) = (vm.id, vm.control.cause());
    network::disconnect(vm.id);
    drop(vm);
    if let Some(mut builder) = BUILDER.get().and_then(Mutex::try_lock) {
        builder.tidy();
    }
    HEAP.trim();
    conclude(index, cause, code);
    // What is typed from now on may be for the next VM.
    receive();
}

/// Decides what becomes of a VM that has ended.
fn conclude(index: usize, cause: Cause, code: u8) {
    let Some(fleet) = FLEET.get() else { return };
    let mut fleet = fleet.lock();
    let now = timer::now();
    let Some(member) = fleet.members.get_mut(index) else { return };
    member.lifecycle.ended(cause, code, now);
    if core::mem::take(&mut member.start_wanted) {
        member.lifecycle.start(now);
    }
    fleet.settle(index);
}

/// When there is something to tend to.
pub(super) fn due() -> Option<u64> {
    Some(DUE.load(Ordering::SeqCst)).filter(|due| *due != NEVER)
}

/// Does what is due: what was typed for the monitor, and VMs that start again.
pub(super) fn tend() {
    let Some(fleet) = FLEET.get() else { return };
    let command = fleet.lock().command.clone();
    if let Some(line) = command {
        let next = monitor::execute(line.text());
        fleet.lock().command_done(next);
        receive();
    }
    if receiving::is_open() {
        if !receiving::tend() {
            fleet.lock().leave_receiving();
        }
        receive();
    }
    fleet.lock().leave_if_due();
    generation::tend(fleet);
    let ready = fleet.lock().next_start(timer::now());
    if let Some((id, config)) = ready {
        start_again(id, config);
    }
    fleet.lock().publish_due();
}

/// Ends all VMs, after which the machine starts anew or is switched off; unless something else follows them already.
pub fn leave(reboot: bool) {
    let Some(fleet) = FLEET.get() else { return };
    if fleet.lock().next.is_none() {
        log::info!("the machine {}", if reboot { "starts anew" } else { "is switched off" });
        end_all(fleet, if reboot { Follower::Reboot } else { Follower::Off });
    }
}

/// Ends all VMs, so that something else can follow.
fn end_all(fleet: &Mutex<Fleet>, next: Follower) {
    let ending = fleet.lock().announce(next);
    for vm in ending {
        run::recall(&vm);
        let_go(vm);
    }
    fleet.lock().publish_due();
}

fn start_again(id: VmId, config: &'static VmConfig) {
    let (Some(fleet), Some(builder)) = (FLEET.get(), BUILDER.get()) else { return };
    let VmId(index) = id;
    let args = { fleet.lock().members.get(index).and_then(Member::arguments) };
    let built = { builder.lock().build(id, config, args.as_deref().unwrap_or(&config.args)) };
    let mut fleet = fleet.lock();
    let Some(member) = fleet.members.get_mut(index) else { return };
    match built {
        Ok(vcpus) => {
            member.vm = vcpus.first().map(|vcpu| vcpu.vm.clone());
            member.lifecycle.started(timer::now());
            drop(fleet);
            vcpus.into_iter().for_each(set_going);
        }
        Err(error) => {
            member.lifecycle.fail();
            log::error!("{error}");
            fleet.settle(index);
        }
    }
}

/// Takes what is typed to where it belongs, as far as there is room.
pub(super) fn receive() {
    let Some(fleet) = FLEET.get() else { return };
    let mut fleet = fleet.lock();
    let mut bytes = [0; BURST];
    loop {
        let mut room = fleet.room();
        if room == 0 {
            console::hold_input();
            // Whoever made room before the input was held did not know.
            room = fleet.room();
            if room == 0 {
                break;
            }
        }
        let count = console::receive(&mut bytes[..room.min(BURST)]);
        fleet.take_bytes(&bytes[..count]);
        if count == 0 {
            break;
        }
    }
    fleet.wake_focused();
}

/// The VM that is meant.
pub fn find(target: Target<'_>) -> Option<VmId> {
    let fleet = FLEET.get()?.lock();
    let index = match target {
        Target::Number(number) => number.checked_sub(1).filter(|index| *index < fleet.members.len()),
        Target::Name(name) => fleet.members.iter().position(|member| member.config.name == name),
    };
    index.map(VmId)
}

/// All VMs as the monitor lists them.
pub fn rows() -> impl Iterator<Item = Row> {
    (0..).map_while(|index| FLEET.get()?.lock().row(index))
}

/// Does something with a VM.
pub fn act(id: VmId, action: Action) -> Result<(), Refusal> {
    let Some(fleet) = FLEET.get() else { return Ok(()) };
    let vm = fleet.lock().act(id, action)?;
    // Without the lock: what comes in now may be the VM's end.
    if let Some(vm) = vm {
        match action {
            Action::Resume => scheduler::wake_all(&vm),
            Action::Pause | Action::Kill | Action::Restart => run::recall(&vm),
            Action::Focus => {}
        }
        let_go(vm);
    }
    Ok(())
}

/// Number of VMs in the manifest.
pub fn count() -> u64 {
    FLEET.get().map_or(0, |fleet| fleet.lock().members.len() as u64)
}

/// The VM with this place in the manifest, if it is alive. The caller [lets it go](let_go).
pub fn peer(VmId(index): VmId) -> Option<Arc<Vm>> {
    let fleet = FLEET.get()?.lock();
    fleet.members.get(index)?.vm.as_ref().filter(|vm| vm.ending().is_none()).cloned()
}

/// What there is to know about a VM.
pub fn info(VmId(index): VmId) -> Option<VmInfo> {
    FLEET.get()?.lock().members.get(index)?.info(index)
}

/// Starts a VM that does not run, with these arguments instead of the manifest's.
pub fn spawn(VmId(index): VmId, args: Option<String>) -> Result<(), Refusal> {
    let Some(fleet) = FLEET.get() else { return Ok(()) };
    let mut fleet = fleet.lock();
    let Some(member) = fleet.members.get_mut(index) else { return Ok(()) };
    if !member.lifecycle.is_over() {
        return Err(Refusal(member.state()));
    }
    member.args = args;
    member.lifecycle.start(timer::now());
    fleet.publish_due();
    Ok(())
}

/// The exit code of a VM that has ended for good. If it has not, the waits of `asker` end when one has.
pub fn exit_code(VmId(index): VmId, asker: &Vm) -> Result<u8, State> {
    let Some(fleet) = FLEET.get() else { return Err(State::Stopped) };
    let fleet = fleet.lock();
    let Some(member) = fleet.members.get(index) else { return Err(State::Stopped) };
    asker.wait_for_others();
    member.lifecycle.final_exit_code()
}

/// There is room in a mailbox again.
pub fn stir() {
    if let Some(fleet) = FLEET.get() {
        fleet.lock().stir();
    }
}

/// A message has come for a VM. The caller has locked nothing.
pub fn delivered(receiver: &Vm) {
    scheduler::wake_all(receiver);
    scheduler::notify(receiver, receiver.feed_messages());
}

impl Member {
    fn info(&self, index: usize) -> Option<VmInfo> {
        let usage = self.usage();
        let mut name = [0; VM_NAME_SIZE];
        name.get_mut(..self.config.name.len())?.copy_from_slice(self.config.name.as_bytes());
        Some(VmInfo {
            number: u32::try_from(index + 1).ok()?,
            state: self.state().number(),
            vcpus: self.config.vcpus,
            capabilities: self.config.capabilities.0,
            restarts: self.lifecycle.restarts(),
            exit_code: self.lifecycle.exit_code().into(),
            memory: self.config.memory,
            time: usage.time,
            steal: usage.steal,
            exits: usage.exits,
            name,
        })
    }

    fn new(config: &'static VmConfig) -> Self {
        let ticks_per_ms = timer::frequency() / 1000;
        let lifecycle = match config.autostart {
            true => Lifecycle::new(config.restart, ticks_per_ms, timer::now()),
            false => Lifecycle::stopped(config.restart, ticks_per_ms),
        };
        Self { config, vm: None, lifecycle, args: None, start_wanted: false }
    }

    /// Its arguments, if they are not those of the manifest.
    fn arguments(&self) -> Option<Vec<String>> {
        self.args.as_ref().map(|args| args.split_terminator('\0').map(String::from).collect())
    }

    fn usage(&self) -> Usage {
        self.vm.as_ref().map_or(Usage::default(), |vm| vm.usage(timer::now()))
    }

    fn state(&self) -> State {
        match &self.vm {
            Some(vm) if vm.control.is_paused() => State::Paused,
            Some(vm) if vm.usage(timer::now()) == Usage::default() => State::Created,
            _ => self.lifecycle.state(),
        }
    }
}

impl Fleet {
    /// Ends the run after the last VM, unless others follow or may do so.
    fn end_if_over(&self) {
        let waits = self.next.is_some() || receiving::is_open();
        if !waits && self.members.iter().all(|member| member.lifecycle.is_over()) {
            log::debug!("memory after the last VM: {}", Free::now());
            let codes = self.members.iter().map(|member| member.lifecycle.exit_code());
            power::end(codes.into_iter().find(|code| *code != 0).unwrap_or(0));
        }
    }

    /// Ends VMs, so that something else can follow. Returns those whose vCPUs have to know.
    fn announce(&mut self, next: Follower) -> Vec<Arc<Vm>> {
        self.next = Some(next);
        let alive: Vec<Arc<Vm>> = self.members.iter().filter_map(|member| member.vm.clone()).collect();
        alive.iter().for_each(|vm| vm.kill());
        alive
    }

    /// Whether something else is to follow and can do so at once.
    fn is_exchange_due(&self) -> bool {
        self.next.is_some() && !self.members.iter().any(|member| member.lifecycle.is_alive())
    }

    /// Leaves the machine if that is to follow, and can.
    fn leave_if_due(&self) {
        match &self.next {
            Some(Follower::Off) if self.is_exchange_due() => power::end(0),
            Some(Follower::Reboot) if self.is_exchange_due() => power::reboot(),
            _ => {}
        }
    }

    /// Goes on after a VM has ended: the focus, what is due, and the end of the run.
    fn settle(&mut self, index: usize) {
        self.end_if_over();
        let over = |index: usize| self.members.get(index).is_none_or(|member| member.lifecycle.is_over());
        if self.focus.index() == index
            && over(index)
            && self.focus.advance(self.members.len(), |index| !over(index))
        {
            log::info!("input goes to vm '{}'", self.focused_name());
        }
        self.publish_due();
        self.stir();
    }

    /// Wakes those that wait for what another VM does.
    fn stir(&self) {
        let alive = self.members.iter().filter_map(|member| member.vm.as_deref());
        alive.filter(|vm| vm.take_wait_for_others()).for_each(scheduler::wake_all);
    }

    /// Says when there is something to tend to.
    fn publish_due(&self) {
        let starts = self.members.iter().filter_map(|member| member.lifecycle.due());
        let starts = starts.filter(|_| self.next.is_none());
        let at_once = self.command.is_some() || self.is_exchange_due();
        let others = at_once.then_some(AT_ONCE).into_iter().chain(receiving::due());
        let due = others.chain(starts).min();
        DUE.store(due.unwrap_or(NEVER), Ordering::SeqCst);
        if due.is_some() {
            gic::kick(HOUSEKEEPER);
        }
    }

    /// A VM whose time to start again has come.
    fn next_start(&self, now: u64) -> Option<(VmId, &'static VmConfig)> {
        if self.next.is_some() {
            return None;
        }
        let is_due = |member: &Member| member.lifecycle.due().is_some_and(|due| due <= now);
        let index = self.members.iter().position(is_due)?;
        Some((VmId(index), self.members.get(index)?.config))
    }

    fn focused(&self) -> Option<&Arc<Vm>> {
        self.members.get(self.focus.index())?.vm.as_ref()
    }

    fn focused_name(&self) -> &'static str {
        self.members.get(self.focus.index()).map_or("", |member| &member.config.name)
    }

    /// How much of what is typed next can be taken. What is typed for a VM that is not there is lost.
    fn room(&self) -> usize {
        if let Some(room) = receiving::room() {
            return room;
        }
        let room = match self.focused() {
            _ if self.in_monitor => usize::from(self.command.is_none()),
            Some(vm) => vm.console.room(),
            None => BURST,
        };
        // A key of the hypervisor's may lead the byte after it elsewhere.
        if console::is_transparent() { room } else { room.min(1) }
    }

    fn take_bytes(&mut self, bytes: &[u8]) {
        if receiving::is_open() {
            // One byte at a time.
            if bytes.iter().any(|byte| receiving::take(*byte)) {
                self.publish_due();
            }
        } else if console::is_transparent() && !self.in_monitor {
            self.give(bytes);
        } else {
            bytes.iter().filter_map(|byte| console::key(*byte)).for_each(|key| self.take(key));
        }
    }

    fn give(&mut self, bytes: &[u8]) {
        if let Some(vm) = self.focused() {
            vm.console.push(bytes);
            self.fresh = true;
        }
    }

    fn take(&mut self, key: Key) {
        match key {
            Key::Byte(byte) if self.in_monitor => self.take_for_monitor(byte),
            Key::Byte(byte) => self.give(&[byte]),
            Key::Focus(number) => self.switch_to(number),
            Key::Help => console::write_own(format_args!("{}", console::HELP)),
            Key::Monitor => {
                self.wake_focused();
                self.in_monitor = true;
                console::open_prompt();
            }
        }
    }

    fn take_for_monitor(&mut self, byte: u8) {
        match console::type_at_prompt(byte) {
            Typed::Nothing => {}
            Typed::Line(line) => {
                self.command = Some(line);
                self.publish_due();
            }
            Typed::Quit => self.leave_monitor(),
        }
    }

    fn command_done(&mut self, next: Next) {
        self.command = None;
        match next {
            Next::Prompt => console::open_prompt(),
            Next::Leave => self.leave_monitor(),
            // The prompt comes back, or goes away, with the sender's end.
            Next::Receive => {}
        }
    }

    /// The line is no sender's any more.
    fn leave_receiving(&mut self) {
        log::debug!("memory after the transfer: {}", Free::now());
        self.leave_monitor();
        console::mute_guests(false);
        self.end_if_over();
    }

    fn leave_monitor(&mut self) {
        self.in_monitor = false;
        console::close_prompt();
        self.tell_focus();
    }

    /// Gives the input to the VM with this place in the manifest, counted from 1.
    fn switch_to(&mut self, number: usize) {
        match self.members.get(number.wrapping_sub(1)) {
            None => console::write_own(format_args!("[tinyvmm] there is no VM {number}\n")),
            Some(member) if member.lifecycle.is_over() => {
                let (name, state) = (&member.config.name, member.lifecycle.state());
                console::write_own(format_args!("[tinyvmm] vm '{name}' is {state}\n"));
            }
            Some(_) => {
                self.set_focus(number - 1);
                self.in_monitor = false;
                console::close_prompt();
                self.tell_focus();
            }
        }
    }

    fn set_focus(&mut self, index: usize) {
        self.wake_focused();
        self.focus.set(index);
    }

    fn tell_focus(&self) {
        console::write_own(format_args!("[tinyvmm] input goes to vm '{}'\n", self.focused_name()));
    }

    /// Wakes the VM that has got input.
    fn wake_focused(&mut self) {
        if core::mem::take(&mut self.fresh)
            && let Some(vm) = self.focused()
        {
            scheduler::notify(vm, vm.feed_console());
            scheduler::wake_all(vm);
        }
    }

    fn row(&self, index: usize) -> Option<Row> {
        let member = self.members.get(index)?;
        let Member { config, vm, lifecycle, .. } = member;
        let usage = member.usage();
        Some(Row {
            number: index + 1,
            name: &config.name,
            has_focus: index == self.focus.index(),
            state: member.state(),
            vcpus: config.vcpus,
            usage: Usage { time: usage.time / (timer::frequency() / 1000).max(1), ..usage },
            memory: vm.as_ref().map_or(0, |_| config.memory),
            restarts: lifecycle.restarts(),
        })
    }

    /// Does something with a VM. Returns it, if its vCPUs have to know.
    fn act(&mut self, VmId(index): VmId, action: Action) -> Result<Option<Arc<Vm>>, Refusal> {
        let Some(member) = self.members.get_mut(index) else { return Ok(None) };
        let state = member.state();
        let vm = member.vm.clone();
        match (action, &vm) {
            (Action::Focus, _) if !member.lifecycle.is_over() => self.set_focus(index),
            (Action::Pause, Some(vm)) if state != State::Paused => vm.control.set_paused(true),
            (Action::Resume, Some(vm)) if state == State::Paused => vm.control.set_paused(false),
            (Action::Kill, Some(vm)) => {
                // Also one that is about to start anew.
                member.start_wanted = false;
                vm.kill();
            }
            (Action::Kill, None) if state == State::Restarting => {
                member.lifecycle.cancel();
                self.settle(index);
            }
            (Action::Restart, Some(vm)) => {
                member.start_wanted = true;
                vm.kill();
            }
            (Action::Restart, None) if state != State::Running => {
                member.lifecycle.start(timer::now());
                self.publish_due();
            }
            _ => return Err(Refusal(state)),
        }
        Ok(vm)
    }
}
