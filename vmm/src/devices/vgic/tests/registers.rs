//! Registers, one group after the other.

use super::*;

const CTLR: u64 = 0x000;
const TYPER: u64 = 0x004;
const IGROUPR: u64 = 0x080;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const ISPENDR: u64 = 0x200;
const ICPENDR: u64 = 0x280;
const ISACTIVER: u64 = 0x300;
const ICACTIVER: u64 = 0x380;
const IPRIORITYR: u64 = 0x400;
const ITARGETSR: u64 = 0x800;
const ICFGR: u64 = 0xc00;
const CPENDSGIR: u64 = 0xf10;
const SPENDSGIR: u64 = 0xf20;
const IROUTER: u64 = 0x6000;

const BOTH: [Version; 2] = [Version::V2, Version::V3];

fn machine(version: Version) -> Machine {
    Machine::new(version, 3, 4)
}

#[test]
fn what_kind_of_controller_it_is() {
    let v2 = machine(Version::V2);
    assert_eq!(v2.read(0, TYPER), 1 | 2 << 5, "64 interrupts, 3 vCPUs");
    assert_eq!(v2.read(0, 0xfe8) >> 4 & 0xf, 2);
    let v3 = machine(Version::V3);
    assert_eq!(v3.read(0, TYPER), 1 | 9 << 19, "64 interrupts, numbers of 10 bits");
    assert_eq!(v3.read(0, 0xffe8) >> 4 & 0xf, 3);
    assert_eq!(v3.vgic.redistributor_read(1, 0xffe8, Width::Word) >> 4 & 0xf, 3);
    assert_eq!(v3.read(0, 8) & 0xfff, 0x43b);
    assert_eq!(v3.read(0, 8), v3.vgic.redistributor_read(2, 4, Width::Word));
}

#[test]
fn control_has_the_group_enables() {
    let mut v2 = machine(Version::V2);
    v2.write(1, CTLR, 0xffff_ffff);
    assert_eq!(v2.read(0, CTLR), 0b11);
    let mut v3 = machine(Version::V3);
    assert_eq!(v3.read(0, CTLR), 0b101_0000, "affinity routing, one security state");
    v3.write(1, CTLR, 0b10);
    assert_eq!(v3.read(0, CTLR), 0b101_0010);
}

#[test]
fn a_redistributor_says_whose_it_is() {
    let v3 = machine(Version::V3);
    let typer = |vcpu, offset, width| v3.vgic.redistributor_read(vcpu, offset, width);
    assert_eq!(typer(1, 8, Width::Doubleword), 1 << 32 | 1 << 8);
    assert_eq!(typer(2, 8, Width::Doubleword), 2 << 32 | 2 << 8 | 1 << 4, "the last one");
    assert_eq!(typer(2, 8, Width::Word), 2 << 8 | 1 << 4);
    assert_eq!(typer(2, 12, Width::Word), 2);
    assert_eq!(typer(3, 8, Width::Doubleword), 0, "no such vCPU");
    assert_eq!(machine(Version::V2).vgic.redistributor_read(0, 8, Width::Doubleword), 0);
}

#[test]
fn a_redistributor_wakes_up() {
    let mut v3 = machine(Version::V3);
    assert_eq!(v3.vgic.redistributor_read(1, 0x14, Width::Word), 0b110);
    let _ = v3.vgic.redistributor_write(1, 0x14, Width::Word, 0);
    assert_eq!(v3.vgic.redistributor_read(1, 0x14, Width::Word), 0);
    assert_eq!(v3.vgic.redistributor_read(0, 0x14, Width::Word), 0b110);
    let _ = v3.vgic.redistributor_write(1, 0x14, Width::Word, 0b10);
    assert_eq!(v3.vgic.redistributor_read(1, 0x14, Width::Word), 0b110);
}

#[test]
fn bits_are_set_and_cleared() {
    for version in BOTH {
        for (set, clear) in [(ISENABLER, ICENABLER), (ISPENDR, ICPENDR), (ISACTIVER, ICACTIVER)] {
            let mut machine = machine(version);
            machine.write(0, set + 4, 0xf0f0);
            machine.write(0, clear + 4, 0x00f0);
            assert_eq!((machine.read(1, set + 4), machine.read(2, clear + 4)), (0xf000, 0xf000));
            machine.write_private(1, set, Width::Word, 0xffff_0000);
            machine.write_private(1, clear, Width::Word, 0x1111_0000);
            assert_eq!(machine.read_private(1, set), 0xeeee_0000);
            assert_eq!(machine.read_private(0, set), 0, "each vCPU has its own");
        }
    }
}

