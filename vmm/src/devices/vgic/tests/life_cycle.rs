//! Interrupts from their source to the guest's deactivation.

use super::*;

const CTLR: u64 = 0x000;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const ISPENDR: u64 = 0x200;
const ICPENDR: u64 = 0x280;
const ISACTIVER: u64 = 0x300;
const ICACTIVER: u64 = 0x380;
const IPRIORITYR: u64 = 0x400;
const ITARGETSR: u64 = 0x800;
const ICFGR: u64 = 0xc00;
const SGIR: u64 = 0xf00;
const CPENDSGIR: u64 = 0xf10;
const IROUTER: u64 = 0x6000;
const TIMER: IntId = 27;

/// Two vCPUs with four list registers, as a Cortex-A72 has; all interrupts are enabled, of the same
/// priority and group 1, and SPIs go to vCPU 0.
fn machine(version: Version) -> Machine {
    let mut machine = Machine::new(version, 2, 4);
    machine.write(0, CTLR, 0b11);
    for vcpu in 0..2 {
        machine.write_private(vcpu, 0x080, Width::Word, 0xffff_ffff);
        machine.write_private(vcpu, ISENABLER, Width::Word, 0xffff_ffff);
    }
    for word in [4, 8] {
        machine.write(0, 0x080 + word, 0xffff_ffff);
        machine.write(0, ISENABLER + word, 0xffff_ffff);
    }
    (32..64).for_each(|intid| route(&mut machine, intid, 0));
    machine
}

/// Routes an SPI to a vCPU.
fn route(machine: &mut Machine, intid: u64, vcpu: u64) {
    match machine.vgic.version() {
        Version::V2 => machine.write_byte(0, ITARGETSR + intid, 1 << vcpu),
        Version::V3 => machine.write(0, IROUTER + 8 * intid, vcpu),
    }
}

fn edge(machine: &mut Machine) {
    machine.write(0, ICFGR + 8, 0xaaaa_aaaa);
}

fn line(machine: &mut Machine, intid: IntId, high: bool) {
    let changed = machine.vgic.set_spi_level(intid, high);
    machine.kick(changed);
}

fn pulse(machine: &mut Machine, intid: IntId) {
    let changed = machine.vgic.pulse_spi(intid);
    machine.kick(changed);
}

fn take(machine: &mut Machine, vcpu: usize) -> Option<IntId> {
    machine.acknowledge(vcpu).map(|(intid, _)| intid)
}

fn for_both(test: impl Fn(Machine)) {
    test(machine(Version::V2));
    test(machine(Version::V3));
}

#[test]
fn an_edge_is_taken_once() {
    for_both(|mut machine| {
        edge(&mut machine);
        line(&mut machine, 40, true);
        assert!(machine.vgic.is_deliverable(0, 0xff) && !machine.vgic.is_deliverable(1, 0xff));
        assert_eq!(take(&mut machine, 0), Some(40));
        machine.end(0, 40);
        machine.kick(VcpuSet::one(0));
        assert_eq!(take(&mut machine, 0), None, "though the line is still high");
        line(&mut machine, 40, false);
        line(&mut machine, 40, true);
        assert_eq!(take(&mut machine, 0), Some(40));
    });
}

#[test]
fn an_edge_while_active_is_taken_afterwards() {
    for_both(|mut machine| {
        pulse(&mut machine, 40);
        assert_eq!(take(&mut machine, 0), Some(40));
        pulse(&mut machine, 40);
        pulse(&mut machine, 40);
        assert_eq!(machine.cpus[0].registers[0].state, State::PendingAndActive);
        assert!(!machine.vgic.is_deliverable(0, 0xff), "not before it is deactivated");
        machine.end(0, 40);
        assert_eq!(take(&mut machine, 0), Some(40));
        machine.end(0, 40);
        machine.kick(VcpuSet::one(0));
        assert_eq!(take(&mut machine, 0), None, "both edges were one");
    });
}

#[test]
fn a_level_is_taken_until_it_is_low() {
    for_both(|mut machine| {
        line(&mut machine, 33, true);
        for _ in 0..3 {
            assert_eq!(take(&mut machine, 0), Some(33));
            machine.end(0, 33);
        }
        assert_eq!(take(&mut machine, 0), Some(33));
        line(&mut machine, 33, false);
        machine.end(0, 33);
        assert_eq!((take(&mut machine, 0), machine.read(0, ISPENDR + 4)), (None, 0));
    });
}

#[test]
fn a_level_that_falls_before_it_is_taken_is_gone() {
    for_both(|mut machine| {
        line(&mut machine, 33, true);
        line(&mut machine, 33, false);
        assert_eq!(take(&mut machine, 0), None);
    });
}

