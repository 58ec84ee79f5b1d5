//! Who runs next: one queue for each core.
//!
//! The ready vCPU of the highest priority runs; those of the same priority take turns. A vCPU that waits
//! is parked until something happens for it, or until its virtual timer is due. A core with nothing to do takes
//! ready vCPUs from others.

use crate::{
    arch::gic,
    platform::MAX_CORES,
    vm::{Vcpu, Vm, VmId},
};
use alloc::{boxed::Box, collections::vec_deque::VecDeque, vec::Vec};
use core::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use spin::Mutex;

/// The vCPUs of a core, but for the one that it runs.
#[derive(Default)]
pub struct RunQueue {
    /// Of the highest priority first; equals in the order of their turns.
    ready: VecDeque<Box<Vcpu>>,
    parked: Vec<Parked>,
    /// The earliest deadline of those that are parked.
    deadline: Option<u64>,
}

struct Parked {
    vcpu: Box<Vcpu>,
    deadline: Option<u64>,
}

impl RunQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { ready: VecDeque::new(), parked: Vec::new(), deadline: None }
    }

    /// Makes room for this many vCPUs, so that none of the other calls allocates.
    pub fn reserve(&mut self, vcpus: usize) {
        self.ready.reserve(vcpus.saturating_sub(self.ready.len()));
        self.parked.reserve(vcpus.saturating_sub(self.parked.len()));
    }

    /// Adds a vCPU that can run, behind its equals.
    pub fn push(&mut self, vcpu: Box<Vcpu>) {
        let place = self.ready.partition_point(|other| other.priority >= vcpu.priority);
        self.ready.insert(place, vcpu);
    }

    /// Takes the vCPU whose turn it is.
    pub fn pop(&mut self) -> Option<Box<Vcpu>> {
        self.ready.pop_front()
    }

    /// Takes a ready vCPU that may run on `core`, for a core that has nothing to do.
    pub fn steal(&mut self, core: usize) -> Option<Box<Vcpu>> {
        let place = self.ready.iter().position(|vcpu| vcpu.affinity.contains(core))?;
        self.ready.remove(place)
    }

    /// The highest priority that is ready.
    #[must_use]
    #[inline]
    pub fn ready_priority(&self) -> Option<u8> {
        self.ready.front().map(|vcpu| vcpu.priority)
    }

    /// Sets a vCPU aside until something happens for it, or until `deadline`. What has happened since its
    /// last wait ended ends this one at once.
    pub fn park(&mut self, vcpu: Box<Vcpu>, deadline: Option<u64>) {
        if vcpu.link().take_event() {
            return self.push(vcpu);
        }
        self.deadline = earlier(self.deadline, deadline);
        self.parked.push(Parked { vcpu, deadline });
    }

    /// Makes ready what is due.
    pub fn wake_due(&mut self, now: u64) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            while let Some(place) = self.parked.iter().position(|p| p.deadline.is_some_and(|at| at <= now)) {
                self.unpark(place);
            }
        }
    }

    /// Makes a vCPU ready if it is parked here. Returns its priority.
    pub fn wake(&mut self, vm: VmId, index: u8) -> Option<u8> {
        let place = self.parked.iter().position(|p| p.vcpu.vm.id == vm && p.vcpu.index == index)?;
        let vcpu = &self.parked[place].vcpu;
        let priority = vcpu.priority;
        // The wait that this event would end is over.
        let _ = vcpu.link().take_event();
        self.unpark(place);
        Some(priority)
    }

    /// When the next parked vCPU is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    fn unpark(&mut self, place: usize) {
        let Parked { vcpu, deadline } = self.parked.swap_remove(place);
        if deadline == self.deadline {
            self.deadline = self.parked.iter().filter_map(|parked| parked.deadline).min();
        }
        self.push(vcpu);
    }
}

/// The earlier of two deadlines, either of which may be never.
#[must_use]
pub fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// The cores that a vCPU may run on: bit `n` is core `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(pub u8);

impl Affinity {
    /// Any core.
    pub const ANY: Self = Self(u8::MAX);