#[test]
fn groups_are_written_whole() {
    for version in BOTH {
        let mut machine = machine(version);
        machine.write(0, IGROUPR + 4, 0xffff_0000);
        machine.write(0, IGROUPR + 4, 0x00ff_00ff);
        assert_eq!(machine.read(1, IGROUPR + 4), 0x00ff_00ff);
        machine.write_private(2, IGROUPR, Width::Word, 0x1234_5678);
        assert_eq!((machine.read_private(2, IGROUPR), machine.read_private(1, IGROUPR)), (0x1234_5678, 0));
    }
}

#[test]
fn priorities_have_five_bits_and_byte_access() {
    for version in BOTH {
        let mut machine = machine(version);
        machine.write(0, IPRIORITYR + 32, 0xffa5_1207);
        assert_eq!(machine.read(0, IPRIORITYR + 32), 0xf8a0_1000);
        machine.write_byte(0, IPRIORITYR + 34, 0x4f);
        assert_eq!(machine.read(0, IPRIORITYR + 32), 0xf848_1000);
        assert_eq!(machine.vgic.distributor_read(0, IPRIORITYR + 35, Width::Byte), 0xf8);
        machine.write_private(1, IPRIORITYR + 27, Width::Byte, 0x80);
        assert_eq!(machine.read_private(1, IPRIORITYR + 24), 0x8000_0000);
        assert_eq!(machine.read_private(0, IPRIORITYR + 24), 0);
    }
}

#[test]
fn a_gicv3_has_private_interrupts_in_the_redistributor_only() {
    let mut machine = machine(Version::V3);
    for offset in [IGROUPR, ISENABLER, ISPENDR, ISACTIVER, IPRIORITYR, ICFGR] {
        machine.write(0, offset, 0xffff_ffff);
        assert_eq!(machine.read(0, offset), 0);
    }
    for offset in [ITARGETSR + 32, 0xf00, SPENDSGIR] {
        machine.write(0, offset, 0xffff_ffff);
        assert_eq!(machine.read(0, offset), 0, "no registers of a GICv2");
    }
}

#[test]
fn targets_of_a_gicv2() {
    let mut machine = machine(Version::V2);
    assert_eq!((machine.read(0, ITARGETSR), machine.read(2, ITARGETSR + 28)), (0x0101_0101, 0x0404_0404));
    machine.write(0, ITARGETSR, 0xffff_ffff);
    assert_eq!(machine.read(0, ITARGETSR), 0x0101_0101, "read-only");
    machine.write(0, ITARGETSR + 32, 0xff02_0406);
    assert_eq!(machine.read(0, ITARGETSR + 32), 0x0702_0406, "only the vCPUs that are there");
    machine.write_byte(0, ITARGETSR + 33, 1);
    assert_eq!(machine.vgic.distributor_read(0, ITARGETSR + 33, Width::Byte), 1);
}

#[test]
fn a_single_vcpu_needs_no_targets() {
    let mut machine = Machine::new(Version::V2, 1, 4);
    machine.write(0, ITARGETSR + 32, 0x0101_0101);
    assert_eq!((machine.read(0, ITARGETSR), machine.read(0, ITARGETSR + 32)), (0, 0));
    assert_eq!(machine.read(0, TYPER) >> 5, 0);
    machine.write(0, CTLR, 1);
    machine.write(0, ISENABLER + 4, 1);
    assert_eq!(machine.vgic.set_spi_level(32, true), VcpuSet::one(0), "all goes to it");
}

#[test]
fn configuration_of_spis_alone() {
    for version in BOTH {
        let mut machine = machine(version);
        machine.write(0, ICFGR + 12, 0xffff_fff4);
        assert_eq!(machine.read(0, ICFGR + 12), 0xaaaa_aaa0, "the lower bits are reserved");
        assert_eq!(machine.read(0, ICFGR + 8), 0);
        machine.write_private(0, ICFGR, Width::Word, 0);
        machine.write_private(0, ICFGR + 4, Width::Word, 0xffff_ffff);
        assert_eq!((machine.read_private(0, ICFGR), machine.read_private(0, ICFGR + 4)), (0xaaaa_aaaa, 0));
    }
}

