//! What a GIC does, said as plainly as can be: a record for each interrupt, no list registers, no bitmaps, no
//! delay. It is slow, and knows nothing of how the real thing goes about it.

use super::*;

#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    enabled: bool,
    group1: bool,
    priority: u8,
    edge: bool,
    line: bool,
    latch: bool,
    /// GICv2: senders of an SGI that is pending.
    senders: [bool; MAX_VCPUS],
    /// The vCPU on which it is active.
    active_on: Option<usize>,
    /// A physical interrupt is active for it.
    linked: bool,
    route: u64,
}

impl Interrupt {
    fn is_pending(&self) -> bool {
        self.latch || self.senders.contains(&true) || self.line && !self.edge
    }

    /// Cuts the link when the interrupt is over.
    fn settle(&mut self) {
        self.linked &= self.latch || self.active_on.is_some();
    }
}

/// Which registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Distributor,
    Redistributor,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    version: Version,
    vcpus: usize,
    group_enabled: [bool; 2],
    private: Vec<Vec<Interrupt>>,
    shared: Vec<Interrupt>,
    asleep: Vec<bool>,
}

impl Model {
    pub(super) fn new(version: Version, vcpus: usize) -> Self {
        let private = |n| Interrupt { edge: n < 16, ..Interrupt::default() };
        Self {
            version,
            vcpus,
            group_enabled: [false; 2],
            private: vec![(0..32).map(private).collect(); vcpus],
            shared: vec![Interrupt::default(); 32],
            asleep: vec![true; vcpus],
        }
    }

    fn get(&self, vcpu: usize, intid: usize) -> &Interrupt {
        if intid < 32 { &self.private[vcpu][intid] } else { &self.shared[intid - 32] }
    }

    fn get_mut(&mut self, vcpu: usize, intid: usize) -> &mut Interrupt {
        if intid < 32 { &mut self.private[vcpu][intid] } else { &mut self.shared[intid - 32] }
    }

    fn has_senders(&self, intid: usize) -> bool {
        self.version == Version::V2 && intid < 16
    }

    fn target(&self, vcpu: usize, intid: usize) -> Option<usize> {
        let route = self.get(vcpu, intid).route;
        match self.version {
            _ if intid < 32 => Some(vcpu),
            Version::V2 if self.vcpus == 1 => Some(0),
            Version::V2 => (0..self.vcpus).find(|vcpu| route >> vcpu & 1 != 0),
            Version::V3 if route >> 31 & 1 != 0 => Some(0),
            Version::V3 => (0..self.vcpus).find(|vcpu| route == *vcpu as u64),
        }
    }

    fn is_deliverable(&self, vcpu: usize, intid: usize) -> bool {
        let interrupt = self.get(vcpu, intid);
        interrupt.is_pending()
            && interrupt.enabled
            && self.group_enabled[usize::from(interrupt.group1)]
            && interrupt.active_on.is_none()
            && self.target(vcpu, intid) == Some(vcpu)
    }

    /// The priority of the most urgent interrupt that a vCPU can acknowledge.
    pub(super) fn next(&self, vcpu: usize) -> Option<u8> {
        let deliverable = (0..64).filter(|intid| self.is_deliverable(vcpu, *intid));
        deliverable.map(|intid| self.get(vcpu, intid).priority).min()
    }

    pub(super) fn acknowledge(&mut self, vcpu: usize, intid: IntId, sender: u8) {
        let intid = index(intid);
        assert!(self.is_deliverable(vcpu, intid), "{intid} is not deliverable");
        let has_senders = self.has_senders(intid);
        let interrupt = self.get_mut(vcpu, intid);
        interrupt.active_on = Some(vcpu);
        interrupt.latch = false;
        if has_senders {
            let sender = core::mem::take(&mut interrupt.senders[usize::from(sender)]);
            assert!(sender, "no such sender");
        }
    }

    pub(super) fn deactivate(&mut self, vcpu: usize, intid: IntId) {
        let interrupt = self.get_mut(vcpu, index(intid));
        interrupt.active_on = None;
        interrupt.settle();
    }

    /// The most urgent of the interrupts that are active on a vCPU, but for some.
    pub(super) fn running(&self, vcpu: usize, except: &[IntId]) -> Option<IntId> {
        let active = |intid: &usize| self.get(vcpu, *intid).active_on == Some(vcpu);
        let intid = |intid| IntId::try_from(intid).unwrap();
        let running = (0..64).filter(active).filter(|n| !except.contains(&intid(*n)));
        running.min_by_key(|n| self.get(vcpu, *n).priority).map(intid)
    }

    pub(super) fn is_linked(&self, vcpu: usize, intid: IntId) -> bool {
        self.get(vcpu, index(intid)).linked
    }

    pub(super) fn set_line(&mut self, vcpu: usize, intid: IntId, high: bool) {
        let interrupt = self.get_mut(vcpu, index(intid));
        interrupt.latch |= interrupt.edge && high && !interrupt.line;
        interrupt.line = high;
    }