    /// Whether a core is among them.
    #[must_use]
    pub const fn contains(self, core: usize) -> bool {
        core < 8 && self.0 >> core & 1 != 0
    }
}

/// The queues of all cores.
static QUEUES: [Mutex<RunQueue>; MAX_CORES] = [const { Mutex::new(RunQueue::new()) }; MAX_CORES];
/// What each core runs: a priority, or [`IDLE`].
static RUNNING: [AtomicU16; MAX_CORES] = [const { AtomicU16::new(IDLE) }; MAX_CORES];
/// Cores that take part.
static CORES: AtomicUsize = AtomicUsize::new(1);

/// A core runs nothing: less than any priority.
const IDLE: u16 = 0;

const fn rank(priority: u8) -> u16 {
    priority as u16 + 1
}

/// Says how many cores take part, and how many vCPUs there will be at most.
pub fn init(cores: usize, vcpus: usize) {
    CORES.store(cores.min(MAX_CORES), Ordering::Relaxed);
    QUEUES.iter().for_each(|queue| queue.lock().reserve(vcpus));
}

/// The queue of a core.
pub fn queue(core: usize) -> &'static Mutex<RunQueue> {
    &QUEUES[core]
}

/// Notes what a core runs from now on.
pub fn set_running(core: usize, priority: Option<u8>) {
    RUNNING[core].store(priority.map_or(IDLE, rank), Ordering::SeqCst);
}

/// Puts a new vCPU into the queue of the core that has least to do of those it may run on.
pub fn add(vcpu: Box<Vcpu>) {
    let cores = 0..CORES.load(Ordering::Relaxed);
    let load = |core: usize| {
        let running = RUNNING[core].load(Ordering::SeqCst) != IDLE;
        QUEUES[core].lock().ready.len() + usize::from(running)
    };
    let core = cores.filter(|core| vcpu.affinity.contains(*core)).min_by_key(|core| load(*core));
    // The manifest was checked against the cores that there are.
    let core = core.unwrap_or(0);
    let priority = vcpu.priority;
    vcpu.link().set_core(core);
    QUEUES[core].lock().push(vcpu);
    preempt(core, priority);
}

/// Something has happened for a vCPU: ends its wait, or keeps it from its next one.
/// Returns whether it waited.
pub fn wake(vm: &Vm, index: u8) -> bool {
    let Some(link) = vm.links.get(usize::from(index)) else { return false };
    link.set_event();
    // The event is set before the core is read: if the vCPU moves meanwhile, it finds the event when it parks.
    let core = link.core();
    let woken = QUEUES[core].lock().wake(vm.id, index);
    let Some(priority) = woken else { return false };
    preempt(core, priority);
    true
}

/// Something has happened for all vCPUs of a VM.
pub fn wake_all(vm: &Vm) {
    for index in (0..).take(vm.links.len()) {
        wake(vm, index);
    }
}

/// Makes a core look at its queue if what has become ready there should run at once, or take turns with what runs;
/// or else an idle one.
fn preempt(core: usize, priority: u8) {
    let running = |core: usize| RUNNING[core].load(Ordering::SeqCst);
    if running(core) <= rank(priority) {
        gic::kick(core);
    }
    if running(core) < rank(priority) {
        return;
    }
    if let Some(idle) = (0..CORES.load(Ordering::Relaxed)).find(|core| running(*core) == IDLE) {
        gic::kick(idle);
    }
}

/// Takes a ready vCPU from another core.
pub fn steal(thief: usize) -> Option<Box<Vcpu>> {
    let others = (0..CORES.load(Ordering::Relaxed)).filter(|core| *core != thief);
    others.into_iter().find_map(|core| {
        let mut queue = QUEUES[core].lock();
        let vcpu = queue.steal(thief)?;
        vcpu.link().set_core(thief);
        Some(vcpu)
    })
}

