//! PSCI 1.1 (Arm DEN0022) and the SMC Calling Convention 1.1 (Arm DEN0028): how the guest of a board turns
//! its vCPUs and itself on and off.
//!
//! Everything is decided here, nothing is done: [`Action::of`] is a function of the call's registers
//! alone. What cannot be known from them (is there such a vCPU, is it on, is the entry in RAM) is the
//! caller's, who answers with a [`ReturnCode`].
//!
//! All power states are as shallow as WFI: a request for one that loses the vCPU's registers is downgraded to a
//! standby, as DEN0022 allows for CPU_SUSPEND, and comes back with [`ReturnCode::Success`].

use crate::word::low_word;

/// Version of PSCI: `major << 16 | minor`.
const PSCI_VERSION: i64 = 1 << 16 | 1;
/// Version of the SMC Calling Convention, in the same form.
const SMCCC_VERSION: i64 = 1 << 16 | 1;
/// What MIGRATE_INFO_TYPE tells: there is no trusted OS that would have to migrate.
const NO_TRUSTED_OS: i64 = 2;

/// Bit of a function identifier: arguments and result have 64 bits (DEN0028, table 2-1).
const SMC64: u32 = 1 << 30;

/// Function identifiers. Where there are two, this is the one with 32-bit arguments.
mod function {
    use super::SMC64;

    pub(super) const SMCCC_VERSION: u32 = 0x8000_0000;
    pub(super) const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
    pub(super) const PSCI_VERSION: u32 = 0x8400_0000;
    pub(super) const CPU_SUSPEND: u32 = 0x8400_0001;
    pub(super) const CPU_SUSPEND_64: u32 = CPU_SUSPEND | SMC64;
    pub(super) const CPU_OFF: u32 = 0x8400_0002;
    pub(super) const CPU_ON: u32 = 0x8400_0003;
    pub(super) const CPU_ON_64: u32 = CPU_ON | SMC64;
    pub(super) const AFFINITY_INFO: u32 = 0x8400_0004;
    pub(super) const AFFINITY_INFO_64: u32 = AFFINITY_INFO | SMC64;
    pub(super) const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    pub(super) const SYSTEM_OFF: u32 = 0x8400_0008;
    pub(super) const SYSTEM_RESET: u32 = 0x8400_0009;
    pub(super) const PSCI_FEATURES: u32 = 0x8400_000a;
    pub(super) const SYSTEM_RESET2: u32 = 0x8400_0012;
    pub(super) const SYSTEM_RESET2_64: u32 = SYSTEM_RESET2 | SMC64;
}

/// What a call returns (DEN0022, "Return error codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ReturnCode {
    /// It is done.
    Success = 0,
    /// There is no such function, or not for this.
    NotSupported = -1,
    /// An argument is none that the function takes.
    InvalidParameters = -2,
    /// It may not be done.
    Denied = -3,
    /// The vCPU is on.
    AlreadyOn = -4,
    /// The vCPU is about to be on.
    OnPending = -5,
    /// It went wrong.
    InternalFailure = -6,
    /// The entry is not in RAM.
    InvalidAddress = -9,
}

impl ReturnCode {
    /// As the guest gets it in `X0`.
    #[must_use]
    pub const fn value(self) -> i64 {
        self as i64
    }
}

/// What AFFINITY_INFO returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AffinityState {
    /// At least one of the vCPUs is on.
    On = 0,
    /// All are off.
    Off = 1,
    /// One is about to be on.
    OnPending = 2,
}

impl AffinityState {
    /// As the guest gets it in `X0`.
    #[must_use]
    pub const fn value(self) -> i64 {
        self as i64
    }
}

/// What is to be done for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing but to return this in `X0`.
    Return(i64),
    /// Start the vCPU `target`, if it is off.
    CpuOn {
        /// Its affinity: that of `MPIDR_EL1`.
        target: Affinity,
        /// Guest physical address of its first instruction.
        entry: u64,
        /// Its `X0`.
        context_id: u64,
    },
    /// Stop the calling vCPU. The call returns only to say that it is [denied](ReturnCode::Denied).
    CpuOff,
    /// Let the calling vCPU wait as with WFI, and then return [`ReturnCode::Success`].
    Suspend,
    /// Return the [`AffinityState`] of the vCPUs that are [in](AffinityGroup::contains) this group.
    AffinityInfo(AffinityGroup),
    /// End the VM.
    SystemOff,
    /// Start the VM anew.
    SystemReset,
}

