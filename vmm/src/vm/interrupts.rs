//! The interrupts of the vCPU that has the core: between its VM's virtual controller and the hardware's list
//! registers.
//!
//! While a vCPU is off its core, all is in the controller. While it is on, the list registers hold what it has
//! to see first; whatever changes that, on whichever core, makes this core [`update`](Interrupts::update)
//! them. A hypercall or another exit that has nothing to do with interrupts touches none of it.

use super::Vm;
use crate::{
    arch::{
        context::InterruptInterface,
        gic::{
            self,
            interface::{Interface, MAX_LIST_REGISTERS},
        },
        timer,
    },
    devices::vgic::{Fill, VcpuSet, Vgic},
    scheduler,
};
use spin::MutexGuard;
use tinyvmm_abi::virt::TIMER_INTID;

/// The interrupts of a vCPU that is loaded.
pub(super) struct Interrupts<'a> {
    vm: &'a Vm,
    vcpu: usize,
    hardware: Interface,
    /// List registers that there are.
    room: usize,
    /// Number of the physical interrupt of the virtual timer.
    timer: gic::IntId,
    /// What is in the list registers, and what found no room there.
    fill: Fill,
    /// Whether the timer's physical interrupt may be active on behalf of the vCPU.
    timer_active: bool,
}

impl<'a> Interrupts<'a> {
    /// The interrupts of a vCPU that is not loaded yet.
    pub(super) fn new(vm: &'a Vm, vcpu: u8, timer: gic::IntId) -> Self {
        let hardware = Interface::get();
        let (vcpu, room) = (usize::from(vcpu), hardware.list_registers());
        Self { vm, vcpu, hardware, room, timer, fill: Fill::default(), timer_active: false }
    }

    /// Gives the hardware to the vCPU.
    pub(super) fn load(&mut self, state: &InterruptInterface) {
        self.hardware.start(state);
        self.vm.links[self.vcpu].set_loaded(true);
        // Whoever changes something for a vCPU says so.
        if !self.vm.links[self.vcpu].take_stale() && state.quiet {
            return;
        }
        let vgic = self.vm.vgic.lock();
        if vgic.hardware_in_flight(self.vcpu, TIMER_INTID) {
            gic::set_active(self.timer, true);
            self.timer_active = true;
        }
        self.refresh(vgic, VcpuSet::EMPTY);
    }

    /// Takes the hardware away again.
    pub(super) fn unload(&mut self, state: &mut InterruptInterface) {
        state.quiet = self.fill == Fill::default() && !self.timer_active;
        if state.quiet {
            self.vm.links[self.vcpu].set_loaded(false);
            return self.hardware.save(state);
        }
        let mut vgic = self.vm.vgic.lock();
        let changed = self.drain(&mut vgic);
        self.vm.links[self.vcpu].set_loaded(false);
        if vgic.hardware_in_flight(self.vcpu, TIMER_INTID) {
            if !timer::guest_is_due() {
                let _ = vgic.withdraw_hardware(self.vcpu, TIMER_INTID);
                while vgic.take_released(self.vcpu).is_some() {}
            }
            // The physical interrupt belongs to this vCPU, and comes and goes with it.
            gic::set_active(self.timer, false);
        }
        drop(vgic);
        self.hardware.save(state);
        scheduler::notify(self.vm, self.others(changed));
    }

    /// Brings the list registers up to date.
    fn update(&mut self) {
        let vgic = self.vm.vgic.lock();
        self.refresh(vgic, VcpuSet::EMPTY);
    }

    /// Brings the list registers up to date, and makes the others look for whom something `changed`.
    #[inline(never)]
    fn refresh(&mut self, mut vgic: MutexGuard<'_, Vgic>, changed: VcpuSet) {
        self.vm.links[self.vcpu].take_stale();
        let changed = changed | self.take_back(&mut vgic);
        while let Some(physical) = vgic.take_released(self.vcpu) {
            deactivate(physical);
        }
        let before = core::mem::take(&mut self.fill);
        let mut registers = [0; MAX_LIST_REGISTERS];
        self.fill = vgic.fill(self.vcpu, &mut registers[..self.room]);
        drop(vgic);
        self.hardware.write_list_registers(&registers[..before.used.max(self.fill.used)]);
        if self.fill.more() || before.more() {
            self.hardware.request_maintenance(self.fill);
        }
        scheduler::notify(self.vm, self.others(changed));
    }

