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
        cpu,
        gic::{self, interface},
        timer,
    },
    devices::vgic::{Fill, ListRegister, VcpuSet},
    scheduler,
};
use tinyvmm_abi::virt::TIMER_INTID;

/// The interrupts of a vCPU that is loaded.
pub(super) struct Interrupts<'a> {
    vm: &'a Vm,
    vcpu: usize,
    /// Number of the physical interrupt of the virtual timer.
    timer: gic::IntId,
    /// List registers in use, from the first on.
    used: usize,
    /// What found no room in them.
    fill: Fill,
}

impl<'a> Interrupts<'a> {
    /// Gives the hardware to a vCPU.
    pub(super) fn load(vm: &'a Vm, vcpu: u8, timer: gic::IntId, state: &InterruptInterface) -> Self {
        interface::start(state);
        let vcpu = usize::from(vcpu);
        vm.links[vcpu].set_loaded(true);
        if vm.vgic.lock().hardware_in_flight(vcpu, TIMER_INTID) {
            gic::set_active(timer, true);
        }
        let mut interrupts = Self { vm, vcpu, timer, used: 0, fill: Fill::default() };
        interrupts.update();
        interrupts
    }

    /// Takes the hardware away again.
    pub(super) fn unload(mut self, state: &mut InterruptInterface) {
        self.take_back();
        self.vm.links[self.vcpu].set_loaded(false);
        let mut vgic = self.vm.vgic.lock();
        if vgic.hardware_in_flight(self.vcpu, TIMER_INTID) {
            if !timer::guest_is_due() {
                let _ = vgic.withdraw_hardware(self.vcpu, TIMER_INTID);
                while vgic.take_released(self.vcpu).is_some() {}
            }
            // The physical interrupt belongs to this vCPU, and comes and goes with it.
            gic::set_active(self.timer, false);
        }
        drop(vgic);
        interface::write_list_registers(&[ListRegister::EMPTY; interface::MAX_LIST_REGISTERS][..self.used]);
        interface::save(state);
    }

    /// Brings the list registers up to date.
    pub(super) fn update(&mut self) {
        self.vm.links[self.vcpu].take_stale();
        self.take_back();
        let mut registers = [ListRegister::EMPTY; interface::MAX_LIST_REGISTERS];
        let room = interface::list_registers();
        let mut vgic = self.vm.vgic.lock();
        while let Some(physical) = vgic.take_released(self.vcpu) {
            gic::set_active(physical, false);
        }
        let fill = vgic.fill(self.vcpu, &mut registers[..room]);
        drop(vgic);
        interface::write_list_registers(&registers[..self.used.max(fill.used)]);
        if fill.more() || self.fill.more() {
            interface::request_maintenance(fill);
        }
        self.used = fill.used;
        self.fill = fill;
    }

    /// Tells the controller what became of the interrupts in the list registers.
    fn take_back(&mut self) {
        if self.used == 0 {
            return;
        }
        let mut registers = [ListRegister::EMPTY; interface::MAX_LIST_REGISTERS];
        let registers = &mut registers[..self.used];
        interface::read_list_registers(registers);
        let ended = if self.fill.active_left { interface::ended_unlisted() } else { 0 };
        let mut vgic = self.vm.vgic.lock();
        let mut changed = vgic.end_unlisted(self.vcpu, ended);
        changed |= vgic.sync(self.vcpu, registers);
        drop(vgic);
        notify(self.vm, changed.difference(VcpuSet::one(self.vcpu)));
    }

    /// Brings the controller up to date before the guest reads it.
    pub(super) fn synchronise(&mut self) {
        if self.used > 0 {
            self.update();
        }
    }

    /// Whether an interrupt is there that ends a `WFI`.
    pub(super) fn is_pending(&mut self, state: &mut InterruptInterface) -> bool {
        if self.used > 0 {
            return true;
        }
        interface::peek(state);
        self.vm.vgic.lock().is_deliverable(self.vcpu, state.priority_mask())
    }

    /// The vCPU's virtual timer has raised its physical interrupt, which stays active until the guest ends it.
    pub(super) fn timer_fired(&mut self) {
        let changed = self.vm.vgic.lock().inject_hardware(self.vcpu, TIMER_INTID, self.timer);
        self.changed(changed);
    }

    /// Something has changed for these vCPUs of the VM, which may include this one.
    pub(super) fn changed(&mut self, vcpus: VcpuSet) {
        if vcpus.contains(self.vcpu) {
            self.update();
        }
        notify(self.vm, vcpus.difference(VcpuSet::one(self.vcpu)));
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
        interface::request_maintenance(self.fill);
    }
}

/// Makes vCPUs look at their interrupts: wakes those that wait, interrupts those that run elsewhere. One that is
/// ready is left alone, and with it whoever has its core: it looks when its turn comes.
pub(super) fn notify(vm: &Vm, vcpus: VcpuSet) {
    for vcpu in vcpus.iter() {
        let (Some(link), Ok(index)) = (vm.links.get(vcpu), u8::try_from(vcpu)) else { continue };
        link.set_stale();
        if !scheduler::wake(vm, index) && link.is_loaded() && link.core() != cpu::core_index() {
            gic::kick(link.core());
        }
    }
}