impl Action {
    /// What is to be done for a call with these values in `X0` to `X3`.
    #[inline]
    #[must_use]
    pub fn of(registers: [u64; 4]) -> Self {
        let [id, a1, a2, a3] = registers;
        let id = low_word(id);
        let mask = if id & SMC64 == 0 { u64::from(u32::MAX) } else { u64::MAX };
        let (a1, a2, a3) = (a1 & mask, a2 & mask, a3 & mask);
        match id {
            function::PSCI_VERSION => Self::Return(PSCI_VERSION),
            function::PSCI_FEATURES => features(low_word(a1)).into(),
            function::CPU_ON | function::CPU_ON_64 => cpu_on(a1, a2, a3),
            function::CPU_OFF => Self::CpuOff,
            function::CPU_SUSPEND | function::CPU_SUSPEND_64 => suspend(low_word(a1)),
            function::AFFINITY_INFO | function::AFFINITY_INFO_64 => affinity_info(a1, low_word(a2)),
            function::MIGRATE_INFO_TYPE => Self::Return(NO_TRUSTED_OS),
            function::SYSTEM_OFF => Self::SystemOff,
            function::SYSTEM_RESET => Self::SystemReset,
            function::SYSTEM_RESET2 | function::SYSTEM_RESET2_64 => reset(low_word(a1)),
            function::SMCCC_VERSION => Self::Return(SMCCC_VERSION),
            function::SMCCC_ARCH_FEATURES => arch_features(low_word(a1)).into(),
            _ => ReturnCode::NotSupported.into(),
        }
    }
}

impl From<ReturnCode> for Action {
    fn from(code: ReturnCode) -> Self {
        Self::Return(code.value())
    }
}

/// PSCI_FEATURES. No function has a feature that would have to be told: CPU_SUSPEND takes the original format
/// of its argument, and coordinates by platform.
const fn features(id: u32) -> ReturnCode {
    use function::{
        AFFINITY_INFO, AFFINITY_INFO_64, CPU_OFF, CPU_ON, CPU_ON_64, CPU_SUSPEND, CPU_SUSPEND_64,
        MIGRATE_INFO_TYPE, PSCI_FEATURES, PSCI_VERSION, SMCCC_VERSION, SYSTEM_OFF, SYSTEM_RESET,
        SYSTEM_RESET2, SYSTEM_RESET2_64,
    };
    match id {
        PSCI_VERSION | PSCI_FEATURES | CPU_ON | CPU_ON_64 | CPU_OFF | CPU_SUSPEND | CPU_SUSPEND_64
        | AFFINITY_INFO | AFFINITY_INFO_64 | MIGRATE_INFO_TYPE | SYSTEM_OFF | SYSTEM_RESET
        | SYSTEM_RESET2 | SYSTEM_RESET2_64 | SMCCC_VERSION => ReturnCode::Success,
        _ => ReturnCode::NotSupported,
    }
}

/// SMCCC_ARCH_FEATURES. No workaround for a processor's errata can be called: none is there for guests.
const fn arch_features(id: u32) -> ReturnCode {
    match id {
        function::SMCCC_VERSION | function::SMCCC_ARCH_FEATURES => ReturnCode::Success,
        _ => ReturnCode::NotSupported,
    }
}

fn cpu_on(target: u64, entry: u64, context_id: u64) -> Action {
    match Affinity::new(target) {
        Some(target) => Action::CpuOn { target, entry, context_id },
        None => ReturnCode::InvalidParameters.into(),
    }
}

/// CPU_SUSPEND. In the original format of its argument, some bits must be zero.
fn suspend(power_state: u32) -> Action {
    const RESERVED: u32 = 0xfcfe_0000;
    if power_state & RESERVED == 0 { Action::Suspend } else { ReturnCode::InvalidParameters.into() }
}

