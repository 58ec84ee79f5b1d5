//! The controller and the model, driven by the same random events, show the same to the guest.

use super::{
    model::{Frame, Model},
    *,
};
use proptest::prelude::*;

/// What happens to the machine.
#[derive(Debug, Clone)]
enum Event {
    /// A vCPU writes a register of the distributor, or of a redistributor.
    Write {
        vcpu: usize,
        frame: Frame,
        offset: usize,
        width: Width,
        value: u64,
    },
    Line {
        vcpu: usize,
        intid: IntId,
        high: bool,
    },
    Pulse(IntId),
    Sgi {
        vcpu: usize,
        value: u64,
        group1: bool,
    },
    /// A physical interrupt becomes active, unless it is.
    Hardware {
        vcpu: usize,
        intid: IntId,
    },
    Withdraw {
        vcpu: usize,
        intid: IntId,
    },
    Acknowledge(usize),
    /// The guest ends one of those that are in list registers, or the running one.
    End {
        vcpu: usize,
        choice: usize,
    },
    /// A trapped write to `ICC_DIR_EL1`.
    Deactivate {
        vcpu: usize,
        intid: IntId,
    },
    /// An exit that asks for nothing.
    Refresh(usize),
}

const MAX: usize = 3;

/// Few interrupts, so that much happens to each of them.
fn interrupts(all: &'static [IntId]) -> impl Strategy<Value = IntId> {
    prop::sample::select(all)
}

const SPIS: &[IntId] = &[32, 33, 34, 47, 48, 63];
const LINES: &[IntId] = &[16, 30, 32, 33, 34, 47, 48, 63];
const LINKED: &[IntId] = &[27, 35, 62];
const ANY: &[IntId] = &[0, 1, 15, 16, 27, 30, 31, 32, 33, 34, 35, 47, 62, 63];

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![2 => Just(Frame::Distributor), 1 => Just(Frame::Redistributor)]
}

