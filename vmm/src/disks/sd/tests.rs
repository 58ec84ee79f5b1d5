//! Cards as the specification has them, at a controller that never fails by itself.

use super::{card, *};
use alloc::{vec, vec::Vec};

/// A card and its controller.
struct Fake {
    /// An SDHC card; otherwise one of version 1.01.
    large: bool,
    csd: u128,
    contents: Vec<u8>,
    /// How often it is asked until it has started.
    start_delay: u32,
    /// What the next data command ends with.
    failure: Option<HostError>,
    /// Status after a write.
    status: u32,
    /// From now on it does not answer.
    is_gone: bool,
    seen: Vec<(u8, u32)>,
    has_four_lines: bool,
}

const ADDRESS: u32 = 0x1234_0000;
/// No card sends that.
const EMPTY: [u32; 4] = [0; 4];

impl Fake {
    /// A card of so many KiB, a multiple of 512.
    fn large(kib: usize) -> Self {
        let csd = 1 << 126 | (kib as u128 / 512 - 1) << 48;
        Self::new(true, csd, kib * 1024)
    }

    /// 1024 blocks of 1 KiB: `C_SIZE` is 255, `C_SIZE_MULT` 0, `READ_BL_LEN` 10.
    fn small() -> Self {
        Self::new(false, 10 << 80 | 255 << 62, 1 << 20)
    }

    fn new(large: bool, csd: u128, bytes: usize) -> Self {
        let contents = vec![0; bytes];
        let (start_delay, failure, status, seen) = (3, None, 0, Vec::new());
        let (is_gone, has_four_lines) = (false, false);
        Self { large, csd, contents, start_delay, failure, status, is_gone, seen, has_four_lines }
    }

    fn at(&mut self, command: Command, length: usize) -> Result<&mut [u8], HostError> {
        self.seen.push((command.index, command.argument));
        self.failure.take().map_or(Ok(()), Err)?;
        let unit = if self.large { 512 } else { 1 };
        let start = usize::try_from(command.argument).unwrap() * unit;
        Ok(&mut self.contents[start..start + length])
    }
}

impl Host for Fake {
    fn command(&mut self, command: Command) -> Result<[u32; 4], HostError> {
        self.seen.push((command.index, command.argument));
        let csd =
            core::array::from_fn(|word| u32::try_from(self.csd >> (8 + 32 * word) & 0xffff_ffff).unwrap());
        match command.index {
            8 if self.large => Ok([command.argument, 0, 0, 0]),
            8 => Err(HostError::Silent),
            41 => {
                self.start_delay = self.start_delay.saturating_sub(1);
                let started = u32::from(self.start_delay == 0) << 31;
                let large = u32::from(self.large) << 30 & command.argument;
                Ok([started | large | 0x00ff_8000, 0, 0, 0])
            }
            3 => Ok([ADDRESS | 0x500, 0, 0, 0]),
            9 => Ok(csd),
            12 | 13 if self.is_gone => Err(HostError::Silent),
            13 => Ok([self.status, 0, 0, 0]),
            _ => Ok(EMPTY),
        }
    }

    fn read(&mut self, command: Command, buffer: &mut [u8]) -> Result<u32, HostError> {
        buffer.copy_from_slice(self.at(command, buffer.len())?);
        Ok(0)
    }

    fn write(&mut self, command: Command, data: &[u8]) -> Result<u32, HostError> {
        self.at(command, data.len())?.copy_from_slice(data);
        Ok(0)
    }

    fn set_clock(&mut self, _: u32) -> Result<(), HostError> {
        Ok(())
    }

    fn use_four_lines(&mut self) {
        self.has_four_lines = true;
    }

    fn pause_ms(&mut self, _: u64) {}
}