fn affinity_info(target: u64, lowest_level: u32) -> Action {
    match AffinityGroup::new(target, lowest_level) {
        Some(group) => Action::AffinityInfo(group),
        None => ReturnCode::InvalidParameters.into(),
    }
}

/// SYSTEM_RESET2. The only architectural type, a warm reset, is as good as any other here.
fn reset(reset_type: u32) -> Action {
    const VENDOR_SPECIFIC: u32 = 1 << 31;
    match reset_type {
        0 => Action::SystemReset,
        VENDOR_SPECIFIC.. => ReturnCode::NotSupported.into(),
        _ => ReturnCode::InvalidParameters.into(),
    }
}

/// The affinity fields of a vCPU's `MPIDR_EL1`, where they are in it; all else is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(u64);

impl Affinity {
    /// The fields `Aff3` and `Aff2` to `Aff0`.
    const FIELDS: u64 = 0xff_00ff_ffff;

    /// The affinity in a value that has nothing else.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value & !Self::FIELDS == 0 { Some(Self(value)) } else { None }
    }

    /// The affinity in a value of `MPIDR_EL1`.
    #[must_use]
    pub const fn of_mpidr(mpidr: u64) -> Self {
        Self(mpidr & Self::FIELDS)
    }
}

/// All vCPUs whose affinity is the same from a level upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AffinityGroup {
    value: u64,
    mask: u64,
}

impl AffinityGroup {
    /// The group of `affinity`, of which the levels below `lowest_level` are ignored.
    fn new(affinity: u64, lowest_level: u32) -> Option<Self> {
        let mask = match lowest_level {
            0 => Affinity::FIELDS,
            1 => Affinity::FIELDS & !0xff,
            2 => Affinity::FIELDS & !0xffff,
            3 => Affinity::FIELDS & !0xff_ffff,
            _ => return None,
        };
        Affinity::new(affinity).map(|Affinity(value)| Self { value: value & mask, mask })
    }

