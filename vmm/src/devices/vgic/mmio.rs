//! What the registers read, and what writes to them do.

use super::{
    PRIVATE, Place, Scope, VcpuSet, Version, Vgic,
    bank::{Bits, Groups},
    bits, index, low_byte,
    registers::{self, Entry, REDISTRIBUTOR, Register, V2_DISTRIBUTOR, V3_DISTRIBUTOR},
};
use crate::{devices::Width, word::low_word};

/// `IIDR`: product `T`, of Arm (JEP106 0x43b), as the CPU interface beside it usually is.
const IMPLEMENTER: u32 = 0x54 << 24 | 0x43b;
/// `GICD_CTLR`: enables of the two groups.
const ENABLE_GROUP0: u32 = 1 << 0;
const ENABLE_GROUP1: u32 = 1 << 1;
/// `GICD_CTLR` of a GICv3: affinity routing enabled, security disabled; both for good.
const V3_CONTROL: u32 = 1 << 4 | 1 << 6;
/// `GICD_TYPER`: so many times 32 interrupts, less one.
const LINES: u32 = 1;
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
        let is_there = self.version == Version::V3 && vcpu < self.private.len();
        if is_there { &REDISTRIBUTOR } else { &[] }
    }

    fn read(&self, map: &[Entry], vcpu: usize, offset: u64, width: Width) -> u64 {
        let Some((register, at)) = registers::find(map, offset, width) else { return 0 };
        match register {
            Register::Control => u64::from(self.control()),
            Register::Type => u64::from(self.distributor_type()),
            Register::Implementer => u64::from(IMPLEMENTER),
            Register::Revision if self.version == Version::V3 => 0x30,
            Register::Revision => 0x20,
            Register::RedistributorType => part(self.redistributor_type(vcpu), at, width),
            Register::Waker if self.private[vcpu].asleep => u64::from(PROCESSOR_SLEEP | CHILDREN_ASLEEP),
            Register::Waker => 0,
            _ => self.read_interrupts(register, at, vcpu, width),
        }
    }

    /// Reads a register that has a field for each of several interrupts.
    #[inline(never)]
    fn read_interrupts(&self, register: Register, at: usize, vcpu: usize, width: Width) -> u64 {
        match register {
            Register::Bits(bits) => self.read_bits(vcpu, Word::at(at * 8), bits),
            Register::Priority => read_bytes(at, width, |n| self.priority(vcpu, Place::at(n))),
            Register::Targets => read_bytes(at, width, |n| self.targets(vcpu, n)),
            Register::Configuration => spread(self.edges(vcpu, Word::at(at * 4))),
            Register::ClearSources | Register::SetSources => {
                read_bytes(at, width, |n| self.pending_sources(vcpu, n).bits())
            }
            Register::Route => part(u64::from(self.route[spi(at / 8)]), at, width),
            _ => 0,
        }
    }

    fn write(&mut self, map: &[Entry], vcpu: usize, offset: u64, width: Width, value: u64) -> VcpuSet {
        let Some((register, at)) = registers::find(map, offset, width) else { return VcpuSet::EMPTY };
        let word = low_word(value);
        match register {
            Register::Control => self.set_control(word),
            Register::Bits(bits) => {
                let Word { scope, shift } = Word::at(at * 8);
                let mask = self.writable(scope, bits) << shift;
                self.write_bits(vcpu, scope, bits, u64::from(word) << shift, mask)
            }
            Register::Priority => write_bytes(at, width, value, |n, byte| self.set_priority(vcpu, n, byte)),
            Register::Targets => write_bytes(at, width, value, |n, byte| self.set_targets(n, byte)),
            Register::Configuration => self.set_configuration(vcpu, Word::at(at * 4), value),
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
        let Groups { group0, group1 } = self.shared.groups();
        fixed | low_word(group0) & ENABLE_GROUP0 | low_word(group1) & ENABLE_GROUP1
    }

    fn set_control(&mut self, value: u32) -> VcpuSet {
        let mask = |enable| if value & enable != 0 { u64::MAX } else { 0 };
        let groups = Groups { group0: mask(ENABLE_GROUP0), group1: mask(ENABLE_GROUP1) };
        if groups == self.shared.groups() {
            return VcpuSet::EMPTY;
        }
        self.shared.set_groups(groups);
        self.private.iter_mut().for_each(|private| private.bank.set_groups(groups));
        self.all()
    }

    fn distributor_type(&self) -> u32 {
        match self.version {
            Version::V2 => LINES | (u32::from(self.all().bits()).count_ones() - 1) << 5,
            Version::V3 => LINES | ID_BITS,
        }
    }

    fn redistributor_type(&self, vcpu: usize) -> u64 {
        let last = vcpu + 1 == self.private.len();
        let number = u64::from(VcpuSet::one(vcpu).bits().trailing_zeros());
        number << 32 | number << 8 | u64::from(last) << 4
    }

    fn read_bits(&self, vcpu: usize, word: Word, register: Bits) -> u64 {
        u64::from(low_word(self.bank(vcpu, word.scope).read(register) >> word.shift))
    }

    /// The bits of a register that can be written: the pending state of a GICv2's SGIs has other registers.
    fn writable(&self, scope: Scope, register: Bits) -> u64 {
        let pending = matches!(register, Bits::SetPending | Bits::ClearPending);
        let sgis = self.version == Version::V2 && scope == Scope::Private && pending;
        if sgis { 0xffff_0000 } else { 0xffff_ffff }
    }

    /// Writes the part of a register that `mask` says.
    pub(super) fn write_bits(
        &mut self,
        vcpu: usize,
        scope: Scope,
        register: Bits,
        value: u64,
        mask: u64,
    ) -> VcpuSet {
        let changed = self.bank_mut(vcpu, scope).write(register, value, mask);
        if scope == Scope::Shared && matches!(register, Bits::SetActive | Bits::ClearActive) {
            self.assign_active(vcpu);
        }
        self.concerned(vcpu, scope, changed)
    }

    /// Gives the SPIs that are active, and belong to none, to the vCPU to which they are routed, or else to
    /// `vcpu`; and takes them from who had them if they are not active any more.
    fn assign_active(&mut self, vcpu: usize) {
        let mut new = self.shared.active;
        for private in &mut self.private {
            private.taken &= self.shared.taken();
            new &= !private.taken;
        }
        for spi in bits(new) {
            let owner = self.target(spi).unwrap_or(vcpu);
            self.private[owner].taken |= 1 << spi;
        }
    }

    fn set_priority(&mut self, vcpu: usize, n: usize, priority: u8) -> VcpuSet {
        let place = Place::at(n);
        let bank = self.bank_mut(vcpu, place.scope);
        bank.set_priority(place.n, priority);
        let changed = place.bit() & bank.offered();
        self.concerned(vcpu, place.scope, changed)
    }

    fn edges(&self, vcpu: usize, word: Word) -> u64 {
        self.bank(vcpu, word.scope).edge >> word.shift
    }

    /// The type of SPIs; that of SGIs and PPIs is fixed.
    fn set_configuration(&mut self, vcpu: usize, word: Word, value: u64) -> VcpuSet {
        if word.scope == Scope::Private {
            return VcpuSet::EMPTY;
        }
        let edges = self.shared.edge & !(0xffff << word.shift) | gather(value) << word.shift;
        let changed = self.shared.set_edge(edges);
        self.concerned(vcpu, Scope::Shared, changed)
    }

    /// `GICD_ITARGETSR`, of which there is nothing when there is but one vCPU (IHI 0048B, 4.3.12).
    fn targets(&self, vcpu: usize, n: usize) -> u8 {
        match n.checked_sub(PRIVATE) {
            _ if self.private.len() == 1 => 0,
            None => VcpuSet::one(vcpu).bits(),
            Some(spi) => low_byte(u64::from(self.route[spi])),
        }
    }

    fn set_targets(&mut self, n: usize, targets: u8) -> VcpuSet {
        match n.checked_sub(PRIVATE) {
            Some(spi) if self.private.len() > 1 => {
                self.set_route(spi, u32::from(targets & self.all().bits()))
            }
            _ => VcpuSet::EMPTY,
        }
    }

    /// Routes an SPI. Both the old and the new vCPU look again if it concerns them.
    fn set_route(&mut self, spi: usize, route: u32) -> VcpuSet {
        let moving = 1 << spi & self.shared.offered();
        let before = self.concerned(0, Scope::Shared, moving);
        self.route[spi] = route;
        self.apply_route(spi);
        before | self.concerned(0, Scope::Shared, moving)
    }

    /// Notes to whom an SPI goes.
    pub(super) fn apply_route(&mut self, spi: usize) {
        let target = self.target(spi);
        for (vcpu, private) in self.private.iter_mut().enumerate() {
            private.routed = private.routed & !(1 << spi) | u64::from(target == Some(vcpu)) << spi;
        }
    }

    fn target(&self, spi: usize) -> Option<usize> {
        let route = self.route[spi];
        match self.version {
            Version::V2 if self.private.len() == 1 => Some(0),
            Version::V2 => bits(u64::from(route)).next(),
            Version::V3 if route & ROUTING_MODE != 0 => Some(0),
            Version::V3 => Some(index(route)).filter(|vcpu| *vcpu < self.private.len()),
        }
    }
}

/// The index of an SPI among the SPIs.
const fn spi(n: usize) -> usize {
    n - PRIVATE
}

/// Where a register has the bits of its interrupts.
#[derive(Clone, Copy)]
struct Word {
    scope: Scope,
    shift: usize,
}

impl Word {
    /// The register whose first interrupt is this.
    const fn at(intid: usize) -> Self {
        let Place { scope, n } = Place::at(intid);
        Self { scope, shift: n }
    }
}

/// The low 16 bits, as the upper bits of 16 pairs.
fn spread(edges: u64) -> u64 {
    bits(edges & 0xffff).map(|n| 0b10 << (2 * n)).sum()
}

/// The upper bits of 16 pairs.
fn gather(pairs: u64) -> u64 {
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