    /// Takes everything out of the list registers. Returns the vCPUs that must look.
    fn drain(&mut self, vgic: &mut Vgic) -> VcpuSet {
        let changed = self.take_back(vgic);
        let before = core::mem::take(&mut self.fill);
        self.hardware.write_list_registers(&[0; MAX_LIST_REGISTERS][..before.used]);
        if before.more() {
            self.hardware.request_maintenance(self.fill);
        }
        changed
    }

    /// Tells the controller what became of the interrupts in the list registers. Returns the vCPUs that must
    /// look.
    #[inline]
    fn take_back(&self, vgic: &mut Vgic) -> VcpuSet {
        if self.fill.used == 0 {
            return VcpuSet::EMPTY;
        }
        let mut registers = [0; MAX_LIST_REGISTERS];
        let registers = &mut registers[..self.fill.used];
        self.hardware.read_list_registers(registers);
        let mut changed = VcpuSet::EMPTY;
        if self.fill.active_left {
            changed |= vgic.end_unlisted(self.vcpu, self.hardware.ended_unlisted());
        }
        changed | vgic.sync(self.vcpu, registers)
    }

    fn others(&self, vcpus: VcpuSet) -> VcpuSet {
        vcpus.difference(VcpuSet::one(self.vcpu))
    }

    /// Brings the controller up to date before the guest reads it.
    pub(super) fn synchronise(&mut self) {
        if self.fill.used > 0 {
            self.update();
        }
    }

    /// Whether an interrupt is there that ends a `WFI`. If not, the list registers are free.
    pub(super) fn end_wait(&mut self, state: &mut InterruptInterface) -> bool {
        state.vmcr = self.hardware.controls();
        let mut vgic = self.vm.vgic.lock();
        let changed = self.drain(&mut vgic);
        if vgic.is_deliverable(self.vcpu, state.priority_mask()) {
            self.refresh(vgic, changed);
            return true;
        }
        drop(vgic);
        scheduler::notify(self.vm, self.others(changed));
        false
    }

    /// The vCPU's virtual timer has raised its physical interrupt, which stays active until the guest ends it.
    pub(super) fn timer_fired(&mut self) {
        let mut vgic = self.vm.vgic.lock();
        let changed = vgic.inject_hardware(self.vcpu, TIMER_INTID, self.timer);
        self.timer_active = true;
        self.settle(vgic, changed);
    }

    /// The vCPU sends an SGI through the system registers of a GICv3.
    pub(super) fn send_sgi(&mut self, value: u64, group1: bool) {
        let mut vgic = self.vm.vgic.lock();
        let changed = vgic.send_sgi(self.vcpu, value, group1);
        self.settle(vgic, changed);
    }

    /// Something has changed for these vCPUs of the VM, which may include this one.
    pub(super) fn changed(&mut self, vcpus: VcpuSet) {
        if !vcpus.is_empty() {
            self.settle(self.vm.vgic.lock(), vcpus);
        }
    }

    #[inline]
    fn settle(&mut self, vgic: MutexGuard<'_, Vgic>, changed: VcpuSet) {
        if changed.contains(self.vcpu) {
            return self.refresh(vgic, changed);
        }
        drop(vgic);
        scheduler::notify(self.vm, changed);
    }

    /// Looks again if another core says that something has changed.
    pub(super) fn look(&mut self) {
        if self.vm.links[self.vcpu].take_stale() {
            self.update();
        }
    }

    /// Looks again after a maintenance interrupt, which says no more than that there is something to do: room in the
    /// list registers for what had none, or an interrupt that the guest has ended and that is pending again. It has
    /// silenced the interface, which works again from here on.
    pub(super) fn maintain(&mut self) {
        self.update();
        self.hardware.request_maintenance(self.fill);
    }
}

#[cold]
fn deactivate(physical: gic::IntId) {
    gic::set_active(physical, false);
}