    /// Whether the vCPU with this affinity is in the group.
    #[must_use]
    pub const fn contains(self, Affinity(affinity): Affinity) -> bool {
        affinity & self.mask == self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOT_SUPPORTED: Action = Action::Return(-1);
    const INVALID_PARAMETERS: Action = Action::Return(-2);

    fn call(id: u64, a1: u64, a2: u64, a3: u64) -> Action {
        Action::of([id, a1, a2, a3])
    }

    #[test]
    fn versions() {
        assert_eq!(call(0x8400_0000, 0, 0, 0), Action::Return(0x1_0001));
        assert_eq!(call(0x8000_0000, 0, 0, 0), Action::Return(0x1_0001));
        assert_eq!(call(0xffff_ffff_8400_0000, 0, 0, 0), Action::Return(0x1_0001), "the identifier is W0");
        assert_eq!(call(0x8400_0006, 0, 0, 0), Action::Return(2));
    }

    #[test]
    fn features_are_the_functions_that_are_there() {
        for low in (0..0x20).chain([0x1_0000]) {
            for id in [0x8400_0000 | low, 0xc400_0000 | low] {
                let argument = if low == 0xa { id } else { 0 };
                let there = call(id, argument, 0, 0) != NOT_SUPPORTED;
                assert_eq!(
                    call(0x8400_000a, id, 0, 0),
                    Action::Return(if there { 0 } else { -1 }),
                    "{id:#x}"
                );
            }
        }
        assert_eq!(call(0x8400_000a, 0x8000_0000, 0, 0), Action::Return(0), "SMCCC_VERSION");
        assert_eq!(call(0x8000_0001, 0x8000_0001, 0, 0), Action::Return(0));
        for workaround in [0x8000_8000, 0x8000_7fff, 0x8000_3fff, 0x8000_0002] {
            assert_eq!(call(0x8000_0001, workaround, 0, 0), NOT_SUPPORTED);
            assert_eq!(call(workaround, 0, 0, 0), NOT_SUPPORTED);
        }
    }

    #[test]
    fn cpu_on_has_32_or_64_bit_arguments() {
        let on = |entry, context_id| Action::CpuOn { target: Affinity(3), entry, context_id };
        assert_eq!(call(0xc400_0003, 3, 0x1_4008_0000, u64::MAX), on(0x1_4008_0000, u64::MAX));
        let garbage = 0xdead_beef << 32;
        assert_eq!(call(0x8400_0003, garbage | 3, garbage | 0x4008_0000, garbage | 9), on(0x4008_0000, 9));
        assert_eq!(
            call(0xc400_0003, 1 << 31 | 3, 0, 0),
            INVALID_PARAMETERS,
            "MPIDR_EL1 bit 31 is none of it"
        );
        assert_eq!(call(0xc400_0003, 1 << 40, 0, 0), INVALID_PARAMETERS);
    }

    #[test]
    fn affinity_groups() {
        let group = |target, level| match call(0xc400_0004, target, level, 0) {
            Action::AffinityInfo(group) => Some(group),
            action => {
                assert_eq!(action, INVALID_PARAMETERS);
                None
            }
        };
        let vcpu = |index| Affinity::of_mpidr(1_u64 << 31 | index);
        assert!(group(2, 0).unwrap().contains(vcpu(2)) && !group(2, 0).unwrap().contains(vcpu(3)));
        for level in 1..=3 {
            assert!(group(2, level).unwrap().contains(vcpu(7)));
        }
        assert!(!group(0x100, 1).unwrap().contains(vcpu(0)) && group(0x100, 2).unwrap().contains(vcpu(0)));
        assert_eq!(group(0, 4), None);
        assert_eq!(group(1 << 24, 0), None);
    }

    #[test]
    fn power() {
        assert_eq!(call(0x8400_0002, 0, 0, 0), Action::CpuOff);
        assert_eq!(call(0x8400_0008, 0, 0, 0), Action::SystemOff);
        assert_eq!(call(0x8400_0009, 0, 0, 0), Action::SystemReset);
        assert_eq!(call(0xc400_0012, 0, 0, 0), Action::SystemReset);
        assert_eq!(call(0xc400_0012, 1, 0, 0), INVALID_PARAMETERS);
        assert_eq!(call(0xc400_0012, 1 << 31, 0, 0), NOT_SUPPORTED);
        assert_eq!(call(0x8400_0001, 0x0001_ffff, 0, 0), Action::Suspend, "a deep state");
        assert_eq!(call(0xc400_0001, 0, 0, 0), Action::Suspend);
        assert_eq!(call(0xc400_0001, 1 << 31, 0, 0), INVALID_PARAMETERS);
    }

    #[test]
    fn functions_of_one_width_have_no_other() {
        for id in [0xc400_0000_u64, 0xc400_0002, 0xc400_0008, 0xc400_0009, 0xc400_000a, 0xc000_0000] {
            assert_eq!(call(id, 0, 0, 0), NOT_SUPPORTED, "{id:#x}");
        }
        for id in [0x8400_0005_u64, 0x8400_0007, 0x8600_ff01, 0x8000_0002, 0x0400_0000] {
            assert_eq!(call(id, 0, 0, 0), NOT_SUPPORTED, "{id:#x}");
        }
    }

    proptest! {
        /// No call does anything but what its identifier says.
        #[test]
        fn wild_calls_do_no_harm(id in prop_oneof![any::<u32>(), 0x8400_0000..0x8400_0020_u32, 0xc400_0000..0xc400_0020_u32], rest: [u64; 3]) {
            let [a1, a2, a3] = rest;
            match call(u64::from(id), a1, a2, a3) {
                Action::Return(value) => prop_assert!((-9..=0x1_0001).contains(&value)),
                Action::CpuOn { target: Affinity(target), .. } => prop_assert_eq!(target & !Affinity::FIELDS, 0),
                Action::AffinityInfo(group) => prop_assert_eq!(group.value & !group.mask, 0),
                _ => prop_assert!(id & 0x8400_0000 == 0x8400_0000),
            }
        }
    }
}
