//! What the registers read, and what writes to them do.

use super::{
    Place, SPI_IDS, VcpuSet, Version, Vgic,
    bank::{Bits, Groups},
    bits, index, low_byte, low_word,
    registers::{self, Entry, REDISTRIBUTOR, Register, V2_DISTRIBUTOR, V3_DISTRIBUTOR},
};
use crate::devices::Width;

/// `IIDR`: product `T`, of Arm (JEP106 0x43b), as the CPU interface beside it usually is.
const IMPLEMENTER: u32 = 0x54 << 24 | 0x43b;
/// `GICD_CTLR`: enables of the two groups.
const ENABLE_GROUP0: u32 = 1 << 0;
const ENABLE_GROUP1: u32 = 1 << 1;
/// `GICD_CTLR` of a GICv3: affinity routing enabled, security disabled; both for good.
const V3_CONTROL: u32 = 1 << 4 | 1 << 6;
/// `GICD_TYPER`: so many times 32 interrupts, less one.
const LINES: u32 = 2;
/// `GICD_TYPER` of a GICv3: interrupt numbers have ten bits.
const ID_BITS: u32 = 9 << 19;
/// `GICR_WAKER`: ProcessorSleep, which ChildrenAsleep follows at once.
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;
/// `GICD_IROUTER`: any vCPU (the 1-of-N model).
const ROUTING_MODE: u32 = 1 << 31;
/// `GICD_IROUTER`: Aff2, Aff1 and Aff0. As `GICD_TYPER.A3V` is 0, there is no Aff3.
const AFFINITY: u32 = 0xff_ffff;

impl Vgic {
    /// What a vCPU reads from the distributor.
    #[must_use]
    pub fn distributor_read(&self, vcpu: usize, offset: u64, width: Width) -> u64 {
        self.read(self.distributor(), vcpu, offset, width)
    }

    /// Does what a vCPU's write to the distributor does.
    pub fn distributor_write(&mut self, vcpu: usize, offset: u64, width: Width, value: u64) -> VcpuSet {
        self.write(self.distributor(), vcpu, offset, width, value)
    }

    /// What any vCPU reads from the redistributor of `frame_vcpu`: two frames of 64 KiB.
    #[must_use]
    pub fn redistributor_read(&self, frame_vcpu: usize, offset: u64, width: Width) -> u64 {
        self.read(self.redistributor(frame_vcpu), frame_vcpu, offset, width)
    }

    /// Does what a write to the redistributor of `frame_vcpu` does.
    pub fn redistributor_write(
        &mut self,
        frame_vcpu: usize,
        offset: u64,
        width: Width,
        value: u64,
    ) -> VcpuSet {
        self.write(self.redistributor(frame_vcpu), frame_vcpu, offset, width, value)
    }

