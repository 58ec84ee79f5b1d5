//! PSCI for guests: turning vCPUs and the VM on and off.

use super::{Vm, virt};
use crate::{
    hypercall::psci::{Action, Affinity, AffinityGroup, AffinityState, ReturnCode},
    scheduler,
};

/// What becomes of the calling vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on with this in `X0`.
    Return(i64),
    /// It waits as with `WFI`, and then goes on.
    Wait,
    /// It is off.
    Off,
    /// Its VM ends.
    End,
}

impl Vm {
    /// Carries out a PSCI call.
    pub fn psci(&self, action: Action) -> Outcome {
        match action {
            Action::Return(value) => Outcome::Return(value),
            Action::CpuOn { target, entry, context_id } => {
                Outcome::Return(self.cpu_on(target, entry, context_id).value())
            }
            Action::CpuOff => Outcome::Off,
            Action::Suspend => Outcome::Wait,
            Action::AffinityInfo(group) => Outcome::Return(self.affinity_info(group)),
            Action::SystemOff => {
                self.end(0);
                Outcome::End
            }
            Action::SystemReset => {
                self.reset();
                Outcome::End
            }
        }
    }

    fn cpu_on(&self, target: Affinity, entry: u64, context_id: u64) -> ReturnCode {
        const INSTRUCTION: u64 = 4;
        if !self.affinities().any(|affinity| affinity == target) {
            return ReturnCode::InvalidParameters;
        }
        if !entry.is_multiple_of(INSTRUCTION) || !self.memory.is_code(entry) {
            return ReturnCode::InvalidAddress;
        }
        let mut off = self.off.lock();
        let Some(place) = off.iter().position(|vcpu| Affinity::of_mpidr(vcpu.context.mpidr()) == target)
        else {
            return ReturnCode::AlreadyOn;
        };
        let mut vcpu = off.swap_remove(place);
        drop(off);
        vcpu.context.reset(virt::entry_registers(entry, context_id));
        scheduler::add(vcpu);
        ReturnCode::Success
    }

    /// The affinities of all vCPUs, which are their numbers.
    fn affinities(&self) -> impl Iterator<Item = Affinity> {
        (0..self.links.len()).filter_map(|index| Affinity::new(index as u64))
    }

    fn affinity_info(&self, group: AffinityGroup) -> i64 {
        let members = self.affinities().filter(|affinity| group.contains(*affinity)).count();
        if members == 0 {
            return ReturnCode::InvalidParameters.value();
        }
        let off = self.off.lock();
        let off = off.iter().filter(|vcpu| group.contains(Affinity::of_mpidr(vcpu.context.mpidr()))).count();
        if off == members { AffinityState::Off.value() } else { AffinityState::On.value() }
    }
}