/// An offset where something is, or is not.
fn write() -> impl Strategy<Value = Event> {
    let bits =
        (1_usize..8, 0_usize..4).prop_map(|(register, word)| (register * 0x80 + word * 4, Width::Word));
    let bytes =
        prop_oneof![(interrupts(ANY), prop::sample::select(&[0x400, 0x800][..])), (0_u32..32, Just(0xf10)),]
            .prop_map(|(n, base)| (base + index(n), Width::Byte));
    let routes = interrupts(SPIS).prop_map(|intid| (0x6000 + 8 * index(intid), Width::Word));
    let other = prop::sample::select(&[0x000, 0x014, 0xc00, 0xc04, 0xc08, 0xc0c, 0xc14, 0xf00][..])
        .prop_map(|offset| (offset, Width::Word));
    let anywhere = (0_usize..0x4000).prop_map(|word| (word * 4, Width::Word));
    let at = prop_oneof![8 => bits, 3 => bytes, 2 => routes, 4 => other, 1 => anywhere];
    let value = prop_oneof![2 => any::<u64>(), 2 => Just(u64::MAX), 1 => 0_u64..8];
    (0..MAX, frame(), at, value).prop_map(|(vcpu, frame, (offset, width), value)| {
        let sgi_frame = frame == Frame::Redistributor && offset >= 0x80;
        Event::Write { vcpu, frame, offset: offset + if sgi_frame { 0x1_0000 } else { 0 }, width, value }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let sgi_value =
        (0_u64..16, 0_u64..3, prop::sample::select(&[0_u64, 0, 0, 1 << 40, 1 << 16, 1 << 44][..]))
            .prop_map(|(targets, intid, other)| targets | intid << 24 | other);
    prop_oneof![
        6 => write(),
        4 => (0..MAX, interrupts(LINES), any::<bool>())
            .prop_map(|(vcpu, intid, high)| Event::Line { vcpu, intid, high }),
        2 => interrupts(SPIS).prop_map(Event::Pulse),
        3 => (0..MAX, sgi_value, any::<bool>())
            .prop_map(|(vcpu, value, group1)| Event::Sgi { vcpu, value, group1 }),
        3 => (0..MAX, interrupts(LINKED)).prop_map(|(vcpu, intid)| Event::Hardware { vcpu, intid }),
        1 => (0..MAX, interrupts(LINKED)).prop_map(|(vcpu, intid)| Event::Withdraw { vcpu, intid }),
        8 => (0..MAX).prop_map(Event::Acknowledge),
        6 => (0..MAX, 0_usize..8).prop_map(|(vcpu, choice)| Event::End { vcpu, choice }),
        1 => (0..MAX, interrupts(ANY)).prop_map(|(vcpu, intid)| Event::Deactivate { vcpu, intid }),
        2 => (0..MAX).prop_map(Event::Refresh),
    ]
}

/// The machine and the model side by side.
struct Pair {
    machine: Machine,
    model: Model,
}

impl Pair {
    /// Everything enabled, so that events come through from the first on.
    fn new(version: Version, vcpus: usize, registers: usize) -> Self {
        let machine = Machine::new(version, vcpus, registers);
        let mut pair = Self { machine, model: Model::new(version, vcpus) };
        let mut write = |vcpu, frame, offset, value| pair.write(vcpu, frame, offset, Width::Word, value);
        write(0, Frame::Distributor, 0, 0b11);
        for vcpu in 0..vcpus {
            write(vcpu, Frame::Redistributor, 0x1_0100, u64::MAX);
            (0x100..0x108).step_by(4).for_each(|at| write(vcpu, Frame::Distributor, at, u64::MAX));
        }
        (0x820..0x840).step_by(4).for_each(|at| write(0, Frame::Distributor, at, 0x0402_0101));
        pair
    }

    fn write(&mut self, vcpu: usize, frame: Frame, offset: usize, width: Width, value: u64) {
        // An SPI that becomes active by register belongs to where it is routed, or else to the writer; but it
        // stays with the vCPU that, as far as is known, still has it. The model has no such delay.
        if frame == Frame::Distributor && (0x304..0x308).contains(&offset) {
            self.machine.kick(self.machine.vgic.all());
        }
        let at = offset as u64;
        let changed = match frame {
            Frame::Distributor => self.machine.vgic.distributor_write(vcpu, at, width, value),
            Frame::Redistributor => self.machine.vgic.redistributor_write(vcpu, at, width, value),
        };
        self.machine.kick(changed);
        self.model.write(vcpu, frame, offset, width, value);
    }

    fn happen(&mut self, event: Event) {
        let vcpus = self.machine.cpus.len();
        match event {
            Event::Write { vcpu, frame, offset, width, value } => {
                self.write(vcpu % vcpus, frame, offset, width, value);
            }
            Event::Line { vcpu, intid, high } => self.line(vcpu % vcpus, intid, high),
            Event::Pulse(intid) => {
                let changed = self.machine.vgic.pulse_spi(intid);
                self.machine.kick(changed);
                self.model.pulse(intid);
            }
            Event::Sgi { vcpu, value, group1 } => {
                let changed = self.machine.vgic.send_sgi(vcpu % vcpus, value, group1);
                self.machine.kick(changed);
                self.model.send_sgi(vcpu % vcpus, value, group1);
            }
            Event::Hardware { vcpu, intid } => self.hardware(vcpu % vcpus, intid),
            Event::Withdraw { vcpu, intid } => self.withdraw(vcpu % vcpus, intid),
            Event::Acknowledge(vcpu) => {
                if let Some((intid, sender)) = self.machine.acknowledge(vcpu % vcpus) {
                    self.model.acknowledge(vcpu % vcpus, intid, sender);
                }
            }
            Event::End { vcpu, choice } => self.end(vcpu % vcpus, choice),
            Event::Deactivate { vcpu, intid } => {
                let changed = self.machine.vgic.deactivate(vcpu % vcpus, intid);
                self.machine.kick(changed);
                self.model.deactivate(vcpu % vcpus, intid);
            }
            Event::Refresh(vcpu) => self.machine.kick(VcpuSet::one(vcpu % vcpus)),
        }
    }

    fn line(&mut self, vcpu: usize, intid: IntId, high: bool) {
        let changed = if intid < 32 {
            self.machine.vgic.set_ppi_level(vcpu, intid, high)
        } else {
            self.machine.vgic.set_spi_level(intid, high)
        };
        self.machine.kick(changed);
        self.model.set_line(vcpu, intid, high);
    }

    fn hardware(&mut self, vcpu: usize, intid: IntId) {
        let owner = if intid < 32 { vcpu } else { 0 };
        if !self.machine.physical.contains(&(owner, intid)) {
            self.machine.inject_hardware(vcpu, intid);
            self.model.inject_hardware(vcpu, intid);
        }
    }

    /// The hypervisor looks what the list registers say before it decides that the source is silent.
    fn withdraw(&mut self, vcpu: usize, intid: IntId) {
        self.machine.kick(self.machine.vgic.all());
        let changed = self.machine.vgic.withdraw_hardware(vcpu, intid);
        self.machine.kick(changed);
        self.model.withdraw_hardware(vcpu, intid);
    }

    fn end(&mut self, vcpu: usize, choice: usize) {
        let listed = self.machine.active(vcpu);
        let unlisted = self.machine.cpus[vcpu].fill.active_left;
        let unlisted = unlisted.then(|| self.model.running(vcpu, &listed)).flatten();
        let candidates: Vec<IntId> = listed.into_iter().chain(unlisted).collect();
        if let Some(intid) = candidates.get(choice % candidates.len().max(1)).copied() {
            self.machine.end(vcpu, intid);
            self.model.deactivate(vcpu, intid);
        }
    }

    /// What the guest's CPU interfaces show, and what the hypervisor relies on.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut synced = self.machine.clone();
        synced.sync_all();
        for vcpu in 0..self.machine.cpus.len() {
            let signalled = self.machine.signalled(vcpu).map(|register| register.priority);
            let next = self.model.next(vcpu);
            prop_assert_eq!(signalled, next, "next interrupt of vCPU {}", vcpu);
            prop_assert_eq!(synced.vgic.is_deliverable(vcpu, 0xff), next.is_some());
            for intid in LINKED.iter().copied() {
                let linked = self.model.is_linked(vcpu, intid);
                let owner = if intid < 32 { vcpu } else { 0 };
                prop_assert_eq!(synced.vgic.hardware_in_flight(vcpu, intid), linked);
                prop_assert_eq!(synced.physical.contains(&(owner, intid)), linked);
            }
        }
        Ok(())
    }

    /// What the guest reads from all registers once no list register is in use.
    fn check_registers(&self) -> Result<(), TestCaseError> {
        let mut synced = self.machine.clone();
        synced.sync_all();
        (0..synced.cpus.len()).try_for_each(|vcpu| self.check_registers_of(&synced, vcpu))
    }

    fn check_registers_of(&self, synced: &Machine, vcpu: usize) -> Result<(), TestCaseError> {
        let distributor = (0..0x1000).chain(0x6000..0x6400).chain(0xffe0..0xfff0);
        let redistributor = (0..0x20).chain(0xffe0..0xfff0).chain(0x1_0000..0x1_0f40);
        for at in distributor.step_by(4) {
            let read = synced.vgic.distributor_read(vcpu, at as u64, Width::Word);
            prop_assert_eq!(read, self.model.read(vcpu, Frame::Distributor, at), "distributor {:#x}", at);
        }
        for at in redistributor.step_by(4) {
            let read = synced.vgic.redistributor_read(vcpu, at as u64, Width::Word);
            prop_assert_eq!(read, self.model.read(vcpu, Frame::Redistributor, at), "redistributor {:#x}", at);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn controller_and_model_agree(
        version in prop::sample::select(&[Version::V2, Version::V3][..]),
        vcpus in 1_usize..=MAX,
        registers in 2_usize..6,
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut pair = Pair::new(version, vcpus, registers);
        for event in events {
            pair.happen(event);
            pair.check()?;
        }
        pair.check_registers()?;
    }

    /// Nothing that a guest writes does harm, at any offset and of any width.
    #[test]
    fn no_access_does_harm(
        version in prop::sample::select(&[Version::V2, Version::V3][..]),
        accesses in prop::collection::vec((0_usize..4, any::<bool>(), 0_u64..0x2_0000, 0_usize..4, any::<u64>()), 0..200),
    ) {
        let mut machine = Machine::new(version, MAX, 4);
        for (vcpu, redistributor, offset, width, value) in accesses {
            let width = [Width::Byte, Width::Halfword, Width::Word, Width::Doubleword][width];
            let changed = if redistributor {
                machine.vgic.redistributor_write(vcpu, offset, width, value)
            } else {
                machine.vgic.distributor_write(vcpu % MAX, offset, width, value)
            };
            prop_assert!(changed.difference(VcpuSet::first(MAX)).is_empty());
            machine.kick(changed);
            let read = machine.vgic.distributor_read(vcpu % MAX, offset, width);
            prop_assert_eq!(read, width.truncate(read));
            let read = machine.vgic.redistributor_read(vcpu, offset, width);
            prop_assert_eq!(read, width.truncate(read));
        }
    }
}
