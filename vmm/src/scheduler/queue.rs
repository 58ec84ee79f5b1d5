//! The vCPUs of one core that do not run: those that are ready, and those that wait.

use crate::{
    arch::timer,
    vm::{Vcpu, VmId},
};
use alloc::{boxed::Box, collections::vec_deque::VecDeque, vec::Vec};
use core::cmp::Ordering;

/// What runs, or is to run: nothing, or something of a priority. Nothing is less than any priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub(super) u16);

impl Rank {
    /// Nothing.
    pub const IDLE: Self = Self(0);

    /// Something of this priority.
    #[must_use]
    pub const fn of(priority: u8) -> Self {
        Self(priority as u16 + 1)
    }
}

/// The ready vCPUs of a core in short: the rank of the first, how many have that rank, and how many there are. In one
/// word, so that other cores can look without the queue's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Line(pub(super) u64);

impl Line {
    /// Nobody is ready.
    pub const EMPTY: Self = Self(0);

    #[inline]
    pub(super) fn new(first: Rank, equals: usize, all: usize) -> Self {
        Self((all as u64) << 40 | (equals as u64) << 16 | u64::from(first.0))
    }

    /// The rank of the first.
    #[must_use]
    #[inline]
    pub fn rank(self) -> Rank {
        let [low, high, ..] = self.0.to_le_bytes();
        Rank(u16::from_le_bytes([low, high]))
    }

    /// What is left without the first, if an equal follows it.
    #[inline]
    fn without_first(self) -> Option<Self> {
        (self.equals() > 1).then(|| Self(self.0 - (1 << 40 | 1 << 16)))
    }

    const fn equals(self) -> u64 {
        self.0 >> 16 & 0xff_ffff
    }

    /// How many go before, or take turns with, one more of this rank; at most, if the first has more than that.
    #[must_use]
    pub fn before(self, rank: Rank) -> u64 {
        match self.rank().cmp(&rank) {
            Ordering::Less => 0,
            Ordering::Equal => self.equals(),
            Ordering::Greater => self.0 >> 40,
        }
    }
}

/// The vCPUs of a core, but for the one that it runs.
#[derive(Default)]
pub struct RunQueue {
    /// Of the highest priority first; equals in the order of their turns.
    ready: VecDeque<Box<Vcpu>>,
    /// What other cores have to know of those that are ready.
    line: Line,
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
        Self { ready: VecDeque::new(), line: Line::EMPTY, parked: Vec::new(), deadline: None }
    }

    /// Makes room for this many vCPUs, so that none of the other calls allocates.
    pub fn reserve(&mut self, vcpus: usize) {
        self.ready.reserve(vcpus.saturating_sub(self.ready.len()));
        self.parked.reserve(vcpus.saturating_sub(self.parked.len()));
    }

    /// Adds a vCPU that can run, behind its equals.
    pub fn push(&mut self, vcpu: Box<Vcpu>) {
        let rank = Rank::of(vcpu.priority);
        let count = self.ready.len();
        if count == 0 || self.line == Line::new(rank, count, count) {
            self.line = Line::new(rank, count + 1, count + 1);
            return self.ready.push_back(vcpu);
        }
        let place = self.ready.partition_point(|other| other.priority >= vcpu.priority);
        self.ready.insert(place, vcpu);
        self.update_line();
    }

    /// Adds a vCPU whose turn goes on, before its equals.
    pub fn push_first(&mut self, vcpu: Box<Vcpu>) {
        let place = self.ready.partition_point(|other| other.priority > vcpu.priority);
        self.ready.insert(place, vcpu);
        self.update_line();
    }

    #[inline(never)]
    fn update_line(&mut self) {
        self.line = self.ready.front().map_or(Line::EMPTY, |first| {
            let equals = self.ready.partition_point(|other| other.priority >= first.priority);
            Line::new(Rank::of(first.priority), equals, self.ready.len())
        });
    }

    /// Takes the vCPU whose turn it is.
    pub fn pop(&mut self) -> Option<Box<Vcpu>> {
        let first = self.ready.pop_front()?;
        match self.line.without_first() {
            Some(line) => self.line = line,
            None => self.update_line(),
        }
        Some(first)
    }

    /// Takes the first ready vCPU of more than this rank that may run on `core`, for a core that has nothing as
    /// urgent to do.
    pub fn steal(&mut self, core: usize, above: Rank) -> Option<Box<Vcpu>> {
        let mut urgent = self.ready.iter().take_while(|vcpu| Rank::of(vcpu.priority) > above);
        let place = urgent.position(|vcpu| vcpu.affinity.contains(core))?;
        let vcpu = self.ready.remove(place);
        self.update_line();
        vcpu
    }

    /// The vCPU whose turn it is.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<&Vcpu> {
        self.ready.front().map(|vcpu| &**vcpu)
    }

    /// What other cores have to know of those that are ready.
    #[must_use]
    pub const fn line(&self) -> Line {
        self.line
    }

    /// Sets a vCPU aside until something happens for it, or until `deadline`. What has happened since its
    /// last wait ended ends this one at once.
    pub fn park(&mut self, vcpu: Box<Vcpu>, deadline: Option<u64>) {
        if vcpu.link().take_event() {
            // It has been ready all the time, since its turn ended.
            return self.push(vcpu);
        }
        self.deadline = earlier(self.deadline, deadline);
        self.parked.push(Parked { vcpu, deadline });
    }

    /// Makes ready what is due.
    #[inline]
    pub fn wake_due(&mut self, now: u64) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            while let Some(place) = self.parked.iter().position(|p| p.deadline.is_some_and(|at| at <= now)) {
                let vcpu = self.unpark(place, now);
                self.push(vcpu);
            }
        }
    }

    /// Takes a vCPU out if it is parked here: its wait is over.
    pub fn wake(&mut self, vm: VmId, index: u8) -> Option<Box<Vcpu>> {
        let place = self.parked.iter().position(|p| p.vcpu.vm.id == vm && p.vcpu.index == index)?;
        let vcpu = self.unpark(place, timer::now());
        // The wait that this event would end is over.
        let _ = vcpu.link().take_event();
        Some(vcpu)
    }

    /// When the next parked vCPU is due.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    fn unpark(&mut self, place: usize, now: u64) -> Box<Vcpu> {
        let Parked { mut vcpu, deadline } = self.parked.swap_remove(place);
        vcpu.ready_since = now;
        if deadline == self.deadline {
            self.deadline = self.parked.iter().filter_map(|parked| parked.deadline).min();
        }
        vcpu
    }
}

