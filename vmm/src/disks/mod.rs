//! Disks: the board's block devices, and the parts of them that VMs have; and files of the bundle that VMs take for disks.
//!
//! A request to a device is carried out by the core of the vCPU that makes it, which polls the device under the device's lock. The
//! other cores go on; what else this core has to do waits. So no request has more than [`SECTORS_MAX`] sectors, and a
//! device that does not answer within its driver's limit is given up: from then on every request fails at once.

pub mod assignment;
mod overlay;
mod partition;
#[cfg(target_os = "none")]
mod probe;
pub mod sd;
#[cfg(target_os = "none")]
mod virtio;

pub use assignment::assign;
pub use overlay::Overlay;
#[cfg(target_os = "none")]
pub use probe::{init, open};

use crate::{
    arch::timer,
    bundle::manifest::DeviceName,
    memory::frames::{FrameAllocator, FrameBlock, OutOfFrames},
};
use alloc::{boxed::Box, sync::Arc};
use core::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use spin::Mutex;
use tinyvmm_abi::disks::{SECTOR_SIZE, SECTORS_MAX};

/// A driver of a block device. Buffers are aligned to pages, and have whole sectors, at least one and at most
/// [`SECTORS_MAX`], all of them on the device.
pub trait BlockDevice: Send {
    /// Number of sectors.
    fn sectors(&self) -> u64;
    /// Whether it refuses to be written.
    fn is_read_only(&self) -> bool;
    /// Reads from `sector` on.
    fn read(&mut self, sector: u64, buffer: &mut [u8]) -> Result<(), Error>;
    /// Writes from `sector` on.
    fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), Error>;
    /// Has the device keep for good what was written.
    fn flush(&mut self) -> Result<(), Error>;
}

/// Why a request has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The device says that it cannot.
    Failed,
    /// The device does not answer, and is given up.
    Gone,
    /// The device is read-only.
    ReadOnly,
    /// There is no memory for what is written.
    Full,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the device reports an error",
            Self::Gone => "the device does not answer",
            Self::ReadOnly => "the device is read-only",
            Self::Full => "there is no memory for what is written",
        })
    }
}

/// A block device of the board.
pub struct Device {
    name: DeviceName,
    sectors: u64,
    is_read_only: bool,
    parts: Mutex<Parts>,
    /// When a failure was logged last, in ticks. 0: never.
    complained: AtomicU64,
}

/// What only one core uses at a time.
struct Parts {
    /// Until it is given up.
    driver: Option<Box<dyn BlockDevice>>,
    /// Where the device's data is on its way: drivers have neither to know guests' memory nor to trust it.
    buffer: FrameBlock,
}

impl Device {
    /// A device that its driver has set up.
    pub fn new(
        name: DeviceName,
        driver: Box<dyn BlockDevice>,
        frames: &'static FrameAllocator,
    ) -> Result<Self, OutOfFrames> {
        let buffer = FrameBlock::zeroed(frames, SECTORS_MAX * SECTOR_SIZE)?;
        let (sectors, is_read_only) = (driver.sectors(), driver.is_read_only());
        let parts = Mutex::new(Parts { driver: Some(driver), buffer });
        Ok(Self { name, sectors, is_read_only, parts, complained: AtomicU64::new(0) })
    }

