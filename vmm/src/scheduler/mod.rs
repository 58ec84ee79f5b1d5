//! Who runs next, on which core.
//!
//! The ready vCPU of the highest priority runs; those of the same priority take turns. A vCPU that waits
//! is parked until something happens for it, or until its virtual timer is due.
//!
//! Each core has a queue of its own. What becomes ready goes to the core where it runs soonest, and that core is told: so
//! no vCPU waits while a core that it may run on runs something of lower priority. A core takes from the others'
//! queues when it has nothing as urgent to do, and whoever has had its turn goes to a shorter line of equals, so that
//! equals get equal shares also where there are a few more of them than cores.

mod queue;

pub use queue::{Affinity, Line, Rank, RunQueue, earlier};

use crate::{
    arch::{cpu, gic, timer},
    devices::vgic::VcpuSet,
    platform::MAX_CORES,
    vm::{Vcpu, Vm},
};
use alloc::boxed::Box;
use core::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering},
};
use spin::{Mutex, MutexGuard};

/// The queues of all cores.
static QUEUES: [Mutex<RunQueue>; MAX_CORES] = [const { Mutex::new(RunQueue::new()) }; MAX_CORES];
/// The [`Line`] of each queue.
static LINES: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(Line::EMPTY.0) }; MAX_CORES];
/// When the next of those that wait in each queue is due; [`NEVER`] if none is.
static DEADLINES: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(NEVER) }; MAX_CORES];
/// The [`Rank`] of what each core runs.
static RUNNING: [AtomicU16; MAX_CORES] = [const { AtomicU16::new(Rank::IDLE.0) }; MAX_CORES];
/// Cores that take part.
static CORES: AtomicUsize = AtomicUsize::new(1);

const NEVER: u64 = u64::MAX;

/// Says how many cores take part.
pub fn init(cores: usize) {
    CORES.store(cores.min(MAX_CORES), Ordering::Relaxed);
}

/// Makes room for this many vCPUs in each queue.
pub fn reserve(vcpus: usize) {
    QUEUES.iter().for_each(|queue| queue.lock().reserve(vcpus));
}

/// A queue that is locked. What others have to know of it is told when it is unlocked.
pub struct LockedQueue {
    core: usize,
    queue: MutexGuard<'static, RunQueue>,
}

impl Deref for LockedQueue {
    type Target = RunQueue;

    fn deref(&self) -> &RunQueue {
        &self.queue
    }
}

impl DerefMut for LockedQueue {
    fn deref_mut(&mut self) -> &mut RunQueue {
        &mut self.queue
    }
}

impl Drop for LockedQueue {
    #[inline]
    fn drop(&mut self) {
        LINES[self.core].store(self.queue.line().0, Ordering::SeqCst);
        DEADLINES[self.core].store(self.queue.deadline().unwrap_or(NEVER), Ordering::Relaxed);
    }
}

/// The queue of a core.
#[inline]
pub fn queue(core: usize) -> LockedQueue {
    LockedQueue { core, queue: QUEUES[core].lock() }
}

/// The cores that take part.
pub fn cores() -> core::ops::Range<usize> {
    0..CORES.load(Ordering::Relaxed)
}

/// When the next vCPU that waits in a core's queue is due.
#[must_use]
#[inline]
pub fn deadline(core: usize) -> Option<u64> {
    Some(DEADLINES[core].load(Ordering::Relaxed)).filter(|deadline| *deadline != NEVER)
}

/// The rank of the first that is ready in a core's queue, once those are that are due.
#[must_use]
#[inline]
pub fn ready_rank_at(core: usize, now: u64) -> Rank {
    if DEADLINES[core].load(Ordering::Relaxed) <= now {
        queue(core).wake_due(now);
    }
    ready_rank(core)
}

/// The rank of the first that is ready in a core's queue.
#[must_use]
#[inline]
pub fn ready_rank(core: usize) -> Rank {
    line(core).rank()
}

#[inline]
fn line(core: usize) -> Line {
    Line(LINES[core].load(Ordering::SeqCst))
}

fn running(core: usize) -> Rank {
    Rank(RUNNING[core].load(Ordering::SeqCst))
}