#[test]
fn a_handler_that_silences_its_device_costs_no_maintenance() {
    for_both(|mut machine| {
        line(&mut machine, 33, true);
        assert_eq!(take(&mut machine, 0), Some(33));
        line(&mut machine, 33, false);
        let register = machine.cpus[0].registers[0];
        assert_eq!(register.state, State::Active);
        assert_eq!(register.origin, Origin::Software { eoi: false, source: 0 });
    });
}

#[test]
fn a_level_ppi_is_the_vcpus_own() {
    for_both(|mut machine| {
        let changed = machine.vgic.set_ppi_level(1, 30, true);
        assert_eq!(changed, VcpuSet::one(1));
        assert!(machine.vgic.set_ppi_level(1, 30, true).is_empty(), "nothing new");
        machine.kick(changed);
        assert_eq!((take(&mut machine, 0), take(&mut machine, 1)), (None, Some(30)));
    });
}

#[test]
fn pending_by_register_lasts_until_taken_or_cleared() {
    for_both(|mut machine| {
        machine.write(0, ISPENDR + 4, 0b110);
        machine.write(0, ICPENDR + 4, 0b010);
        assert_eq!(take(&mut machine, 0), Some(34));
        assert_eq!(take(&mut machine, 0), None);
        line(&mut machine, 33, true);
        machine.write(0, ICPENDR + 4, 0b010);
        assert_eq!(take(&mut machine, 0), Some(33), "the line is what counts");
    });
}

#[test]
fn sgis_of_a_gicv2_come_from_each_sender() {
    let mut machine = machine(Version::V2);
    machine.write(0, SGIR, 0b10 << 16 | 5);
    machine.write(1, SGIR, 2 << 24 | 5);
    assert_eq!(machine.acknowledge(1), Some((5, 0)));
    assert_eq!(machine.acknowledge(1), None, "one at a time");
    machine.end(1, 5);
    assert_eq!(machine.acknowledge(1), Some((5, 1)));
    machine.end(1, 5);
    assert_eq!(machine.acknowledge(1), None);
}

#[test]
fn sgis_of_a_gicv2_go_where_the_filter_says() {
    let mut machine = Machine::new(Version::V2, 3, 4);
    for (value, targets) in [(0xff_0000, 0b111), (0x04_0000, 0b100), (1 << 24, 0b101), (2 << 24, 0b010)] {
        (0..3).for_each(|vcpu| machine.write(vcpu, CPENDSGIR, 0xffff_ffff));
        machine.write(1, SGIR, value | 3);
        let pending = (0..3).filter(|vcpu| machine.read(*vcpu, ISPENDR) == 1 << 3);
        assert_eq!(pending.fold(0, |set, vcpu| set | 1 << vcpu), targets, "{value:#x}");
    }
    let before = machine.vgic.clone();
    machine.write(1, SGIR, 3 << 24 | 0xff_0000);
    assert_eq!(machine.vgic, before, "reserved filter");
}

#[test]
fn one_senders_sgi_is_cleared_from_a_list_register() {
    let mut machine = machine(Version::V2);
    machine.write(0, SGIR, 0b10 << 16);
    machine.write(1, SGIR, 0b10 << 16);
    assert_eq!(machine.read(1, CPENDSGIR), 0b11);
    machine.write_byte(1, CPENDSGIR, 0b01);
    assert_eq!(machine.acknowledge(1), Some((0, 1)));
}

#[test]
fn sgis_of_a_gicv3_go_by_affinity() {
    let mut machine = Machine::new(Version::V3, 3, 4);
    let mut targets = |value: u64, group1| {
        (0..3).for_each(|vcpu| machine.write_private(vcpu, ICPENDR, Width::Word, 0xffff_ffff));
        let _ = machine.vgic.send_sgi(1, value | 9 << 24, group1);
        let pending = (0..3).filter(|vcpu| machine.read_private(*vcpu, ISPENDR) == 1 << 9);
        pending.fold(0, |set, vcpu| set | 1 << vcpu)
    };
    assert_eq!(targets(0b1101, false), 0b101, "those that are there");
    assert_eq!(targets(1 << 40 | 0xff_00ff_0000, false), 0b101, "all others");
    assert_eq!(targets(0b111, true), 0, "another group");
    for cluster in [1 << 16, 1 << 32, 1 << 44, 1 << 48] {
        assert_eq!(targets(cluster | 0b111, false), 0, "no such cluster: {cluster:#x}");
    }
}

#[test]
fn an_sgi_is_a_single_interrupt_in_a_gicv3() {
    let mut machine = machine(Version::V3);
    for sender in [0, 1, 0] {
        let changed = machine.vgic.send_sgi(sender, 0b10, true);
        assert_eq!(changed, VcpuSet::one(1));
        machine.kick(changed);
    }
    assert_eq!(machine.acknowledge(1), Some((0, 0)));
    machine.end(1, 0);
    assert_eq!(machine.acknowledge(1), None);
}

