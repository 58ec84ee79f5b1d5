//! The sender's part of a transfer: says what the hypervisor wants to hear, and says it again until it is answered.

use super::{Link, refused};
use anyhow::{Context, Result, bail};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use vmm::provision::{BLOCK_SIZE, Identity, Message, Reply, Request, slip};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the same is said before nobody seems to listen.
const ATTEMPTS: usize = 20;
/// How often the monitor is called before there seems to be none.
const CALLS: usize = 3;

/// What is typed for the monitor's command: Ctrl-A M, an empty line, the command. If the line is the sender's already, all
/// of this is noise, up to the end of the frame.
const CALL: &[u8] = b"\x01m\x15receive\r";

/// A sender that the hypervisor listens to.
#[derive(Debug)]
pub struct Sender {
    link: Link,
    sequence: u32,
}

impl Sender {
    /// Makes the hypervisor at the other end listen.
    pub fn open(mut link: Link) -> Result<Self> {
        for _ in 0..CALLS {
            link.write(CALL)?;
            link.write(&[slip::END])?;
            match link.reply(PATIENCE)? {
                Some((_, Reply::Refused(reason))) => {
                    link.write(b"quit\r")?;
                    return Err(refused(&reason));
                }
                // Nobody can guess with what it begins.
                Some(_) => {
                    let sequence = RandomState::new().build_hasher().finish().to_le_bytes();
                    let [a, b, c, d, ..] = sequence;
                    return Ok(Self { link, sequence: u32::from_le_bytes([a, b, c, d]) });
                }
                None => {}
            }
        }
        bail!(
            "no answer: is there a TinyVMM at the other end, whose Ctrl-A is not off (boot argument escape=off)? \
             Does another program read the line?"
        )
    }

    /// Sends a bundle, and has it run. `progress` gets the bytes that have come.
    pub fn send(&mut self, bundle: &[u8], mut progress: impl FnMut(usize)) -> Result<()> {
        let identity = Identity::of(bundle).context("the bundle is larger than 4 GiB")?;
        let mut reply = self.ask(Request::Begin(identity))?;
        loop {
            let number = match reply {
                Reply::Want(number) => number,
                Reply::Done => return Ok(()),
                Reply::Refused(reason) => return Err(refused(&reason)),
                other => bail!("the hypervisor says '{other}', which is no answer"),
            };
            let start = usize::try_from(number)?.saturating_mul(BLOCK_SIZE);
            progress(start.min(bundle.len()));
            reply = match bundle.get(start..).unwrap_or_default() {
                [] => self.ask(Request::End)?,
                rest => self.ask(Request::Block(number, &rest[..rest.len().min(BLOCK_SIZE)]))?,
            };
        }
    }

    /// Has the hypervisor forget what has come.
    pub fn abort(&mut self) -> Result<()> {
        match self.ask(Request::Abort)? {
            Reply::Aborted => Ok(()),
            other => bail!("the hypervisor says '{other}', which is no answer"),
        }
    }

    /// Gives the console back. If that is lost, the hypervisor takes it after a while.
    pub fn close(mut self) -> Result<()> {
        self.link.send(&Message { sequence: self.sequence.wrapping_add(1), request: Request::Close })
    }

    /// Says something until it is answered.
    fn ask(&mut self, request: Request<'_>) -> Result<Reply> {
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            self.link.send(&Message { sequence: self.sequence, request })?;
            if let Some(reply) = self.answer()? {
                return Ok(reply);
            }
        }
        bail!("the hypervisor does not answer any more; the same command goes on where this one ended")
    }

    /// The answer to what was said last; `None` if that has to be said again. Answers to what was said before come late.
    fn answer(&mut self) -> Result<Option<Reply>> {
        loop {
            match self.link.reply(PATIENCE)? {
                Some((_, Reply::Again)) | None => return Ok(None),
                Some((sequence, reply)) if sequence == self.sequence => return Ok(Some(reply)),
                Some(_) => {}
            }
        }
    }
}