/// Notes what a core runs from now on.
fn set_running(core: usize, rank: Rank) {
    RUNNING[core].store(rank.0, Ordering::SeqCst);
}

/// Where a vCPU runs soonest. Of cores that are as good, the first from `home` on: the one after the last follows next
/// time, so that each core of several gets its part.
fn choose(home: usize, vcpu: &Vcpu) -> usize {
    let cores = cores().len();
    let in_order = (home..cores).chain(0..home.min(cores));
    let allowed = in_order.filter(|core| vcpu.affinity.contains(*core));
    // The manifest was checked against the cores that there are.
    allowed.min_by_key(|core| cost(Rank::of(vcpu.priority), running(*core), line(*core))).unwrap_or(0)
}

/// How bad a core is for a vCPU of this rank: least of all if it runs something lower, the lowest first; else the more
/// equals there are; most if the vCPU has to wait for those above it.
fn cost(rank: Rank, running: Rank, line: Line) -> (bool, u64, Rank) {
    let is_below = running > rank || line.rank() > rank;
    (is_below, line.before(rank) + u64::from(running >= rank), running)
}

/// Puts a vCPU into a core's queue, and tells the core if it should run at once, or take turns with what runs.
fn send(core: usize, vcpu: Box<Vcpu>, push: fn(&mut RunQueue, Box<Vcpu>)) {
    let rank = Rank::of(vcpu.priority);
    vcpu.link().set_core(core);
    push(&mut queue(core), vcpu);
    if running(core) <= rank {
        gic::kick(core);
    }
}

/// Puts a new vCPU into a queue.
pub fn add(mut vcpu: Box<Vcpu>) {
    vcpu.ready_since = timer::now();
    send(choose(0, &vcpu), vcpu, RunQueue::push);
}

/// A vCPU that has had the core and is ready still.
pub struct Former {
    /// The vCPU.
    pub vcpu: Box<Vcpu>,
    /// Whether its turn was broken off: it goes on before its equals do, rather than behind them.
    pub broken_off: bool,
}

impl Former {
    /// Puts it back into the core's queue, or into one where it runs sooner. Returns the core's queue.
    #[inline]
    fn put_back(self, core: usize) -> LockedQueue {
        let Self { vcpu, broken_off } = self;
        let push = if broken_off { RunQueue::push_first } else { RunQueue::push };
        // Nobody wants its place, so it goes on; or there is no other place.
        let stays = cores().len() == 1 || line(core).rank() < Rank::of(vcpu.priority);
        let target = if stays { core } else { choose(core, &vcpu) };
        if target != core {
            send(target, vcpu, push);
            return queue(core);
        }
        let mut own = queue(core);
        push(&mut own, vcpu);
        own
    }
}

/// Puts a vCPU back that has had the core.
pub fn put_back(core: usize, former: Former) {
    drop(former.put_back(core));
}

/// The vCPU that this core runs next, from now on: its own first one, or else one that is more urgent and waits
/// elsewhere. The `former` one may be it again.
#[inline]
pub fn next(core: usize, now: u64, former: Option<Former>) -> Option<Box<Vcpu>> {
    let mut own = match former {
        Some(former) => former.put_back(core),
        None => queue(core),
    };
    own.wake_due(now);
    let rank = own.line().rank();
    if others(core).any(|other| line(other).rank() > rank) {
        // What comes in while the queue is not locked sees a core that does nothing, and tells it.
        set_running(core, Rank::IDLE);
        drop(own);
        if let Some(vcpu) = steal(core, rank) {
            set_running(core, Rank::of(vcpu.priority));
            return Some(vcpu);
        }
        own = queue(core);
    }
    let vcpu = own.pop();
    set_running(core, vcpu.as_ref().map_or(Rank::IDLE, |vcpu| Rank::of(vcpu.priority)));
    drop(own);
    spread(core);
    vcpu
}

fn others(core: usize) -> impl Iterator<Item = usize> {
    cores().filter(move |other| *other != core)
}

/// Takes a ready vCPU of more than this rank from another core, the most urgent one if it may run here.
fn steal(thief: usize, above: Rank) -> Option<Box<Vcpu>> {
    let most_urgent = others(thief).max_by_key(|core| line(*core).rank());
    most_urgent.into_iter().chain(others(thief)).find_map(|core| {
        let vcpu = queue(core).steal(thief, above)?;
        vcpu.link().set_core(thief);
        Some(vcpu)
    })
}