#[test]
fn a_large_card_counts_in_sectors() {
    let mut card = SdCard::start(Fake::large(4096)).unwrap();
    assert_eq!((card.sectors(), card.is_read_only()), (8192, false));
    assert!(card.host.has_four_lines);
    assert!(card.host.seen.contains(&(7, ADDRESS)), "it is selected by the address that it gave");
    card.write(8191, &[7; 512]).unwrap();
    card.write(8, &[8; 1024]).unwrap();
    let mut buffer = [0; 1536];
    card.read(7, &mut buffer).unwrap();
    assert_eq!((&buffer[..512], &buffer[512..]), (&[0; 512][..], &[8; 1024][..]));
    let data: Vec<_> = card.host.seen.iter().filter(|(index, _)| (17..=25).contains(index)).collect();
    assert_eq!(data, [&(24, 8191), &(25, 8), &(18, 7)]);
}

#[test]
fn a_small_card_counts_in_bytes() {
    let mut card = SdCard::start(Fake::small()).unwrap();
    assert_eq!(card.sectors(), 2048);
    card.write(2047, &[7; 512]).unwrap();
    assert_eq!(card.host.contents[2047 * 512..], [7; 512]);
    let mut buffer = [0; 512];
    card.read(2047, &mut buffer).unwrap();
    assert_eq!(buffer, [7; 512]);
    assert!(card.host.seen.contains(&(17, 2047 * 512)));
}

#[test]
fn what_is_no_good_card_is_refused() {
    let start = |change: fn(&mut Fake)| {
        let mut fake = Fake::large(1024);
        change(&mut fake);
        SdCard::start(fake).map(drop)
    };
    assert_eq!(start(|_| {}), Ok(()));
    assert_eq!(start(|fake| fake.start_delay = 1000), Err(CardError::Broken));
    assert_eq!(start(|fake| fake.csd = 2 << 126), Err(CardError::Unknown), "larger than an SDXC card");
    assert_eq!(start(|fake| fake.csd = 0), Err(CardError::Unknown), "blocks of one byte");
    for bit in [12, 13] {
        let mut fake = Fake::large(1024);
        fake.csd |= 1 << bit;
        assert!(SdCard::start(fake).unwrap().is_read_only());
    }
}

/// Nothing is attached.
struct Nobody;

impl Host for Nobody {
    fn command(&mut self, command: Command) -> Result<[u32; 4], HostError> {
        if command.response == Response::None { Ok(EMPTY) } else { Err(HostError::Silent) }
    }
    fn read(&mut self, _: Command, _: &mut [u8]) -> Result<u32, HostError> {
        Err(HostError::Silent)
    }
    fn write(&mut self, _: Command, _: &[u8]) -> Result<u32, HostError> {
        Err(HostError::Silent)
    }
    fn set_clock(&mut self, _: u32) -> Result<(), HostError> {
        Ok(())
    }
    fn use_four_lines(&mut self) {}
    fn pause_ms(&mut self, _: u64) {}
}

#[test]
fn without_a_card_there_is_none() {
    assert_eq!(SdCard::start(Nobody).map(drop), Err(CardError::NoCard));
}

#[test]
fn a_transfer_that_fails_is_stopped() {
    let mut card = SdCard::start(Fake::large(512)).unwrap();
    let stops = |card: &SdCard<Fake>| card.host.seen.iter().filter(|(index, _)| *index == 12).count();
    card.host.failure = Some(HostError::Failed);
    assert_eq!(card.read(0, &mut [0; 1024]), Err(Error::Failed));
    assert_eq!(stops(&card), 1);
    card.host.failure = Some(HostError::Silent);
    assert_eq!(card.write(0, &[0; 512]), Err(Error::Gone));
    assert_eq!(stops(&card), 1, "nobody is there to be stopped");
    card.host.status = 1 << 21;
    assert_eq!(card.write(0, &[0; 512]), Err(Error::Failed), "the card could not correct an error");
    (card.host.failure, card.host.is_gone) = (Some(HostError::Failed), true);
    assert_eq!(card.read(0, &mut [0; 512]), Err(Error::Gone), "it was taken out meanwhile");
}

#[test]
fn status_has_errors_and_other_things() {
    // In transfer state, ready for data.
    assert_eq!(card::check_status(0x900), Ok(()));
    for bit in [31, 30, 29, 26, 23, 22, 21, 20, 19] {
        assert_eq!(card::check_status(1 << bit), Err(Error::Failed), "{bit}");
    }
    // The card is locked, which is no error of this command.
    assert_eq!(card::check_status(1 << 25), Ok(()));
}
