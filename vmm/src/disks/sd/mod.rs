//! SD cards: SD Specifications, Part 1, Physical Layer Simplified Specification 3.01.
//!
//! A card is used with four data lines at 25 MHz, the speed that every card has, and in its own voltage of 3.3 V. It has
//! no cache: a write is over when the card is no longer busy.

mod card;
mod host;
mod sdhci;
#[cfg(test)]
mod tests;

pub use host::{Command, Host, HostError, Response};
pub use sdhci::Sdhci;

use super::{BlockDevice, Error};
use card::Csd;
use core::fmt;
use tinyvmm_abi::disks::SECTOR_SIZE;

/// Clock while a card tells what it is (4.2.1), and from then on (6.6.6).
const SLOW: u32 = 400_000;
const FAST: u32 = 25_000_000;
/// How often, and after how many milliseconds each, a card is asked whether it has started: it has a second (4.2.3).
const START_ATTEMPTS: u32 = 100;
const START_PAUSE_MS: u64 = 10;

/// Why there is no card to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardError {
    /// Nothing answers.
    NoCard,
    /// It is no SD, SDHC or SDXC card.
    Unknown,
    /// It starts to answer, but does not go on.
    Broken,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCard => "there is no SD card",
            Self::Unknown => "the card is none of the kinds SD, SDHC and SDXC",
            Self::Broken => "the SD card does not work",
        })
    }
}

/// What goes wrong after the first answer.
impl From<HostError> for CardError {
    fn from(_: HostError) -> Self {
        Self::Broken
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Failed => Self::Failed,
            HostError::Silent => Self::Gone,
        }
    }
}

/// A card that has been started.
pub struct SdCard<H> {
    host: H,
    /// Its address on the bus, where commands have it.
    address: u32,
    sectors: u64,
    /// Whether it counts in sectors, or in bytes.
    by_sector: bool,
    is_read_only: bool,
}

impl<H: Host> SdCard<H> {
    /// Starts a card (4.2, "Card Identification Mode").
    pub fn start(mut host: H) -> Result<Self, CardError> {
        host.set_clock(SLOW)?;
        // There is no answer.
        host.command(Command::GO_IDLE)?;
        let is_new = answers_check(&mut host)?;
        let by_sector = power_up(&mut host, is_new)?;
        host.command(Command::ALL_SEND_CID)?;
        let address = card::address(host.command(Command::SEND_ADDRESS)?[0]);
        let csd = Csd::new(host.command(Command::SEND_CSD.with(address))?);
        let sectors = csd.sectors().ok_or(CardError::Unknown)?;
        let is_read_only = csd.is_write_protected();
        let mut card = Self { host, address, sectors, by_sector, is_read_only };
        card.select().map_err(|_| CardError::Broken)?;
        Ok(card)
    }

    /// Makes it the card that data commands are for, at full speed.
    fn select(&mut self) -> Result<(), Error> {
        self.host.set_clock(FAST)?;
        self.checked(Command::SELECT.with(self.address))?;
        self.checked(Command::APPLICATION.with(self.address))?;
        self.checked(Command::SET_BUS_WIDTH)?;
        self.host.use_four_lines();
        let size = u32::try_from(SECTOR_SIZE).unwrap_or(0);
        self.checked(Command::SET_BLOCK_LENGTH.with(size))
    }

    /// A command whose answer is the card's status.
    fn checked(&mut self, command: Command) -> Result<(), Error> {
        card::check_status(self.host.command(command)?[0])
    }

    /// The command with the address of a sector.
    fn at(&self, sector: u64, command: Command) -> Result<Command, Error> {
        let address = if self.by_sector { Some(sector) } else { sector.checked_mul(SECTOR_SIZE) };
        let address = address.and_then(|address| u32::try_from(address).ok());
        address.map(|address| command.with(address)).ok_or(Error::Failed)
    }

    /// After a transfer that has failed: has the card stop it, if it has begun, and sees whether the card is there still.
    fn stop(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if result == Err(Error::Failed) {
            // A card that has ended the transfer by itself does not answer.
            let _ = self.host.command(Command::STOP);
            self.host.command(Command::SEND_STATUS.with(self.address))?;
        }
        result
    }
}

impl<H: Host> BlockDevice for SdCard<H> {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn read(&mut self, sector: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let command = if is_single(buffer) { Command::READ } else { Command::READ_MANY };
        let command = self.at(sector, command)?;
        let result = self.host.read(command, buffer).map_err(Error::from).and_then(card::check_status);
        self.stop(result)
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), Error> {
        let command = if is_single(data) { Command::WRITE } else { Command::WRITE_MANY };
        let command = self.at(sector, command)?;
        let result = self.host.write(command, data).map_err(Error::from).and_then(card::check_status);
        self.stop(result)?;
        // What went wrong while the card was busy.
        self.checked(Command::SEND_STATUS.with(self.address))
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Whether a card answers the command that is new in version 2.00 (4.3.13), without which it is an SDSC card.
fn answers_check(host: &mut impl Host) -> Result<bool, CardError> {
    /// 2.7 to 3.6 V, and a pattern that comes back.
    const CHECK: u32 = 0x1aa;
    match host.command(Command::SEND_CONDITION.with(CHECK)) {
        Ok([CHECK, ..]) => Ok(true),
        Ok(_) => Err(CardError::Unknown),
        Err(_) => Ok(false),
    }
}

/// Waits until the card has started (4.2.3). Returns whether it counts in sectors.
fn power_up(host: &mut impl Host, is_new: bool) -> Result<bool, CardError> {
    /// All voltages from 2.7 to 3.6 V; large cards can be used.
    const VOLTAGES: u32 = 0x00ff_8000;
    const LARGE: u32 = 1 << 30;
    const STARTED: u32 = 1 << 31;
    let wanted = VOLTAGES | if is_new { LARGE } else { 0 };
    for _ in 0..START_ATTEMPTS {
        // Before it has an address, it goes by 0.
        host.command(Command::APPLICATION).map_err(|_| CardError::NoCard)?;
        // Other cards than SD cards do not know this one.
        let [conditions, ..] = host.command(Command::START.with(wanted)).map_err(|_| CardError::Unknown)?;
        if conditions & STARTED != 0 {
            return Ok(conditions & LARGE != 0);
        }
        host.pause_ms(START_PAUSE_MS);
    }
    Err(CardError::Broken)
}

fn is_single(buffer: &[u8]) -> bool {
    buffer.len() as u64 <= SECTOR_SIZE
}