    pub(super) fn pulse(&mut self, intid: IntId) {
        self.get_mut(0, index(intid)).latch = true;
    }

    pub(super) fn inject_hardware(&mut self, vcpu: usize, intid: IntId) {
        let interrupt = self.get_mut(vcpu, index(intid));
        interrupt.linked = true;
        interrupt.latch = true;
    }

    pub(super) fn withdraw_hardware(&mut self, vcpu: usize, intid: IntId) {
        let interrupt = self.get_mut(vcpu, index(intid));
        if interrupt.linked {
            interrupt.latch = false;
            interrupt.settle();
        }
    }

    pub(super) fn send_sgi(&mut self, sender: usize, value: u64, group1: bool) {
        let affinity = (value >> 48 & 0xff, value >> 44 & 0xf, value >> 32 & 0xff, value >> 16 & 0xff);
        for vcpu in 0..self.vcpus {
            let everyone_else = value >> 40 & 1 != 0;
            let listed = affinity == (0, 0, 0, 0) && value >> vcpu & 1 != 0;
            let meant = if everyone_else { vcpu != sender } else { listed };
            let sgi = &mut self.private[vcpu][usize::from(low_byte(value >> 24) & 0xf)];
            sgi.latch |= self.version == Version::V3 && meant && sgi.group1 == group1;
        }
    }

    /// Whether the frame has registers for an interrupt.
    fn has(&self, frame: Frame, intid: usize) -> bool {
        match (self.version, frame) {
            (Version::V2, Frame::Distributor) => intid < 64,
            (Version::V2, Frame::Redistributor) => false,
            (Version::V3, Frame::Distributor) => (32..64).contains(&intid),
            (Version::V3, Frame::Redistributor) => intid < 32,
        }
    }

    /// Reads a 32-bit register.
    pub(super) fn read(&self, vcpu: usize, frame: Frame, offset: usize) -> u64 {
        let (v2, v3) = (self.version == Version::V2, self.version == Version::V3);
        let offset = match frame {
            Frame::Distributor => offset,
            Frame::Redistributor if v2 => return 0,
            Frame::Redistributor if offset < 0x1_0000 => return self.read_control_frame(vcpu, offset),
            Frame::Redistributor => match offset - 0x1_0000 {
                offset @ 0x80..0xd00 => offset,
                _ => return 0,
            },
        };
        match offset {
            0x000 => {
                let groups = u64::from(self.group_enabled[0]) | u64::from(self.group_enabled[1]) << 1;
                groups | if v3 { 0x50 } else { 0 }
            }
            0x004 if v2 => 1 | (self.vcpus as u64 - 1) << 5,
            0x004 => 1 | 9 << 19,
            0x008 => 0x5400_043b,
            0x080..0x100 => self.read_bits(vcpu, frame, offset, |interrupt| interrupt.group1),
            0x100..0x200 => self.read_bits(vcpu, frame, offset, |interrupt| interrupt.enabled),
            0x200..0x300 => self.read_bits(vcpu, frame, offset, Interrupt::is_pending),
            0x300..0x400 => self.read_bits(vcpu, frame, offset, |interrupt| interrupt.active_on.is_some()),
            0x400..0x800 => self.bytes(frame, offset - 0x400, |intid| self.get(vcpu, intid).priority),
            0x800..0xc00 if v2 => self.bytes(frame, offset - 0x800, |intid| match intid {
                _ if self.vcpus == 1 => 0,
                0..32 => 1 << vcpu,
                _ => low_byte(self.get(vcpu, intid).route),
            }),
            0xc00..0xd00 => {
                let first = (offset - 0xc00) * 4;
                let edge = |n: &usize| self.has(frame, first + n) && self.get(vcpu, first + n).edge;
                (0..16).filter(edge).map(|n| 2 << (2 * n)).sum()
            }
            0xf10..0xf30 if v2 => self.bytes(frame, (offset - 0xf10) % 16, |sgi| {
                let senders = self.private[vcpu][sgi].senders;
                (0..8).filter(|sender| senders[*sender]).map(|sender| 1 << sender).sum()
            }),
            0xfe8 if v2 => 0x20,
            0x6100..0x6200 if v3 && offset % 8 == 0 => self.shared[(offset - 0x6100) / 8].route,
            0xffe8 if v3 => 0x30,
            _ => 0,
        }
    }

    fn read_control_frame(&self, vcpu: usize, offset: usize) -> u64 {
        match offset {
            0x0004 => 0x5400_043b,
            0x0008 => (vcpu as u64) << 8 | u64::from(vcpu == self.vcpus - 1) << 4,
            0x000c => vcpu as u64,
            0x0014 => 6 * u64::from(self.asleep[vcpu]),
            0xffe8 => 0x30,
            _ => 0,
        }
    }