/// The earlier of two deadlines, either of which may be never.
#[must_use]
pub fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
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
        assert_eq!(queue.first().map(|vcpu| vcpu.priority), Some(9));
        let turns: Vec<usize> = (0..6).map(|_| turn(&mut queue)).collect();
        assert_eq!(turns, [1, 2, 4, 1, 2, 4]);
    }

    #[test]
    fn a_turn_that_was_broken_off_goes_on_before_its_equals() {
        let mut queue = queue(&[8, 8, 9]);
        let (high, low) = (queue.pop().unwrap(), queue.pop().unwrap());
        queue.push_first(low);
        queue.push_first(high);
        let turns: Vec<usize> = (0..3).map(|_| queue.pop().unwrap().vm.id.0).collect();
        assert_eq!(turns, [2, 0, 1]);
    }

    #[test]
    fn the_line_tells_its_first_and_its_length() {
        let mut queue = queue(&[8, 9, 8, 9, 3]);
        let line = queue.line();
        assert_eq!((line.rank(), line.before(Rank::of(9))), (Rank::of(9), 2));
        assert_eq!((line.before(Rank::of(10)), line.before(Rank::of(8))), (0, 5));
        while queue.pop().is_some() {}
        assert_eq!((queue.line(), queue.line().before(Rank::of(0))), (Line::EMPTY, 0));
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
        assert!(queue.first().is_none());
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
        assert!(queue.wake(VmId(7), 0).is_none());
        assert!(queue.wake(VmId(0), 1).is_none());
        assert_eq!(queue.wake(VmId(1), 0).unwrap().vm.id, VmId(1));
        assert!(queue.wake(VmId(1), 0).is_none(), "it is awake");
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
        assert!(queue.steal(1, Rank::of(8)).is_none(), "the one that is more urgent may not run there");
        assert!(queue.steal(2, Rank::of(9)).is_none(), "nothing is more urgent than that");
        assert_eq!(queue.steal(1, Rank::IDLE).unwrap().vm.id, VmId(0));
        assert!(queue.steal(1, Rank::IDLE).is_none());
        assert_eq!(queue.steal(2, Rank::of(8)).unwrap().vm.id, VmId(1));
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
                    1 => if let Some(vcpu) = queue.wake(VmId(id), 0) { queue.push(vcpu) },
                    _ => if queue.first().is_some() { turn(&mut queue); },
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
