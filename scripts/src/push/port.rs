//! Serial lines by their names.

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::str::FromStr;

/// A serial line.
#[derive(Debug, Clone)]
pub(super) enum Port {
    /// At the other end of a connection.
    Socket(String),
    /// A device, or a pseudoterminal.
    Device(PathBuf),
}

impl FromStr for Port {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("socket://") {
            Some(address) => Self::Socket(address.into()),
            None => Self::Device(text.into()),
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "socket://{address}"),
            Self::Device(path) => path.display().fmt(f),
        }
    }
}

/// The two directions of a line.
type Ends = (Box<dyn Read + Send>, Box<dyn Write + Send>);

impl Port {
    /// Opens it.
    pub(super) fn open(&self, baud: u32) -> Result<Ends> {
        match self {
            Self::Socket(address) => {
                let stream = TcpStream::connect(address.as_str())?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream.try_clone()?), Box::new(stream)))
            }
            Self::Device(path) => {
                let line = File::options().read(true).write(true).open(path)?;
                make_plain(&line, baud).context("not a serial line")?;
                Ok((Box::new(line.try_clone()?), Box::new(line)))
            }
        }
    }
}

/// Has every byte pass as it is.
fn make_plain(line: &File, baud: u32) -> Result<()> {
    let mut settings = tcgetattr(line)?;
    settings.make_raw();
    settings.set_speed(baud)?;
    // A read waits for one byte at least.
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    Ok(tcsetattr(line, OptionalActions::Now, &settings)?)
}