#[test]
fn routes_of_a_gicv3() {
    let mut machine = machine(Version::V3);
    let at = IROUTER + 8 * 63;
    let _ = machine.vgic.distributor_write(0, at, Width::Doubleword, u64::MAX);
    assert_eq!(machine.vgic.distributor_read(0, at, Width::Doubleword), 0x80ff_ffff, "no affinity 3");
    machine.write(0, at + 4, 1);
    machine.write(0, at, 2);
    assert_eq!((machine.read(0, at), machine.read(0, at + 4)), (2, 0));
    assert_eq!(machine.vgic.distributor_read(0, at, Width::Byte), 0);
    machine.write(0, IROUTER + 8 * 31, 1);
    assert_eq!(machine.read(0, IROUTER + 8 * 31), 0);
}

#[test]
fn pending_sgis_of_a_gicv2_have_senders() {
    let mut machine = machine(Version::V2);
    machine.write(1, SPENDSGIR + 4, 0x0000_ff05);
    assert_eq!(machine.read(1, SPENDSGIR + 4), 0x0705);
    assert_eq!(machine.read(0, SPENDSGIR + 4), 0);
    machine.write_byte(1, CPENDSGIR + 5, 0b011);
    assert_eq!(machine.read(1, CPENDSGIR + 4), 0x0405);
    assert_eq!(machine.read(1, ISPENDR), 0b11_0000);
    machine.write(1, ICPENDR, 0xffff);
    machine.write(1, ISPENDR, 1);
    assert_eq!(machine.read(1, ISPENDR), 0b11_0000, "not by these registers");
}

#[test]
fn reserved_offsets_read_as_zero() {
    for version in BOTH {
        let machine = machine(version);
        for offset in [0x00c, 0x010, 0x040, 0x088, 0x108, 0x440, 0xc10, 0xd00, 0xe00, 0xffc, 0x6200, 0x1_0000]
        {
            assert_eq!(machine.read(0, offset), 0, "{offset:#x}");
        }
    }
}

#[test]
fn odd_accesses_do_nothing() {
    for version in BOTH {
        let mut machine = machine(version);
        let before = machine.vgic.clone();
        let accesses = [
            (ISENABLER + 4, Width::Byte),
            (ISENABLER + 4, Width::Halfword),
            (ISENABLER + 4, Width::Doubleword),
            (ISENABLER + 5, Width::Word),
            (IPRIORITYR + 32, Width::Halfword),
            (IPRIORITYR + 33, Width::Word),
            (u64::MAX, Width::Byte),
            (0xf00, Width::Byte),
        ];
        for (offset, width) in accesses {
            assert!(machine.vgic.distributor_write(0, offset, width, u64::MAX).is_empty());
            assert_eq!(machine.vgic.distributor_read(0, offset, width), 0);
        }
        assert_eq!(machine.vgic, before);
    }
}

#[test]
fn interrupts_that_are_not_there_are_ignored() {
    let mut vgic = Vgic::new(Version::V3, 2);
    let before = vgic.clone();
    for intid in [0, 31, 96, 1023, u32::MAX] {
        assert!(vgic.set_spi_level(intid, true).is_empty() && vgic.pulse_spi(intid).is_empty());
    }
    for intid in [15, 32, u32::MAX] {
        assert!(vgic.set_ppi_level(1, intid, true).is_empty());
    }
    assert!(vgic.inject_hardware(0, 3, 27).is_empty() && vgic.inject_hardware(0, 27, 1 << 16).is_empty());
    assert!(!vgic.hardware_in_flight(0, 3) && !vgic.hardware_in_flight(0, u32::MAX));
    assert!(vgic.deactivate(0, u32::MAX).is_empty() && vgic.withdraw_hardware(0, 27).is_empty());
    assert_eq!(vgic, before);
}

#[test]
fn a_vm_takes_a_few_kilobytes() {
    assert!(size_of::<Vgic>() <= 4096, "{}", size_of::<Vgic>());
}