    fn distributor(&self) -> &'static [Entry] {
        match self.version {
            Version::V2 => &V2_DISTRIBUTOR,
            Version::V3 => &V3_DISTRIBUTOR,
        }
    }

    fn redistributor(&self, vcpu: usize) -> &'static [Entry] {
        let is_there = self.version == Version::V3 && vcpu < self.vcpus;
        if is_there { &REDISTRIBUTOR } else { &[] }
    }

    fn read(&self, map: &[Entry], vcpu: usize, offset: u64, width: Width) -> u64 {
        let Some((register, at)) = registers::find(map, offset, width) else { return 0 };
        match register {
            Register::Control => u64::from(self.control()),
            Register::Type => u64::from(self.distributor_type()),
            Register::Implementer => u64::from(IMPLEMENTER),
            Register::Revision => {
                if self.version == Version::V3 {
                    0x30
                } else {
                    0x20
                }
            }
            Register::Bits(bits) => u64::from(self.bank(vcpu, at / 4).read(bits)),
            Register::Priority => read_bytes(at, width, |n| self.priority(vcpu, place(n))),
            Register::Targets => read_bytes(at, width, |n| self.targets(vcpu, n)),
            Register::Configuration => u64::from(spread(self.bank(vcpu, at / 8).edge >> shift(at))),
            Register::SoftwareInterrupt => 0,
            Register::ClearSources | Register::SetSources => {
                read_bytes(at, width, |n| self.pending_sources(vcpu, n).bits())
            }
            Register::Route => part(u64::from(self.route[spi(at / 8)]), at, width),
            Register::RedistributorType => part(self.redistributor_type(vcpu), at, width),
            Register::Waker if self.private[vcpu].asleep => u64::from(PROCESSOR_SLEEP | CHILDREN_ASLEEP),
            Register::Waker => 0,
        }
    }

    fn write(&mut self, map: &[Entry], vcpu: usize, offset: u64, width: Width, value: u64) -> VcpuSet {
        let Some((register, at)) = registers::find(map, offset, width) else { return VcpuSet::EMPTY };
        let word = low_word(value);
        match register {
            Register::Control => self.set_control(word),
            Register::Bits(bits) => self.write_bits(vcpu, at / 4, bits, word & self.writable(at / 4, bits)),
            Register::Priority => write_bytes(at, width, value, |n, byte| self.set_priority(vcpu, n, byte)),
            Register::Targets => write_bytes(at, width, value, |n, byte| self.set_targets(n, byte)),
            Register::Configuration => self.set_configuration(vcpu, at, word),
            Register::SoftwareInterrupt => self.send_v2_sgi(vcpu, word),
            Register::ClearSources => {
                write_bytes(at, width, value, |n, byte| self.clear_sources(vcpu, n, VcpuSet::from_bits(byte)))
            }
            Register::SetSources => write_bytes(at, width, value, |n, byte| {
                self.add_sources(vcpu, n, VcpuSet::from_bits(byte).intersection(self.all()))
            }),
            // The upper word is of Aff3.
            Register::Route if at % 8 == 0 => self.set_route(spi(at / 8), word & (ROUTING_MODE | AFFINITY)),
            Register::Waker => {
                self.private[vcpu].asleep = word & PROCESSOR_SLEEP != 0;
                VcpuSet::EMPTY
            }
            Register::Route
            | Register::Type
            | Register::Implementer
            | Register::Revision
            | Register::RedistributorType => VcpuSet::EMPTY,
        }
    }

    fn control(&self) -> u32 {
        let fixed = if self.version == Version::V3 { V3_CONTROL } else { 0 };
        fixed | self.groups.group0 & ENABLE_GROUP0 | self.groups.group1 & ENABLE_GROUP1
    }

    fn set_control(&mut self, value: u32) -> VcpuSet {
        let mask = |enable| if value & enable != 0 { u32::MAX } else { 0 };
        let groups = Groups { group0: mask(ENABLE_GROUP0), group1: mask(ENABLE_GROUP1) };
        let before = core::mem::replace(&mut self.groups, groups);
        if before == groups { VcpuSet::EMPTY } else { self.all() }
    }

    fn distributor_type(&self) -> u32 {
        match self.version {
            Version::V2 => LINES | (u32::from(self.all().bits()).count_ones() - 1) << 5,
            Version::V3 => LINES | ID_BITS,
        }
    }

    fn redistributor_type(&self, vcpu: usize) -> u64 {
        let last = vcpu + 1 == self.vcpus;
        let number = u64::from(VcpuSet::one(vcpu).bits().trailing_zeros());
        number << 32 | number << 8 | u64::from(last) << 4
    }

    /// The bits of a register that can be written: the pending state of a GICv2's SGIs has other registers.
    fn writable(&self, bank: usize, bits: Bits) -> u32 {
        let pending = matches!(bits, Bits::SetPending | Bits::ClearPending);
        if self.version == Version::V2 && bank == 0 && pending { 0xffff_0000 } else { u32::MAX }
    }

    pub(super) fn write_bits(&mut self, vcpu: usize, bank: usize, register: Bits, value: u32) -> VcpuSet {
        let groups = self.groups;
        let changed = self.bank_mut(vcpu, bank).write(register, value, groups);
        if let (Some(shared), Bits::SetActive | Bits::ClearActive) = (bank.checked_sub(1), register) {
            self.assign_active(vcpu, shared);
        }
        self.concerned(vcpu, bank, changed)
    }

    /// Gives the SPIs that are active, and belong to none, to the vCPU to which they are routed, or else to
    /// `vcpu`; and takes them from who had them if they are not active any more.
    fn assign_active(&mut self, vcpu: usize, shared: usize) {
        let bank = &self.shared[shared];
        let mut new = bank.active;
        for private in &mut self.private {
            private.taken[shared] &= bank.taken();
            new &= !private.taken[shared];
        }
        for n in bits(new) {
            let owner = self.target(shared * 32 + n).unwrap_or(vcpu);
            self.private[owner].taken[shared] |= 1 << n;
        }
    }

    fn set_priority(&mut self, vcpu: usize, n: usize, priority: u8) -> VcpuSet {
        let Place { bank, n } = place(n);
        let groups = self.groups;
        let state = self.bank_mut(vcpu, bank);
        state.set_priority(n, priority);
        let changed = 1 << n & (state.taken() | state.pending() & state.forwarded(groups));
        self.concerned(vcpu, bank, changed)
    }

    /// The type of SPIs; that of SGIs and PPIs is fixed.
    fn set_configuration(&mut self, vcpu: usize, at: usize, value: u32) -> VcpuSet {
        let bank = at / 8;
        if bank == 0 {
            return VcpuSet::EMPTY;
        }
        let groups = self.groups;
        let state = self.bank_mut(vcpu, bank);
        let edge = state.edge & !(0xffff << shift(at)) | gather(value) << shift(at);
        let changed = state.set_edge(edge, groups);
        self.concerned(vcpu, bank, changed)
    }

    /// `GICD_ITARGETSR`, of which there is nothing when there is but one vCPU (IHI 0048B, 4.3.12).
    fn targets(&self, vcpu: usize, n: usize) -> u8 {
        match n.checked_sub(index(SPI_IDS.start)) {
            _ if self.vcpus == 1 => 0,
            None => VcpuSet::one(vcpu).bits(),
            Some(spi) => low_byte(u64::from(self.route[spi])),
        }
    }

    fn set_targets(&mut self, n: usize, targets: u8) -> VcpuSet {
        match n.checked_sub(index(SPI_IDS.start)) {
            Some(spi) if self.vcpus > 1 => self.set_route(spi, u32::from(targets & self.all().bits())),
            _ => VcpuSet::EMPTY,
        }
    }

    /// Routes an SPI. Both the old and the new vCPU look again if the SPI is pending or in a list register.
    fn set_route(&mut self, spi: usize, route: u32) -> VcpuSet {
        let Place { bank, n } = place(spi + index(SPI_IDS.start));
        let state = self.bank(0, bank);
        let moving = 1 << n & (state.taken() | state.pending() & state.forwarded(self.groups));
        let before = self.concerned(0, bank, moving);
        self.route[spi] = route;
        self.apply_route(spi);
        before | self.concerned(0, bank, moving)
    }

    /// Notes to whom an SPI goes.
    pub(super) fn apply_route(&mut self, spi: usize) {
        let target = self.target(spi);
        for (vcpu, private) in self.private.iter_mut().enumerate() {
            let routed = &mut private.routed[spi / 32];
            *routed = *routed & !(1 << (spi % 32)) | u32::from(target == Some(vcpu)) << (spi % 32);
        }
    }

    fn target(&self, spi: usize) -> Option<usize> {
        let route = self.route[spi];
        match self.version {
            Version::V2 if self.vcpus == 1 => Some(0),
            Version::V2 => bits(route).next(),
            Version::V3 if route & ROUTING_MODE != 0 => Some(0),
            Version::V3 => Some(index(route)).filter(|vcpu| *vcpu < self.vcpus),
        }
    }
}

