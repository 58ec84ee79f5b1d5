//! Finds the board's block devices and sets them up, each when it is first wanted: no boot takes longer for a device
//! that no VM has.

use super::{
    Device,
    assignment::OpenError,
    sd::{CardError, SdCard, Sdhci},
    virtio::VirtioDisk,
};
use crate::{
    arch::mmu::{self, Kind},
    bundle::manifest::DeviceName,
    memory::heap::FRAMES,
    platform::Platform,
    virtio_bus,
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;
use spin::{Mutex, Once};

type Opened = Result<&'static Device, OpenError>;

/// SD hosts that the board may have.
type SdHosts = [Option<Range<u64>>; 2];

static SD_HOSTS: Once<SdHosts> = Once::new();

/// The devices that were wanted so far.
static DEVICES: Mutex<Vec<(DeviceName, Opened)>> = Mutex::new(Vec::new());

/// Remembers where the board may have SD cards.
pub fn init(platform: &Platform<'_>) {
    SD_HOSTS.call_once(|| platform.sd_hosts.clone());
}

/// The device of this name. What has failed once is not tried again.
pub fn open(name: DeviceName) -> Opened {
    let mut devices = DEVICES.lock();
    if let Some((_, opened)) = devices.iter().find(|(known, _)| *known == name) {
        return *opened;
    }
    let opened = set_up(name);
    devices.push((name, opened));
    opened
}

fn set_up(name: DeviceName) -> Opened {
    let device = match name {
        DeviceName::Sd => {
            Device::new(name, Box::new(sd_card(SD_HOSTS.get().ok_or(OpenError::Missing)?)?), &FRAMES)
        }
        DeviceName::Virtio(number) => {
            let slot =
                virtio_bus::find(virtio_bus::Kind::Block, usize::from(number)).ok_or(OpenError::Missing)?;
            // SAFETY: used here alone: each number is another slot, and is opened once.
            let disk = unsafe { VirtioDisk::open(slot) }.ok_or(OpenError::Broken)?;
            Device::new(name, Box::new(disk), &FRAMES)
        }
    };
    device.map(|device| &*Box::leak(Box::new(device))).map_err(OpenError::Frames)
}

/// The card of the first SD host that has one.
fn sd_card(hosts: &SdHosts) -> Result<SdCard<Sdhci>, OpenError> {
    let mut error = OpenError::Missing;
    for registers in hosts.iter().flatten() {
        map(registers)?;
        // SAFETY: just mapped, and used here alone.
        match unsafe { Sdhci::open(registers) }.and_then(SdCard::start) {
            Ok(card) => return Ok(card),
            // Whatever another host said is more.
            Err(CardError::NoCard) if error != OpenError::Missing => {}
            Err(reason) => error = OpenError::Card(reason),
        }
    }
    Err(error)
}

fn map(registers: &Range<u64>) -> Result<(), OpenError> {
    mmu::map(registers.clone(), Kind::Device).map_err(|_| OpenError::Broken)
}
