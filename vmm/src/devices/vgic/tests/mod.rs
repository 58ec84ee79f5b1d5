//! Tests of the virtual interrupt controller: a machine of vCPUs around it, whose CPU interfaces do with the
//! list registers what hardware and a guest do.

mod life_cycle;
mod model;
mod properties;
mod registers;

use super::*;
use crate::devices::Width;
use alloc::{collections::BTreeSet, vec, vec::Vec};

/// A controller, its vCPUs' CPU interfaces, and the physical interrupts behind it.
#[derive(Debug, Clone)]
struct Machine {
    vgic: Vgic,
    cpus: Vec<Cpu>,
    /// Physical interrupts that are active, by vCPU (0 for SPIs) and number.
    physical: BTreeSet<(usize, IntId)>,
}

#[derive(Debug, Clone)]
struct Cpu {
    registers: Vec<ListRegister>,
    fill: Fill,
}

impl Machine {
    /// All is enabled but the interrupts themselves; of group 0.
    fn new(version: Version, vcpus: usize, registers: usize) -> Self {
        let cpu = Cpu { registers: vec![ListRegister::EMPTY; registers], fill: Fill::default() };
        Self { vgic: Vgic::new(version, vcpus), cpus: vec![cpu; vcpus], physical: BTreeSet::new() }
    }

    /// Lets all vCPUs look that must.
    fn kick(&mut self, mut set: VcpuSet) {
        while let Some(vcpu) = set.iter().next() {
            set = set.difference(VcpuSet::one(vcpu)) | self.refresh(vcpu);
        }
        self.release();
    }

    fn refresh(&mut self, vcpu: usize) -> VcpuSet {
        let others = self.sync(vcpu);
        let version = self.vgic.version();
        let Cpu { registers, fill } = &mut self.cpus[vcpu];
        let mut raw = vec![0; registers.len()];
        *fill = self.vgic.fill(vcpu, &mut raw);
        for (register, raw) in registers.iter_mut().zip(raw) {
            *register = ListRegister::decode(version, raw);
        }
        others
    }

    fn sync(&mut self, vcpu: usize) -> VcpuSet {
        let version = self.vgic.version();
        let registers = self.cpus[vcpu].registers.iter();
        let raw: Vec<_> = registers.map(|register| register.encode(version)).collect();
        self.vgic.sync(vcpu, &raw)
    }

    fn release(&mut self) {
        for vcpu in 0..self.cpus.len() {
            while let Some(physical) = self.vgic.take_released(vcpu) {
                self.deactivate_physical(vcpu, physical);
            }
        }
    }

    fn deactivate_physical(&mut self, vcpu: usize, physical: IntId) {
        let owner = if physical < 32 { vcpu } else { 0 };
        assert!(self.physical.remove(&(owner, physical)), "{physical} was not active");
    }

    /// Takes everything back from the list registers.
    fn sync_all(&mut self) {
        for vcpu in 0..self.cpus.len() {
            let _ = self.sync(vcpu);
            self.cpus[vcpu].registers.fill(ListRegister::EMPTY);
        }
        self.release();
    }

    fn inject_hardware(&mut self, vcpu: usize, intid: IntId) {
        assert!(self.physical.insert((if intid < 32 { vcpu } else { 0 }, intid)));
        let changed = self.vgic.inject_hardware(vcpu, intid, intid);
        self.kick(changed);
    }

    /// The list register that the CPU interface would signal.
    fn signalled(&self, vcpu: usize) -> Option<&ListRegister> {
        let ready = |register: &&ListRegister| register.state == State::Pending;
        self.cpus[vcpu].registers.iter().filter(ready).min_by_key(|register| register.priority)
    }

    /// The guest acknowledges the most urgent interrupt: its number, and the sender of an SGI.
    fn acknowledge(&mut self, vcpu: usize) -> Option<(IntId, u8)> {
        let chosen = *self.signalled(vcpu)?;
        let register = self.cpus[vcpu].registers.iter_mut().find(|register| **register == chosen)?;
        register.state = State::Active;
        if self.cpus[vcpu].fill.pending_left && self.signalled(vcpu).is_none() {
            self.kick(VcpuSet::one(vcpu));
        }
        let source = match chosen.origin {
            Origin::Software { source, .. } => source,
            Origin::Hardware(_) => 0,
        };
        Some((chosen.intid, source))
    }

    /// The interrupts that the guest can end, as the list registers have it.
    fn active(&self, vcpu: usize) -> Vec<IntId> {
        let registers = self.cpus[vcpu].registers.iter();
        registers.filter(|register| register.state.is_active()).map(|register| register.intid).collect()
    }

    /// The guest ends and deactivates an interrupt.
    fn end(&mut self, vcpu: usize, intid: IntId) {
        let mut active = self.cpus[vcpu].registers.iter_mut();
        let Some(register) = active.find(|register| register.state.is_active() && register.intid == intid)
        else {
            assert!(self.cpus[vcpu].fill.active_left, "{intid} is in no list register");
            let changed = self.vgic.end_unlisted(vcpu, 1);
            return self.kick(changed | VcpuSet::one(vcpu));
        };
        register.state = State::new(register.state.is_pending(), false);
        match register.origin {
            Origin::Software { eoi: true, .. } if register.state == State::Invalid => {
                self.kick(VcpuSet::one(vcpu));
            }
            Origin::Software { .. } => {}
            Origin::Hardware(physical) => {
                assert_eq!(register.state, State::Invalid, "hardware has no room for pending and active");
                self.deactivate_physical(vcpu, physical);
            }
        }
    }

    fn write(&mut self, vcpu: usize, offset: u64, value: u64) {
        let changed = self.vgic.distributor_write(vcpu, offset, Width::Word, value);
        self.kick(changed);
    }

    fn write_byte(&mut self, vcpu: usize, offset: u64, value: u8) {
        let changed = self.vgic.distributor_write(vcpu, offset, Width::Byte, u64::from(value));
        self.kick(changed);
    }

    fn read(&self, vcpu: usize, offset: u64) -> u64 {
        self.vgic.distributor_read(vcpu, offset, Width::Word)
    }

    /// Writes the redistributor's SGI frame of a GICv3, or else the banked registers of the distributor.
    fn write_private(&mut self, vcpu: usize, offset: u64, width: Width, value: u64) {
        let changed = match self.vgic.version() {
            Version::V3 => self.vgic.redistributor_write(vcpu, 0x1_0000 + offset, width, value),
            Version::V2 => self.vgic.distributor_write(vcpu, offset, width, value),
        };
        self.kick(changed);
    }

    fn read_private(&self, vcpu: usize, offset: u64) -> u64 {
        match self.vgic.version() {
            Version::V3 => self.vgic.redistributor_read(vcpu, 0x1_0000 + offset, Width::Word),
            Version::V2 => self.vgic.distributor_read(vcpu, offset, Width::Word),
        }
    }
}
