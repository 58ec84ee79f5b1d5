//! Group 0x90: the board itself.

use super::{Errno, vms::require};
use crate::{
    raspberry_pi::{self, NoDevice},
    vm::Vm,
};
use tinyvmm_abi::{
    EINVAL, ENODEV, ENOSYS,
    board::{BOARD_LED, BOARD_TEMPERATURE, CAPABILITY_BOARD},
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
        BOARD_LED => light(argument),
        BOARD_TEMPERATURE => Ok(raspberry_pi::temperature()?.into()),
        _ => Err(Errno(ENOSYS)),
    }
}

fn light(argument: u64) -> Result<u64, Errno> {
    let on = match argument {
        0 => false,
        1 => true,
        _ => return Err(Errno(EINVAL)),
    };
    raspberry_pi::light(on)?;
    Ok(0)
}