/// Makes the other cores come to the hypervisor.
pub fn kick_all() {
    (0..CORES.load(Ordering::Relaxed)).for_each(gic::kick);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::frames::tests::frames,
        vm::tests::{vcpu, vm},
    };
    use alloc::{sync::Arc, vec::Vec};
    use proptest::prelude::*;

    /// A queue with one vCPU for each priority, each of a VM of its own.
    fn queue(priorities: &[u8]) -> RunQueue {
        let frames = frames(64);
        let mut queue = RunQueue::new();
        for (index, priority) in priorities.iter().enumerate() {
            queue.push(vcpu(Arc::new(vm(VmId(index), 0, frames)), *priority));
        }
        queue
    }

    /// Takes the next one out, and puts it back behind its equals. Returns the number of its VM.
    fn turn(queue: &mut RunQueue) -> usize {
        let vcpu = queue.pop().unwrap();
        let VmId(id) = vcpu.vm.id;
        queue.push(vcpu);
        id
    }

    #[test]
    fn equals_take_turns_and_the_lower_ones_wait() {
        let mut queue = queue(&[8, 9, 9, 1, 9]);
        assert_eq!(queue.ready_priority(), Some(9));
        let turns: Vec<usize> = (0..6).map(|_| turn(&mut queue)).collect();
        assert_eq!(turns, [1, 2, 4, 1, 2, 4]);
    }

    #[test]
    fn a_parked_vcpu_is_woken_by_its_deadline() {
        let mut queue = queue(&[8, 8, 8]);
        for deadline in [Some(1000), None, Some(500)] {
            let vcpu = queue.pop().unwrap();
            queue.park(vcpu, deadline);
        }
        assert!(queue.pop().is_none());
        assert_eq!(queue.deadline(), Some(500));
        queue.wake_due(499);
        assert!(queue.ready_priority().is_none());
        queue.wake_due(500);
        assert_eq!(queue.pop().unwrap().vm.id, VmId(2));
        assert_eq!(queue.deadline(), Some(1000));
        queue.wake_due(u64::MAX);
        assert_eq!(queue.pop().unwrap().vm.id, VmId(0));
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn a_parked_vcpu_is_woken_by_name() {
        let mut queue = queue(&[8, 9]);
        for _ in 0..2 {
            let vcpu = queue.pop().unwrap();
            queue.park(vcpu, None);
        }
        assert_eq!(queue.wake(VmId(7), 0), None);
        assert_eq!(queue.wake(VmId(0), 1), None);
        assert_eq!(queue.wake(VmId(1), 0), Some(9));
        assert_eq!(queue.wake(VmId(1), 0), None, "it is awake");
        assert_eq!(queue.pop().unwrap().vm.id, VmId(1));
    }

    #[test]
    fn what_happened_before_the_wait_ends_it_at_once() {
        let mut queue = queue(&[8]);
        let vcpu = queue.pop().unwrap();
        vcpu.link().set_event();
        queue.park(vcpu, None);
        let vcpu = queue.pop().expect("ready at once");
        queue.park(vcpu, None);
        assert!(queue.pop().is_none(), "and only once");
    }

    #[test]
    fn an_idle_core_takes_what_may_run_there() {
        let mut queue = queue(&[8, 9]);
        let mut high = queue.pop().unwrap();
        high.affinity = Affinity(0b101);
        queue.push(high);
        assert_eq!(queue.steal(1).unwrap().vm.id, VmId(0));
        assert!(queue.steal(1).is_none());
        assert_eq!(queue.steal(2).unwrap().vm.id, VmId(1));
        assert!(!Affinity::ANY.contains(8));
    }

    proptest! {
        /// Among equals nobody is passed over, whoever waits and wakes in between.
        #[test]
        fn nobody_starves(actions in prop::collection::vec((0_u8..3, 0_usize..6), 0..60)) {
            let mut queue = queue(&[8; 6]);
            for (action, id) in actions {
                match action {
                    0 => if let Some(vcpu) = queue.pop() { queue.park(vcpu, Some(0)) },
                    1 => { queue.wake(VmId(id), 0); }
                    _ => if queue.ready_priority().is_some() { turn(&mut queue); },
                }
            }
            queue.wake_due(0);
            let mut seen: Vec<usize> = (0..6).map(|_| turn(&mut queue)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..6).collect::<Vec<_>>());
            prop_assert_eq!(queue.deadline(), None);
        }
    }
}
