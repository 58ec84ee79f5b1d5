//! Who runs next on this core.
//!
//! The ready vCPU of the highest priority runs; those of the same priority take turns. A vCPU that waits
//! becomes ready again when input has come for its VM, or when its virtual timer is due.

use crate::vm::{Vcpu, Vm};
use alloc::{boxed::Box, vec::Vec};

/// What the core is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run the vCPU in this slot; interrupt it at this time, if ever.
    Run(usize, Option<u64>),
    /// Sleep until an interrupt, or until this time.
    Sleep(Option<u64>),
    /// Nothing is left to run.
    Stop,
}

/// The vCPUs of a core.
pub struct Scheduler {
    slots: Vec<Slot>,
    /// Where the latest turn was: the next one goes to who comes after.
    last: Option<usize>,
    /// Longest turn in ticks while others of the same priority are ready.
    quantum: u64,
}

struct Slot {
    vcpu: Box<Vcpu>,
    priority: u8,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Waiting { deadline: Option<u64> },
}

impl Slot {
    fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Ends the wait if what it is for has happened.
    fn wake(&mut self, now: u64) {
        if let State::Waiting { deadline } = self.state {
            let due = deadline.is_some_and(|deadline| deadline <= now);
            if self.vcpu.vm.console.take_event() || due {
                self.state = State::Ready;
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Waiting { deadline } => deadline,
            State::Ready => None,
        }
    }
}

impl Scheduler {
    /// A core with these vCPUs, each with its priority, in the order of the manifest. `quantum` is in ticks.
    #[must_use]
    pub fn new(vcpus: Vec<(Box<Vcpu>, u8)>, quantum: u64) -> Self {
        let slot = |(vcpu, priority)| Slot { vcpu, priority, state: State::Ready };
        Self { slots: vcpus.into_iter().map(slot).collect(), last: None, quantum }
    }

    /// Chooses what the core does from `now` on.
    pub fn decide(&mut self, now: u64) -> Decision {
        self.slots.iter_mut().for_each(|slot| slot.wake(now));
        if self.slots.is_empty() {
            return Decision::Stop;
        }
        let deadline = self.slots.iter().filter_map(Slot::deadline).min();
        let Some(priority) = self.ready().map(|(_, slot)| slot.priority).max() else {
            return Decision::Sleep(deadline);
        };
        let candidates =
            || self.ready().filter(|(_, slot)| slot.priority == priority).map(|(index, _)| index);
        let next = candidates().find(|index| Some(*index) > self.last).or_else(|| candidates().next());
        let Some(next) = next else { return Decision::Sleep(deadline) };
        let alone = candidates().count() == 1;
        let turn = (!alone).then(|| now.saturating_add(self.quantum));
        self.last = Some(next);
        Decision::Run(next, turn.into_iter().chain(deadline).min())
    }

    fn ready(&self) -> impl Iterator<Item = (usize, &Slot)> + Clone {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.is_ready())
    }

    /// The vCPU in a slot.
    pub fn vcpu(&mut self, slot: usize) -> &mut Vcpu {
        &mut self.slots[slot].vcpu
    }

    /// Lets the vCPU in a slot wait for input, or for its timer at `deadline`. Input that came since its last
    /// wait ends this one at once.
    pub fn wait(&mut self, slot: usize, deadline: Option<u64>) {
        self.slots[slot].state = State::Waiting { deadline };
    }

    /// Takes a vCPU out for good.
    pub fn remove(&mut self, slot: usize) -> Box<Vcpu> {
        // The turn stays between the same neighbours.
        if self.last >= Some(slot) {
            self.last = self.last.and_then(|last| last.checked_sub(1));
        }
        self.slots.remove(slot).vcpu
    }