#[test]
fn a_linked_interrupt_is_deactivated_by_the_guest() {
    for_both(|mut machine| {
        machine.inject_hardware(1, TIMER);
        assert_eq!(machine.cpus[1].registers[0].origin, Origin::Hardware(TIMER));
        assert_eq!(take(&mut machine, 1), Some(TIMER));
        machine.kick(VcpuSet::one(1));
        assert!(machine.vgic.hardware_in_flight(1, TIMER) && !machine.vgic.hardware_in_flight(0, TIMER));
        machine.end(1, TIMER);
        assert!(machine.physical.is_empty());
        machine.kick(VcpuSet::one(1));
        assert!(!machine.vgic.hardware_in_flight(1, TIMER));
    });
}

#[test]
fn a_linked_interrupt_comes_again_before_anyone_looked() {
    for_both(|mut machine| {
        for _ in 0..3 {
            machine.inject_hardware(0, TIMER);
            assert_eq!(take(&mut machine, 0), Some(TIMER));
            machine.end(0, TIMER);
        }
        assert_eq!(take(&mut machine, 0), None);
    });
}

#[test]
fn a_cancelled_linked_interrupt_is_released() {
    for_both(|mut machine| {
        machine.inject_hardware(0, TIMER);
        machine.write_private(0, ICPENDR, Width::Word, 1 << TIMER);
        assert_eq!((machine.physical.len(), take(&mut machine, 0)), (0, None));
        machine.inject_hardware(0, TIMER);
        assert_eq!(take(&mut machine, 0), Some(TIMER));
        machine.write_private(0, ICACTIVER, Width::Word, 1 << TIMER);
        assert_eq!((machine.physical.len(), machine.active(0).len()), (0, 0));
        machine.inject_hardware(0, TIMER);
        let changed = machine.vgic.withdraw_hardware(0, TIMER);
        machine.kick(changed);
        assert_eq!((machine.physical.len(), take(&mut machine, 0)), (0, None));
    });
}

#[test]
fn a_linked_interrupt_that_is_pended_while_active_is_taken_twice() {
    for_both(|mut machine| {
        machine.inject_hardware(0, TIMER);
        assert_eq!(take(&mut machine, 0), Some(TIMER));
        machine.write_private(0, ISPENDR, Width::Word, 1 << TIMER);
        machine.end(0, TIMER);
        assert_eq!(take(&mut machine, 0), Some(TIMER));
        machine.end(0, TIMER);
        assert!(machine.physical.is_empty());
        assert_eq!(take(&mut machine, 0), None);
    });
}

#[test]
fn more_interrupts_than_list_registers_come_by_priority() {
    for_both(|mut machine| {
        for n in 0..20 {
            machine.write_byte(0, IPRIORITYR + 40 + n, 0xf0 - 8 * u8::try_from(n).unwrap());
        }
        (40..60).for_each(|intid| pulse(&mut machine, intid));
        assert!(machine.cpus[0].fill.pending_left);
        for intid in (40..60).rev() {
            assert_eq!(take(&mut machine, 0), Some(intid));
            machine.end(0, intid);
        }
        assert_eq!((take(&mut machine, 0), machine.cpus[0].fill.more()), (None, false));
    });
}

#[test]
fn handlers_nest_deeper_than_there_are_list_registers() {
    for_both(|mut machine| {
        for n in 0..10 {
            machine.write_byte(0, IPRIORITYR + 40 + n, 0xf0 - 8 * u8::try_from(n).unwrap());
        }
        for intid in 40..50 {
            pulse(&mut machine, intid);
            assert_eq!(take(&mut machine, 0), Some(intid));
        }
        assert!(machine.cpus[0].fill.active_left);
        (40..50).rev().for_each(|intid| machine.end(0, intid));
        machine.sync_all();
        assert_eq!(machine.read(0, ISACTIVER + 4), 0);
    });
}

#[test]
fn the_running_handler_keeps_its_list_register() {
    for_both(|mut machine| {
        machine.write_byte(0, IPRIORITYR + 40, 0xf0);
        pulse(&mut machine, 40);
        assert_eq!(take(&mut machine, 0), Some(40));
        (50..60).for_each(|intid| pulse(&mut machine, intid));
        assert_eq!(machine.active(0), [40]);
        assert_eq!(machine.cpus[0].fill, Fill { used: 4, pending_left: true, active_left: false });
    });
}

