//! Group 0x90: the board itself.

use super::{Errno, vms::require};
use crate::{
    raspberry_pi::{self, NoDevice},
    vm::{Vm, fleet},
};
use tinyvmm_abi::{
    EINVAL, ENODEV, ENOSYS,
    board::{BOARD_LED, BOARD_POWER, BOARD_TEMPERATURE, CAPABILITY_BOARD},
};

impl From<NoDevice> for Errno {
    fn from(_: NoDevice) -> Self {
        Self(ENODEV)
    }
}

/// Carries out a call of the group.
#[inline(never)]
pub(super) fn call(vm: &Vm, number: u64, argument: u64) -> Result<u64, Errno> {
    require(vm, Some(CAPABILITY_BOARD))?;
    match number {
        BOARD_LED => raspberry_pi::light(switch(argument)?).map(|()| 0).map_err(Errno::from),
        BOARD_POWER => {
            fleet::leave(switch(argument)?);
            Ok(0)
        }
        BOARD_TEMPERATURE => Ok(raspberry_pi::temperature()?.into()),
        _ => Err(Errno(ENOSYS)),
    }
}

/// An argument that is one of two.
fn switch(argument: u64) -> Result<bool, Errno> {
    match argument {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Errno(EINVAL)),
    }
}