    /// The VM that gets the console's input: the first one that still runs.
    #[must_use]
    pub fn focus(&self) -> Option<&Vm> {
        self.slots.first().map(|slot| &*slot.vcpu.vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arch::context::VcpuContext,
        memory::{frames::tests::frames, stage2::Stage2},
        vm::{VmId, tests::vm_with_memory},
    };
    use alloc::sync::Arc;
    use proptest::prelude::*;

    const QUANTUM: u64 = 100;

    /// A core with one vCPU for each priority.
    fn scheduler(priorities: &[u8]) -> Scheduler {
        let frames = frames(64);
        let vcpu = |(index, priority): (usize, &u8)| {
            let stage2 = Stage2::new(frames).unwrap();
            let vm = Arc::new(vm_with_memory(VmId(index), "vm", stage2, 0, frames));
            (
                Box::new(Vcpu { vm, index: 0, context: VcpuContext::default(), exits: 0, first_run: None }),
                *priority,
            )
        };
        Scheduler::new(priorities.iter().enumerate().map(vcpu).collect(), QUANTUM)
    }

    fn run(scheduler: &mut Scheduler, now: u64) -> usize {
        match scheduler.decide(now) {
            Decision::Run(slot, _) => slot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equals_take_turns_and_the_lower_ones_wait() {
        let mut scheduler = scheduler(&[8, 9, 9, 1, 9]);
        let turns: Vec<usize> = (0..6).map(|_| run(&mut scheduler, 0)).collect();
        assert_eq!(turns, [1, 2, 4, 1, 2, 4]);
    }

    #[test]
    fn one_that_runs_alone_is_not_interrupted() {
        let mut scheduler = scheduler(&[8, 7]);
        assert_eq!(scheduler.decide(5), Decision::Run(0, None));
        scheduler.wait(1, Some(1000));
        assert_eq!(scheduler.decide(5), Decision::Run(0, Some(1000)), "but for another's timer");
    }

    #[test]
    fn a_turn_among_equals_is_limited() {
        let mut scheduler = scheduler(&[8, 8]);
        assert_eq!(scheduler.decide(5), Decision::Run(0, Some(5 + QUANTUM)));
        assert_eq!(
            scheduler.decide(u64::MAX),
            Decision::Run(1, Some(u64::MAX)),
            "the clock does not overflow"
        );
    }

    #[test]
    fn waiting_ends_with_the_deadline() {
        let mut scheduler = scheduler(&[8, 8]);
        scheduler.wait(0, Some(1000));
        scheduler.wait(1, None);
        assert_eq!(scheduler.decide(999), Decision::Sleep(Some(1000)));
        assert_eq!(scheduler.decide(1000), Decision::Run(0, None));
        scheduler.wait(0, None);
        assert_eq!(scheduler.decide(2000), Decision::Sleep(None));
    }

    #[test]
    fn a_core_without_vcpus_stops() {
        let mut scheduler = scheduler(&[8, 8]);
        assert_eq!(scheduler.focus().map(|vm| vm.id), Some(VmId(0)));
        assert_eq!(scheduler.remove(0).vm.id, VmId(0));
        assert_eq!(scheduler.focus().map(|vm| vm.id), Some(VmId(1)));
        assert_eq!(run(&mut scheduler, 0), 0);
        scheduler.remove(0);
        assert_eq!(scheduler.decide(0), Decision::Stop);
        assert!(scheduler.focus().is_none());
    }

    proptest! {
        /// Among equals nobody is passed over, whoever comes and goes.
        #[test]
        fn nobody_starves(actions in prop::collection::vec((0_u8..4, 0_usize..6), 0..60)) {
            let mut scheduler = scheduler(&[8; 6]);
            for (action, slot) in actions {
                if slot >= scheduler.slots.len() { continue }
                match action {
                    0 => scheduler.wait(slot, Some(0)),
                    1 if scheduler.slots.len() > 1 => drop(scheduler.remove(slot)),
                    _ => { run(&mut scheduler, 0); }
                }
            }
            let count = scheduler.slots.len();
            let mut seen: Vec<usize> = (0..count).map(|_| run(&mut scheduler, 0)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
