//! Finds the board's block devices and sets them up, each when it is first wanted: no boot takes longer for a device
//! that no VM has.

use super::{
    Device,
    assignment::OpenError,
    sd::{CardError, SdCard, Sdhci},
    virtio::{self, VirtioDisk},
};
use crate::{
    arch::mmu::{self, Kind},
    bundle::manifest::DeviceName,
    memory::{heap::FRAMES, page_table::PAGE_SIZE},
    platform::{MAX_VIRTIO_SLOTS, Platform},
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;
use spin::{Mutex, Once};

type Opened = Result<&'static Device, OpenError>;

/// Where the board may have block devices.
struct Places {
    sd_hosts: [Option<Range<u64>>; 2],
    virtio_slots: heapless::Vec<Range<u64>, MAX_VIRTIO_SLOTS>,
}

static PLACES: Once<Places> = Once::new();

/// The devices that were wanted so far.
static DEVICES: Mutex<Vec<(DeviceName, Opened)>> = Mutex::new(Vec::new());

/// Remembers where the board may have block devices.
pub fn init(platform: &Platform<'_>) {
    let (sd_hosts, virtio_slots) = (platform.sd_hosts.clone(), platform.virtio_slots.clone());
    PLACES.call_once(|| Places { sd_hosts, virtio_slots });
}

/// The device of this name. What has failed once is not tried again.
pub fn open(name: DeviceName) -> Opened {
    let mut devices = DEVICES.lock();
    if let Some((_, opened)) = devices.iter().find(|(known, _)| *known == name) {
        return *opened;
    }
    let opened = PLACES.get().map_or(Err(OpenError::Missing), |places| set_up(places, name));
    devices.push((name, opened));
    opened
}

fn set_up(places: &Places, name: DeviceName) -> Opened {
    let device = match name {
        DeviceName::Sd => Device::new(name, Box::new(sd_card(places)?), &FRAMES),
        DeviceName::Virtio(number) => {
            let slot = virtio_slot(places, number).ok_or(OpenError::Missing)?;
            // SAFETY: mapped, and used here alone: each number is another slot, and is opened once.
            let disk = unsafe { VirtioDisk::open(&slot) }.ok_or(OpenError::Broken)?;
            Device::new(name, Box::new(disk), &FRAMES)
        }
    };
    device.map(|device| &*Box::leak(Box::new(device))).map_err(OpenError::Frames)
}

/// The card of the first SD host that has one.
fn sd_card(places: &Places) -> Result<SdCard<Sdhci>, OpenError> {
    let mut error = OpenError::Missing;
    for registers in places.sd_hosts.iter().flatten() {
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

/// The slot of the virtio bus that has block device `number`. QEMU fills the slots from the last one of the device tree on,
/// so that they are counted as on its command line.
fn virtio_slot(places: &Places, number: u8) -> Option<Range<u64>> {
    /// Whether the bus is mapped.
    static MAPPED: Once<Result<(), OpenError>> = Once::new();
    let slots = &places.virtio_slots;
    MAPPED.call_once(|| map_all(slots)).ok()?;
    // SAFETY: just mapped.
    let mut disks = slots.iter().rev().filter(|slot| unsafe { virtio::is_block_device(slot) });
    disks.nth(usize::from(number)).cloned()
}

/// Maps slots, of which several may be in a page.
fn map_all(slots: &[Range<u64>]) -> Result<(), OpenError> {
    let mut slots: Vec<_> = slots.to_vec();
    slots.sort_by_key(|slot| slot.start);
    let mut mapped = 0;
    for slot in slots.into_iter().filter(|slot| !slot.is_empty()) {
        let rest = slot.start.max(mapped)..slot.end;
        if !rest.is_empty() {
            map(&rest)?;
            mapped = rest.end.next_multiple_of(PAGE_SIZE);
        }
    }
    Ok(())
}

fn map(registers: &Range<u64>) -> Result<(), OpenError> {
    mmu::map(registers.clone(), Kind::Device).map_err(|_| OpenError::Broken)
}
