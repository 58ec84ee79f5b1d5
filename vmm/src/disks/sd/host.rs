//! What a card needs from the controller that it is attached to.

/// A command for a card (4.7.4), in the words of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its number.
    pub index: u8,
    /// Its argument.
    pub argument: u32,
    /// What answer it has.
    pub response: Response,
}

/// Kinds of answers (4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// None.
    None,
    /// R1, R6, R7: 32 bits with a checksum and the command's number.
    Short,
    /// R1b: the same, and the card may be busy after it.
    Busy,
    /// R2: 120 bits with a checksum.
    Long,
    /// R3: 32 bits without a checksum.
    Unchecked,
}

/// Why a command has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// The controller reports an error.
    Failed,
    /// Nothing answers, or goes on with a transfer, in time.
    Silent,
}

/// A controller with a card.
pub trait Host: Send {
    /// Has the card carry out a command. Returns the answer: of a long one bits 8 to 127, the lowest word first.
    fn command(&mut self, command: Command) -> Result<[u32; 4], HostError>;
    /// The same for a command that reads whole sectors. Returns the card's status, as the answer has it.
    fn read(&mut self, command: Command, buffer: &mut [u8]) -> Result<u32, HostError>;
    /// The same for one that writes, until the card is not busy any more.
    fn write(&mut self, command: Command, data: &[u8]) -> Result<u32, HostError>;
    /// Changes the clock to at most so many hertz.
    fn set_clock(&mut self, hertz: u32) -> Result<(), HostError>;
    /// Uses four data lines from now on.
    fn use_four_lines(&mut self);
    /// Waits.
    fn pause_ms(&mut self, milliseconds: u64);
}

impl Command {
    /// CMD0: back to the beginning.
    pub(super) const GO_IDLE: Self = Self::new(0, Response::None);
    /// CMD2.
    pub(super) const ALL_SEND_CID: Self = Self::new(2, Response::Long);
    /// CMD3: makes up an address for the card.
    pub(super) const SEND_ADDRESS: Self = Self::new(3, Response::Short);
    /// CMD7.
    pub(super) const SELECT: Self = Self::new(7, Response::Busy);
    /// CMD8.
    pub(super) const SEND_CONDITION: Self = Self::new(8, Response::Short);
    /// CMD9.
    pub(super) const SEND_CSD: Self = Self::new(9, Response::Long);
    /// CMD12.
    pub(super) const STOP: Self = Self::new(12, Response::Busy);
    /// CMD13.
    pub(super) const SEND_STATUS: Self = Self::new(13, Response::Short);
    /// CMD16.
    pub(super) const SET_BLOCK_LENGTH: Self = Self::new(16, Response::Short);
    /// CMD17.
    pub(super) const READ: Self = Self::new(17, Response::Short);
    /// CMD18.
    pub(super) const READ_MANY: Self = Self::new(18, Response::Short);
    /// CMD24.
    pub(super) const WRITE: Self = Self::new(24, Response::Short);
    /// CMD25.
    pub(super) const WRITE_MANY: Self = Self::new(25, Response::Short);
    /// CMD55: the next command is an application command.
    pub(super) const APPLICATION: Self = Self::new(55, Response::Short);
    /// ACMD6, for four lines.
    pub(super) const SET_BUS_WIDTH: Self = Self::new(6, Response::Short).with(0b10);
    /// ACMD41.
    pub(super) const START: Self = Self::new(41, Response::Unchecked);

    const fn new(index: u8, response: Response) -> Self {
        Self { index, argument: 0, response }
    }

    /// The command with this argument.
    pub(super) const fn with(self, argument: u32) -> Self {
        Self { argument, ..self }
    }
}
