//! All VMs of a bundle, from when they are built to when they run; and how the VMs of one bundle follow those of another.
//!
//! The new VMs are built, all or none, before anything happens to the old ones, which then are ended. With the last of
//! them their bundle's memory goes back, and the new ones take their places.

use super::{BUILDER, FLEET, Fleet, Follower, Free, Member, end_all, launch};
use crate::{
    arch::timer,
    bundle::{Bundle, manifest::Manifest},
    console::{self, Style},
    disks, logger,
    memory::heap::FRAMES,
    network::{
        Plan,
        uplink::{self, Uplink},
    },
    scheduler,
    vm::{BuildError, Builder, Deployment, Fabric, Focus, Vcpu, VmId},
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use spin::Mutex;

/// VMs that are built.
pub(super) struct Generation {
    /// Dropped before the deployment.
    pub(super) vms: Vms,
    pub(super) deployment: Deployment,
}

/// What refers to a deployment.
pub(super) struct Vms {
    pub(super) members: Vec<Member>,
    pub(super) builder: Builder<'static>,
    pub(super) fabric: Fabric,
    pub(super) vcpus: Vec<Box<Vcpu>>,
    pub(super) focus: Focus,
}

impl Generation {
    /// Builds all VMs of a bundle, or none; then the bundle is gone, too.
    pub(super) fn build(deployment: Deployment) -> Result<Self, BuildError> {
        // SAFETY: if not all can be built, none is left when this returns. Else they are in `vms`, and leave it for the
        // fleet, which drops them before the deployment when their time is over (`tend`).
        let (bundle, manifest) = unsafe { deployment.parts() };
        Ok(Self { vms: Vms::build(bundle, manifest)?, deployment })
    }
}

impl Vms {
    fn build(bundle: &'static Bundle<'static>, manifest: &'static Manifest) -> Result<Self, BuildError> {
        // What lasts as long as the run comes first, so that the memory that is free then is free again at the end.
        let mut members: Vec<Member> = manifest.vms.iter().map(Member::new).collect();
        let vcpus = manifest.vms.iter().filter_map(|config| usize::try_from(config.vcpus).ok());
        scheduler::reserve(vcpus.sum());
        let network = Plan::new(manifest, || uplink::open().map(Uplink::mac));
        let fabric = Fabric::new(network.switch(manifest, timer::frequency()), manifest.vms.len());
        let mut builder = Builder::new(bundle, &FRAMES).with_network(network).with_disks(disks::assign(
            manifest,
            disks::open,
            |name| bundle.file(name),
        ));
        log::debug!("memory before the first VM: {}", Free::now());
        let vcpus = build_all(&mut members, &mut builder)?;
        let mut focus = Focus::default();
        if members.first().is_some_and(|first| first.lifecycle.is_over()) {
            focus.advance(members.len(), |index| !members[index].lifecycle.is_over());
        }
        Ok(Self { members, builder, fabric, vcpus, focus })
    }
}

/// Builds the VMs that start by themselves, without those that nothing but their own manifest keeps from it.
fn build_all(members: &mut [Member], builder: &mut Builder<'static>) -> Result<Vec<Box<Vcpu>>, BuildError> {
    let mut all = Vec::new();
    for (index, member) in members.iter_mut().enumerate().filter(|(_, member)| member.config.autostart) {
        match builder.build(VmId(index), member.config, &member.config.args) {
            Ok(vcpus) => {
                member.vm = vcpus.first().map(|vcpu| vcpu.vm.clone());
                all.extend(vcpus);
            }
            Err(error) if error.is_of_one_vm() => {
                log::error!("{error}");
                member.lifecycle.fail();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// How the console tells the VMs of a deployment apart.
pub(super) fn choose_style(deployment: &Deployment) {
    console::set_style(if deployment.manifest().vms.len() > 1 { Style::Prefixed } else { Style::Bare });
}

/// Why a bundle cannot take the place of another.
#[derive(Debug)]
pub enum ReplaceError {
    /// Its VMs cannot be built.
    Build(BuildError),
    /// There is not enough memory for its VMs and the others.
    NoRoom {
        /// What it takes, in bytes.
        wanted: u64,
        /// What is free.
        free: u64,
    },
    /// One is about to, already.
    Busy,
    /// There is nothing to take the place of.
    NoFleet,
}

impl fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::NoRoom { wanted, free } => write!(
                f,
                "not enough free memory for the new VMs beside the old ones: {} KiB wanted, {} KiB free",
                wanted >> 10,
                free >> 10
            ),
            Self::Busy => f.write_str("the VMs of another bundle are about to start"),
            Self::NoFleet => f.write_str("no VM has started yet"),
        }
    }
}

/// Builds the VMs of another bundle, and ends those that run. When they have ended, the others start.
///
/// # Errors
/// Why that cannot be done. Then nothing has changed.
pub fn replace(deployment: Deployment) -> Result<(), ReplaceError> {
    let fleet = FLEET.get().ok_or(ReplaceError::NoFleet)?;
    if fleet.lock().next.is_some() {
        return Err(ReplaceError::Busy);
    }
    // The heap can do nothing but fail when it gets no more memory: no VM's RAM may be the last that there was.
    let (wanted, free) = (deployment.memory_wanted(), FRAMES.free() as u64);
    if wanted > free {
        return Err(ReplaceError::NoRoom { wanted, free });
    }
    let next = Generation::build(deployment).map_err(ReplaceError::Build)?;
    end_all(fleet, Follower::Vms(Box::new(next)));
    Ok(())
}

/// Lets the next VMs take their places, if there are any and the others have ended.
pub(super) fn tend(fleet: &Mutex<Fleet>) {
    let Some((old, members, vcpus)) = fleet.lock().exchange() else { return };
    // In this order. The VMs have ended, their builder is gone, and only the housekeeping core, which is here, takes
    // references to the manifest out of members.
    drop(members);
    drop(old);
    log::debug!("memory with other VMs: {}", Free::now());
    launch(fleet, vcpus);
}

impl Fleet {
    /// Puts the next VMs into the places of those that have ended. Returns what is left of these, and the vCPUs to start.
    fn exchange(&mut self) -> Option<(Deployment, Vec<Member>, Vec<Box<Vcpu>>)> {
        let due = self.is_exchange_due();
        let next = self.next.take_if(|next| due && matches!(next, Follower::Vms(_)))?;
        let Follower::Vms(next) = next else { return None };
        let Generation { deployment, vms } = *next;
        let Vms { members, builder, fabric, vcpus, focus } = vms;
        fabric.install();
        *BUILDER.get()?.lock() = builder;
        self.focus = focus;
        self.fresh = false;
        choose_style(&deployment);
        // If the sender has the line still, it says only that it is done.
        console::mute_guests(false);
        logger::follow(deployment.manifest().loglevel);
        let names: Vec<&str> = members.iter().map(|member| member.config.name.as_str()).collect();
        log::info!("another bundle runs: {}", names.join(", "));
        let members = core::mem::replace(&mut self.members, members);
        Some((core::mem::replace(&mut self.deployment, deployment), members, vcpus))
    }
}
