//! Who runs next on this core.
//!
//! The ready vCPU of the highest priority runs; those of the same priority take turns. A vCPU that waits
//! becomes ready again when input has come for its VM, or when its virtual timer is due.

use crate::vm::{Vcpu, Vm, VmId};
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
    last: usize,
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
        Self { slots: vcpus.into_iter().map(slot).collect(), last: 0, quantum }
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
        let mut candidates = self.ready().filter(|(_, slot)| slot.priority == priority).map(|(index, _)| index);
        let first = candidates.next().unwrap_or(0);
        let rest: usize = candidates.clone().count();
        let next = core::iter::once(first).chain(candidates).find(|index| *index > self.last).unwrap_or(first);
        let turn = (rest > 0).then(|| now.saturating_add(self.quantum));
        self.last = next;
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
        if self.last >= slot {
            self.last = self.last.wrapping_sub(1);
        }
        self.slots.remove(slot).vcpu
    }

    /// The VM that gets the console's input: the first one that still runs.
    #[must_use]
    pub fn focus(&self) -> Option<&Vm> {
        self.slots.first().map(|slot| &*slot.vcpu.vm)
    }

    /// The VMs that still run.
    pub fn vms(&self) -> impl Iterator<Item = VmId> {
        self.slots.iter().map(|slot| slot.vcpu.vm.id)
    }
}
