//! All VMs of the bundle: which are alive, how they ended, and when it is all over.

use super::{Builder, Vcpu, Vm, VmId, interrupts};
use crate::{arch::power, bundle::manifest::Manifest, scheduler, vm::BuildError};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use spin::{Mutex, Once};

/// The VMs, in the order of the manifest.
struct Fleet {
    members: Vec<Member>,
}

/// A VM's place in the fleet.
struct Member {
    /// The VM, while it runs.
    vm: Option<Arc<Vm>>,
    exit_code: u8,
}

static FLEET: Once<Mutex<Fleet>> = Once::new();

/// Builds all VMs of a manifest, or none, and makes them ready to run on this many cores.
pub fn start(
    manifest: &'static Manifest,
    mut builder: Builder<'static>,
    cores: usize,
) -> Result<(), BuildError> {
    let vms = manifest.vms.iter().enumerate();
    let vms = vms.map(|(index, config)| builder.build(VmId(index), config)).collect::<Result<Vec<_>, _>>()?;
    let member =
        |vcpus: &Vec<Box<Vcpu>>| Member { vm: vcpus.first().map(|vcpu| vcpu.vm.clone()), exit_code: 0 };
    FLEET.call_once(|| Mutex::new(Fleet { members: vms.iter().map(member).collect() }));
    scheduler::init(cores, vms.iter().map(Vec::len).sum());
    vms.into_iter().flatten().for_each(scheduler::add);
    Ok(())
}

/// A vCPU has stopped for good. With the last one its VM ends, and with the last VM the run.
pub(super) fn retire(vcpu: Box<Vcpu>) {
    let vm = vcpu.vm.clone();
    let code = vm.ending().unwrap_or(0);
    if !vm.count_out(&vcpu) {
        return;
    }
    vm.flush();
    log::info!("{}", vm.summary(code));
    drop(vcpu);
    if let Some(code) = forget(&vm, code) {
        power::end(code);
    }
    // What is typed from now on is for the next VM.
    receive();
}

/// Takes a VM out of the fleet. Returns the exit code of the run if it was the last.
fn forget(vm: &Vm, code: u8) -> Option<u8> {
    let mut fleet = FLEET.get()?.lock();
    let VmId(index) = vm.id;
    let member = fleet.members.get_mut(index)?;
    member.vm = None;
    member.exit_code = code;
    if fleet.members.iter().any(|member| member.vm.is_some()) {
        return None;
    }
    Some(fleet.members.iter().map(|member| member.exit_code).find(|code| *code != 0).unwrap_or(0))
}

/// Gives what the UART has received to the VM that has the focus: the first one that still runs.
pub(super) fn receive() {
    let Some(fleet) = FLEET.get() else { return };
    let focus = fleet.lock().members.iter().find_map(|member| member.vm.clone());
    let Some(vm) = focus else { return };
    if vm.console.receive() {
        interrupts::notify(&vm, vm.feed_uart());
        for index in (0..).take(vm.links.len()) {
            scheduler::wake(&vm, index);
        }
    }
}