/// Sends what is ready here to cores that run something of lower priority.
#[inline]
pub fn spread(core: usize) {
    if cores().len() > 1 && line(core) != Line::EMPTY {
        spread_from(core);
    }
}

fn spread_from(core: usize) {
    loop {
        let mut own = queue(core);
        let Some(first) = own.first() else { return };
        let target = choose(core, first);
        if target == core || running(target) >= Rank::of(first.priority) {
            return;
        }
        let Some(vcpu) = own.pop() else { return };
        drop(own);
        send(target, vcpu, RunQueue::push_first);
    }
}

/// Something has happened for a vCPU: ends its wait, or keeps it from its next one.
/// Returns whether it waited.
pub fn wake(vm: &Vm, index: u8) -> bool {
    let Some(link) = vm.links.get(usize::from(index)) else { return false };
    link.set_event();
    // The event is set before the core is read: if the vCPU moves meanwhile, it finds the event when it parks.
    let core = link.core();
    let woken = queue(core).wake(vm.id, index);
    let Some(vcpu) = woken else { return false };
    send(choose(core, &vcpu), vcpu, RunQueue::push);
    true
}

/// Something has happened for all vCPUs of a VM.
pub fn wake_all(vm: &Vm) {
    for index in (0..).take(vm.links.len()) {
        wake(vm, index);
    }
}

/// Makes vCPUs look at their interrupts: wakes those that wait, interrupts those that run elsewhere. One that is
/// ready is left alone, and with it whoever has its core: it looks when its turn comes.
#[inline]
pub fn notify(vm: &Vm, vcpus: VcpuSet) {
    if !vcpus.is_empty() {
        notify_each(vm, vcpus);
    }
}

#[inline(never)]
fn notify_each(vm: &Vm, vcpus: VcpuSet) {
    for vcpu in vcpus.iter() {
        let (Some(link), Ok(index)) = (vm.links.get(vcpu), u8::try_from(vcpu)) else { continue };
        link.set_stale();
        if !wake(vm, index) && link.is_loaded() && link.core() != cpu::core_index() {
            gic::kick(link.core());
        }
    }
}

/// Makes the other cores come to the hypervisor.
pub fn kick_all() {
    cores().for_each(gic::kick);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of cores with what they run and the first of `count` equals that are ready there, the one that a vCPU prefers.
    fn preferred(priority: u8, cores: &[(Option<u8>, Option<u8>, usize)]) -> usize {
        let rank = |priority: Option<u8>| priority.map_or(Rank::IDLE, Rank::of);
        let cost = |index: &usize| {
            let (running, first, count) = cores[*index];
            cost(Rank::of(priority), rank(running), Line::new(rank(first), count, count))
        };
        (0..cores.len()).min_by_key(cost).unwrap()
    }

    #[test]
    fn what_becomes_ready_runs_where_the_lowest_runs() {
        let cores = [(Some(9), None, 0), (Some(3), Some(3), 4), (Some(2), Some(1), 2), (Some(5), None, 0)];
        assert_eq!(preferred(8, &cores), 2);
        assert_eq!(preferred(8, &[(Some(3), None, 0), (None, None, 0)]), 1, "an idle core is lowest");
        assert_eq!(
            preferred(8, &[(Some(3), Some(8), 1), (Some(4), None, 0)]),
            1,
            "an equal is there already"
        );
    }

    #[test]
    fn equals_stand_in_the_shortest_line() {
        let cores = [(Some(8), Some(8), 2), (Some(9), None, 0), (Some(8), Some(8), 1), (Some(8), Some(9), 1)];
        assert_eq!(preferred(8, &cores), 2);
        assert_eq!(
            preferred(8, &[(Some(8), Some(8), 1), (Some(8), Some(7), 5)]),
            1,
            "lower ones do not count"
        );
    }

    #[test]
    fn where_all_is_above_the_fewest_count() {
        assert_eq!(preferred(1, &[(Some(8), Some(8), 3), (Some(9), Some(8), 1)]), 1);
    }
}