/// The place of interrupt `n`, which a register map says is there.
const fn place(n: usize) -> Place {
    Place { bank: n / 32, n: n % 32 }
}

/// The index of an SPI among the SPIs.
const fn spi(n: usize) -> usize {
    n - index(SPI_IDS.start)
}

/// Where the 16 interrupts of the configuration register at this offset are in their bank.
const fn shift(at: usize) -> usize {
    at / 4 % 2 * 16
}

/// The low 16 bits, as the upper bits of 16 pairs.
fn spread(edges: u32) -> u32 {
    bits(edges & 0xffff).map(|n| 0b10 << (2 * n)).sum()
}

/// The upper bits of 16 pairs.
fn gather(pairs: u32) -> u32 {
    bits(pairs & 0xaaaa_aaaa).map(|n| 1 << (n / 2)).sum()
}

/// The part of a 64-bit register that an access of this width reads.
const fn part(register: u64, at: usize, width: Width) -> u64 {
    width.truncate(register >> (at % 8 * 8))
}

fn read_bytes(at: usize, width: Width, read: impl Fn(usize) -> u8) -> u64 {
    let mut bytes = [0; 8];
    for (byte, n) in bytes.iter_mut().zip(numbers(at, width)) {
        *byte = read(n);
    }
    u64::from_le_bytes(bytes)
}

fn write_bytes(at: usize, width: Width, value: u64, mut write: impl FnMut(usize, u8) -> VcpuSet) -> VcpuSet {
    let bytes = value.to_le_bytes().into_iter();
    numbers(at, width).zip(bytes).map(|(n, byte)| write(n, byte)).fold(VcpuSet::EMPTY, |all, set| all | set)
}

/// The interrupts that an access to their bytes concerns.
fn numbers(at: usize, width: Width) -> core::ops::Range<usize> {
    at..at + index(low_word(width.bytes()))
}