    /// Uses the driver and as much of the buffer as `sectors` take, unless the device was given up.
    fn request(
        &self,
        sectors: u64,
        action: impl FnOnce(&mut dyn BlockDevice, &mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut parts = self.parts.lock();
        let Parts { driver, buffer } = &mut *parts;
        let length = usize::try_from(sectors * SECTOR_SIZE).unwrap_or(0);
        let result = match driver {
            Some(driver) => action(driver.as_mut(), &mut buffer.as_mut_slice()[..length]),
            None => Err(Error::Gone),
        };
        if result == Err(Error::Gone) {
            *driver = None;
        }
        result
    }

    /// Whether a failure is to be logged: at most one a second, for guests may try again and again.
    fn may_complain(&self) -> bool {
        let (now, last) = (timer::now(), self.complained.load(Ordering::Relaxed));
        let due = last == 0 || now.saturating_sub(last) >= timer::frequency();
        due && self.complained.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A disk, as a VM has it.
#[derive(Clone)]
pub struct Disk {
    backing: Backing,
    sectors: u64,
}

/// Where the sectors of a disk are.
#[derive(Clone)]
enum Backing {
    /// On a device, from a sector on.
    Device(&'static Device, u64),
    /// In a file of the bundle, which nobody can write.
    File(&'static [u8]),
    /// In the same, but for what was written.
    Overlay(Arc<Mutex<Overlay>>),
}

/// Sectors that are known to be on a disk, and not too many for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    sector: u64,
    count: u64,
}

impl Extent {
    /// Number of sectors.
    #[must_use]
    pub fn sectors(self) -> u64 {
        self.count
    }

    /// Where its bytes are in a disk in memory.
    fn bytes(self) -> Range<usize> {
        let byte = |sector: u64| usize::try_from(sector * SECTOR_SIZE).unwrap_or(usize::MAX);
        byte(self.sector)..byte(self.sector + self.count)
    }
}

/// A guest named sectors that its disk does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange;

impl Disk {
    /// All of a device.
    #[must_use]
    pub fn whole(device: &'static Device) -> Self {
        Self { backing: Backing::Device(device, 0), sectors: device.sectors }
    }

    /// A part of a device; `None` if the device ends before it.
    #[must_use]
    pub fn part(device: &'static Device, first: u64, sectors: u64) -> Option<Self> {
        let end = first.checked_add(sectors)?;
        (end <= device.sectors).then_some(Self { backing: Backing::Device(device, first), sectors })
    }

    /// A file, whose size is a multiple of [`SECTOR_SIZE`].
    #[must_use]
    pub fn file(content: &'static [u8]) -> Self {
        Self { backing: Backing::File(content), sectors: content.len() as u64 / SECTOR_SIZE }
    }

    /// A file that can be written, though it does not change.
    #[must_use]
    pub fn overlay(overlay: Overlay) -> Self {
        let sectors = overlay.sectors();
        Self { backing: Backing::Overlay(Arc::new(Mutex::new(overlay))), sectors }
    }

    /// Number of sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether it refuses to be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match &self.backing {
            Backing::Device(device, _) => device.is_read_only,
            Backing::File(_) => true,
            Backing::Overlay(_) => false,
        }
    }

    /// Whether no request waits for a device.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        !matches!(self.backing, Backing::Device(..))
    }

    /// Sectors that a guest named, all of which must be there: as many of them as one request takes.
    pub fn check(&self, first: u64, count: u64) -> Result<Extent, OutOfRange> {
        match first.checked_add(count) {
            Some(end) if end <= self.sectors => Ok(Extent { sector: first, count: count.min(SECTORS_MAX) }),
            _ => Err(OutOfRange),
        }
    }

    /// Reads sectors, and passes them to `take`, in one piece or several.
    pub fn read(&self, extent: Extent, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        if extent.count == 0 {
            return Ok(());
        }
        match &self.backing {
            Backing::Device(device, first) => device.request(extent.count, |driver, buffer| {
                driver.read(first + extent.sector, buffer)?;
                take(buffer);
                Ok(())
            }),
            Backing::File(content) => {
                take(content.get(extent.bytes()).unwrap_or_default());
                Ok(())
            }
            Backing::Overlay(overlay) => {
                overlay.lock().read(extent.bytes(), take);
                Ok(())
            }
        }
    }

    /// Writes sectors with what `fill` puts there, in one piece or several.
    pub fn write(&self, extent: Extent, mut fill: impl FnMut(&mut [u8])) -> Result<(), Error> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        if extent.count == 0 {
            return Ok(());
        }
        match &self.backing {
            Backing::Device(device, first) => device.request(extent.count, |driver, buffer| {
                fill(buffer);
                driver.write(first + extent.sector, buffer)
            }),
            Backing::File(_) => Err(Error::ReadOnly),
            Backing::Overlay(overlay) => overlay.lock().write(extent.bytes(), fill),
        }
    }

    /// Has the device keep for good what was written.
    pub fn flush(&self) -> Result<(), Error> {
        match &self.backing {
            Backing::Device(device, _) => device.request(0, |driver, _| driver.flush()),
            Backing::File(_) | Backing::Overlay(_) => Ok(()),
        }
    }

    /// Logs that a request of a VM has failed, unless that was logged for the device just before.
    pub fn complain(&self, vm: &str, error: Error) {
        let Backing::Device(device, _) = &self.backing else { return };
        if error != Error::ReadOnly && device.may_complain() {
            log::warn!("vm '{vm}': disk {}: {error}", device.name);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