    fn read_bits(
        &self,
        vcpu: usize,
        frame: Frame,
        offset: usize,
        is_set: impl Fn(&Interrupt) -> bool,
    ) -> u64 {
        let first = offset % 0x80 * 8;
        let set = |n: &usize| self.has(frame, first + n) && is_set(self.get(vcpu, first + n));
        (0..32).filter(set).map(|n| 1 << n).sum()
    }

    fn bytes(&self, frame: Frame, first: usize, read: impl Fn(usize) -> u8) -> u64 {
        let there = (0..4).filter(|n| self.has(frame, first + n));
        there.map(|n| u64::from(read(first + n)) << (8 * n)).sum()
    }

    /// Writes a 32-bit register, or one byte where that is allowed.
    pub(super) fn write(&mut self, vcpu: usize, frame: Frame, offset: usize, width: Width, value: u64) {
        let (v2, v3) = (self.version == Version::V2, self.version == Version::V3);
        let offset = match frame {
            Frame::Distributor => offset,
            Frame::Redistributor if v2 => return,
            Frame::Redistributor if offset == 0x14 && width == Width::Word => {
                self.asleep[vcpu] = value & 2 != 0;
                return;
            }
            Frame::Redistributor if (0x1_0080..0x1_0d00).contains(&offset) => offset - 0x1_0000,
            Frame::Redistributor => return,
        };
        let byte_registers = 0x400..if v2 { 0xc00 } else { 0x800 };
        let byte_wise = byte_registers.contains(&offset) || v2 && (0xf10..0xf30).contains(&offset);
        if byte_wise {
            for n in 0..usize::try_from(width.bytes()).unwrap() {
                self.write_byte(vcpu, frame, offset + n, low_byte(value >> (8 * n)));
            }
            return;
        }
        if width != Width::Word {
            return;
        }
        match offset {
            0x000 => self.group_enabled = [value & 1 != 0, value & 2 != 0],
            0x080..0x400 => {
                let first = offset % 0x80 * 8;
                for n in (0..32).filter(|n| offset < 0x100 || value >> n & 1 != 0) {
                    if self.has(frame, first + n) {
                        self.write_bit(vcpu, first + n, offset & !0x7f, value >> n & 1 != 0);
                    }
                }
            }
            0xc00..0xd00 => {
                let first = (offset - 0xc00) * 4;
                for n in 0..16 {
                    if first + n >= 32 && self.has(frame, first + n) {
                        self.get_mut(vcpu, first + n).edge = value >> (2 * n + 1) & 1 != 0;
                    }
                }
            }
            0xf00 if v2 => self.send_v2_sgi(vcpu, value),
            0x6100..0x6200 if v3 && offset % 8 == 0 => {
                self.shared[(offset - 0x6100) / 8].route = value & 0x80ff_ffff;
            }
            _ => {}
        }
    }

    fn write_bit(&mut self, vcpu: usize, intid: usize, register: usize, value: bool) {
        let owner = self.target(vcpu, intid).unwrap_or(vcpu);
        let has_senders = self.has_senders(intid);
        let interrupt = self.get_mut(vcpu, intid);
        match register {
            0x080 => interrupt.group1 = value,
            0x100 => interrupt.enabled = true,
            0x180 => interrupt.enabled = false,
            0x200 if !has_senders => interrupt.latch = true,
            0x280 if !has_senders => interrupt.latch = false,
            0x300 => interrupt.active_on = interrupt.active_on.or(Some(owner)),
            0x380 => interrupt.active_on = None,
            _ => {}
        }
        interrupt.settle();
    }

    fn write_byte(&mut self, vcpu: usize, frame: Frame, offset: usize, value: u8) {
        let there = (0..self.vcpus).fold(0, |set, vcpu| set | 1 << vcpu);
        let several = self.vcpus > 1;
        match offset {
            0x400..0x800 if self.has(frame, offset - 0x400) => {
                self.get_mut(vcpu, offset - 0x400).priority = value & 0xf8;
            }
            0x820..0xc00 if several && self.has(frame, offset - 0x800) => {
                self.get_mut(vcpu, offset - 0x800).route = u64::from(value & there);
            }
            0xf10..0xf30 => {
                let senders = &mut self.private[vcpu][(offset - 0xf10) % 16].senders;
                for sender in (0..self.vcpus).filter(|sender| value >> sender & 1 != 0) {
                    senders[sender] = offset >= 0xf20;
                }
            }
            _ => {}
        }
    }

    fn send_v2_sgi(&mut self, sender: usize, value: u64) {
        for vcpu in 0..self.vcpus {
            let meant = match value >> 24 & 3 {
                0 => value >> (16 + vcpu) & 1 != 0,
                1 => vcpu != sender,
                2 => vcpu == sender,
                _ => false,
            };
            let sgi = usize::from(low_byte(value) & 0xf);
            self.private[vcpu][sgi].senders[sender] |= meant;
        }
    }
}
