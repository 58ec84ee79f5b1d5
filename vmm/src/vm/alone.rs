//! Stand-ins for the developer's machine: the fleet of a VM that is alone.

use super::{Refusal, State, Vm, VmId};
use crate::{
    monitor::{Action, Target},
    scheduler,
};
use alloc::{string::String, sync::Arc};
use tinyvmm_abi::vms::VmInfo;

/// Number of VMs in the manifest.
#[must_use]
pub fn count() -> u64 {
    1
}

/// Nobody.
#[must_use]
pub fn find(_target: Target<'_>) -> Option<VmId> {
    None
}

/// Nobody.
#[must_use]
pub fn peer(_id: VmId) -> Option<Arc<Vm>> {
    None
}

/// Nothing: there is nobody.
pub fn let_go(_vm: Arc<Vm>) {}

/// Nothing is known.
#[must_use]
pub fn info(_id: VmId) -> Option<VmInfo> {
    None
}

/// Nothing: there is no machine.
pub fn leave(_reboot: bool) {}

/// Refuses.
///
/// # Errors
/// Always.
pub fn spawn(_id: VmId, _args: Option<String>) -> Result<(), Refusal> {
    Err(Refusal(State::Running))
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn act(_id: VmId, _action: Action) -> Result<(), Refusal> {
    Err(Refusal(State::Stopped))
}

/// None.
///
/// # Errors
/// Always.
pub fn exit_code(_id: VmId, asker: &Vm) -> Result<u8, State> {
    asker.wait_for_others();
    Err(State::Running)
}

/// Nothing: there is nobody.
pub fn stir() {}

/// A message has come for a VM.
pub fn delivered(receiver: &Vm) {
    scheduler::wake_all(receiver);
}
