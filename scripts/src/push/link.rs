//! The line to the hypervisor: frames go out, lines come in.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use vmm::provision::{Message, Reply, slip};

/// A line, with someone who reads it all the time.
pub struct Link {
    writer: Box<dyn Write + Send>,
    incoming: Receiver<Vec<u8>>,
    waiting: VecDeque<u8>,
    line: Vec<u8>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// The line with these two directions.
    pub fn new(mut reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        let (sender, incoming) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { writer: Box::new(writer), incoming, waiting: VecDeque::new(), line: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).and_then(|()| self.writer.flush()).context("cannot write to the line")
    }

    /// Sends a message in its frame.
    pub(super) fn send(&mut self, message: &Message<'_>) -> Result<()> {
        let mut frame = Vec::new();
        slip::encode(&message.to_bytes(), |byte| frame.push(byte));
        self.write(&frame)
    }

    /// The next answer, and the number of the message that it is one to; `None` if there is none in time.
    pub(super) fn reply(&mut self, patience: Duration) -> Result<Option<(u32, Reply)>> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some(byte) = self.waiting.pop_front() {
                if let Some(reply) = self.take(byte) {
                    return Ok(Some(reply));
                }
            }
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.waiting.extend(bytes),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("the line is closed"),
            }
        }
    }

    /// Takes a byte of a line. Returns the answer that it completes.
    fn take(&mut self, byte: u8) -> Option<(u32, Reply)> {
        if byte != b'\n' {
            self.line.push(byte);
            return None;
        }
        let line = std::mem::take(&mut self.line);
        Reply::parse(str::from_utf8(&line).ok()?.trim_matches('\r'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_answers_among_other_lines() {
        let answer = Reply::Want(3).to_line(7);
        let said = format!("noise \u{fe}\r\n[a] {answer}\r\n[b] text\r\n{answer}\r\n{answer} \r\n");
        let mut link = Link::new(std::io::Cursor::new(said), std::io::sink());
        let long = Duration::from_secs(60);
        assert_eq!(link.reply(long).unwrap(), Some((7, Reply::Want(3))));
        assert!(link.reply(long).unwrap_err().to_string().contains("closed"));
    }
}