#[test]
fn what_is_disabled_is_not_delivered() {
    for_both(|mut machine| {
        pulse(&mut machine, 40);
        machine.write(0, ICENABLER + 4, 1 << 8);
        assert_eq!((take(&mut machine, 0), machine.vgic.is_deliverable(0, 0xff)), (None, false));
        assert_eq!(machine.read(0, ISPENDR + 4), 1 << 8, "but it is pending");
        machine.write(0, ISENABLER + 4, 1 << 8);
        assert_eq!(take(&mut machine, 0), Some(40));
        machine.write(0, ICENABLER + 4, 1 << 8);
        machine.end(0, 40);
        assert_eq!(machine.active(0), [], "what is active can be ended all the same");
    });
}

#[test]
fn groups_are_enabled_apart() {
    for_both(|mut machine| {
        machine.write(0, 0x084, 1 << 9);
        pulse(&mut machine, 40);
        pulse(&mut machine, 41);
        machine.write(0, CTLR, 0b01);
        let signalled = *machine.signalled(0).unwrap();
        assert_eq!((signalled.intid, signalled.group1, machine.cpus[0].fill.used), (40, false, 1));
        machine.write(0, CTLR, 0b10);
        let signalled = *machine.signalled(0).unwrap();
        assert_eq!((signalled.intid, signalled.group1, machine.cpus[0].fill.used), (41, true, 1));
        machine.write(0, CTLR, 0);
        assert!(machine.signalled(0).is_none());
    });
}

#[test]
fn the_priority_mask_holds_a_wait() {
    for_both(|mut machine| {
        machine.write_byte(0, IPRIORITYR + 40, 0x80);
        pulse(&mut machine, 40);
        assert!(machine.vgic.is_deliverable(0, 0x88) && !machine.vgic.is_deliverable(0, 0x80));
        machine.sync_all();
        assert!(machine.vgic.is_deliverable(0, 0xff) && !machine.vgic.is_deliverable(0, 0));
    });
}

#[test]
fn a_pending_spi_moves_with_its_route() {
    for_both(|mut machine| {
        pulse(&mut machine, 40);
        route(&mut machine, 40, 1);
        assert_eq!((take(&mut machine, 0), take(&mut machine, 1)), (None, Some(40)));
    });
}

#[test]
fn an_active_spi_stays_and_its_next_turn_moves() {
    for_both(|mut machine| {
        line(&mut machine, 40, true);
        assert_eq!(take(&mut machine, 0), Some(40));
        route(&mut machine, 40, 1);
        assert_eq!((machine.active(0), take(&mut machine, 1)), (vec![40], None));
        machine.end(0, 40);
        assert_eq!((take(&mut machine, 0), take(&mut machine, 1)), (None, Some(40)));
    });
}

#[test]
fn an_spi_without_a_target_waits() {
    for_both(|mut machine| {
        match machine.vgic.version() {
            Version::V2 => machine.write_byte(0, ITARGETSR + 40, 0),
            Version::V3 => machine.write(0, IROUTER + 8 * 40, 7),
        }
        assert!(machine.vgic.pulse_spi(40).is_empty());
        route(&mut machine, 40, 1);
        assert_eq!(take(&mut machine, 1), Some(40));
    });
}

#[test]
fn an_spi_for_any_vcpu_goes_to_one() {
    for_both(|mut machine| {
        match machine.vgic.version() {
            Version::V2 => machine.write_byte(0, ITARGETSR + 40, 0b11),
            Version::V3 => machine.write(0, IROUTER + 8 * 40, 1 << 31 | 1),
        }
        assert_eq!(machine.vgic.pulse_spi(40), VcpuSet::one(0));
    });
}

#[test]
fn active_by_register_takes_effect_on_what_is_listed() {
    for_both(|mut machine| {
        pulse(&mut machine, 40);
        assert_eq!(take(&mut machine, 0), Some(40));
        assert_eq!(machine.read(1, ISACTIVER + 4), 0, "nobody has looked yet");
        machine.write(1, ICACTIVER + 4, 1 << 8);
        assert_eq!(machine.active(0), []);
        machine.write(1, ISACTIVER + 4, 1 << 8);
        assert_eq!(machine.active(0), [40], "where it is routed");
        pulse(&mut machine, 40);
        assert_eq!(take(&mut machine, 0), None);
        let changed = machine.vgic.deactivate(1, 40);
        machine.kick(changed);
        assert_eq!(take(&mut machine, 0), Some(40));
    });
}

#[test]
fn list_registers_with_nonsense_change_nothing() {
    for_both(|mut machine| {
        pulse(&mut machine, 40);
        let bogus = |intid| ListRegister { intid, state: State::Active, ..ListRegister::EMPTY };
        machine.cpus[1].registers = vec![bogus(40), bogus(64), bogus(u32::MAX), bogus(0)];
        let _ = machine.sync(1);
        assert_eq!((machine.read(1, ISACTIVER + 4), machine.read_private(1, ISACTIVER)), (0, 0));
        assert_eq!(take(&mut machine, 0), Some(40));
    });
}
