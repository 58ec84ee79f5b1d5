//! The console as a serial port that other programs open: a TCP port or a pseudoterminal.
//!
//! QEMU could offer both itself, but it drops what is printed while nobody is connected, the exit line too. Here the
//! run sees everything first. No byte is lost in either direction: who reads slowly is waited for, by QEMU and by the
//! guest in it. Only of what is printed while nobody is connected no more than the end is kept, for whoever comes next.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How many bytes of what nobody was there to read are kept.
const KEPT: usize = 64 << 10;
/// How many bytes may wait for a slow reader before QEMU is not read from any more.
const WAITING: usize = 64 << 10;
/// How long the end of a run waits for a reader that takes nothing.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often a pseudoterminal is looked at for whether someone has opened it: nothing tells.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What kind of serial port is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A TCP port of this machine; 0 is any that is free.
    Tcp(u16),
    /// A pseudoterminal.
    Pty,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix("tcp:").and_then(|port| port.parse().ok());
        match (text, port) {
            ("pty", _) => Ok(Self::Pty),
            (_, Some(port)) => Ok(Self::Tcp(port)),
            _ => Err("it is tcp:PORT, as in tcp:4000 (tcp:0 takes any free port), or pty".into()),
        }
    }
}

/// A serial port that can be opened by one program at a time.
#[derive(Debug)]
pub enum Line {
    /// Connections to it.
    Tcp(TcpListener),
    /// The side that stands for the wire.
    Pty(File),
}

/// The two directions of a connection.
type Ends = (Box<dyn Read + Send>, Box<dyn Write + Send>);

impl Line {
    /// Makes the serial port.
    pub fn open(kind: &Kind) -> Result<Self> {
        match kind {
            // Whoever reaches the port controls the guest: nobody from outside.
            Kind::Tcp(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
                .map(Self::Tcp)
                .with_context(|| format!("cannot listen at port {port}")),
            Kind::Pty => open_pty().map(Self::Pty).context("cannot make a pseudoterminal"),
        }
    }

    /// What other programs call it.
    pub fn name(&self) -> Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("socket://localhost:{}", listener.local_addr()?.port())),
            Self::Pty(wire) => Ok(ptsname(wire, Vec::new())?.into_string()?),
        }
    }

    /// Waits until someone opens it.
    fn accept(&self) -> io::Result<Ends> {
        match self {
            Self::Tcp(listener) => connection(listener.accept()?.0),
            Self::Pty(wire) => {
                wait_for_opener(wire)?;
                Ok((Box::new(wire.try_clone()?), Box::new(wire.try_clone()?)))
            }
        }
    }
}

fn connection(stream: TcpStream) -> io::Result<Ends> {
    stream.set_nodelay(true)?;
    let reader = HangUp(stream.try_clone()?);
    Ok((Box::new(reader), Box::new(stream)))
}

/// A connection that is over, in both directions, as soon as nothing more comes in.
struct HangUp(TcpStream);

impl Read for HangUp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        // Fails only if the other side was faster.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn open_pty() -> io::Result<File> {
    let wire = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&wire)?;
    unlockpt(&wire)?;
    // Open it once: before that, it looks as if someone had.
    let terminal = File::options().read(true).write(true).open(path_of(&wire)?)?;
    drop(terminal);
    Ok(File::from(wire))
}

fn path_of(wire: &impl std::os::fd::AsFd) -> io::Result<String> {
    ptsname(wire, Vec::new())?.into_string().map_err(io::Error::other)
}

/// A pseudoterminal hangs up as long as nobody has it open. After that its settings are the first ones again, which
/// echo and edit: a wire does neither.
fn wait_for_opener(wire: &File) -> io::Result<()> {
    loop {
        let mut descriptors = [PollFd::new(wire, PollFlags::empty())];
        poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if !descriptors[0].revents().contains(PollFlags::HUP) {
            break;
        }
        poll(&mut [], Some(&LOOK))?;
    }
    let mut settings = tcgetattr(wire)?;
    settings.make_raw();
    Ok(tcsetattr(wire, OptionalActions::Now, &settings)?)
}

/// What goes from the guest to the serial port.
#[derive(Debug, Default)]
pub struct Outgoing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<u8>,
    connected: bool,
    /// Some bytes are on their way and not yet taken.
    sending: bool,
}

impl Outgoing {
    /// Takes what the guest printed; never blocks.
    pub fn put(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.waiting.extend(bytes);
        state.forget_old();
        self.changed.notify_all();
    }

    /// Waits until more output is welcome.
    pub fn wait_for_room(&self) {
        let crowded = |state: &mut State| state.connected && state.waiting.len() >= WAITING;
        drop(self.changed.wait_while(self.lock(), crowded).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until all was sent, but not for a reader that takes nothing.
    pub fn finish(&self) {
        let busy = |state: &mut State| state.connected && (state.sending || !state.waiting.is_empty());
        let result = self.changed.wait_timeout_while(self.lock(), FAREWELL, busy);
        drop(result.unwrap_or_else(PoisonError::into_inner));
    }

    fn connect(&self, connected: bool) {
        let mut state = self.lock();
        state.connected = connected;
        state.forget_old();
        self.changed.notify_all();
    }

    /// Sends what waits until the connection ends.
    fn send_to(&self, mut writer: impl Write) {
        while let Some(bytes) = self.next() {
            let sent = writer.write_all(&bytes).and_then(|()| writer.flush());
            self.lock().sending = false;
            self.changed.notify_all();
            if sent.is_err() {
                return self.connect(false);
            }
        }
    }

    fn next(&self) -> Option<Vec<u8>> {
        let idle = |state: &mut State| state.connected && state.waiting.is_empty();
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if !state.connected {
            return None;
        }
        state.sending = true;
        Some(state.waiting.drain(..).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_old(&mut self) {
        if !self.connected {
            let excess = self.waiting.len().saturating_sub(KEPT);
            self.waiting.drain(..excess);
        }
    }
}

/// Connects whoever opens `line`, one after the other, with the guest. Ends with `keyboard`, when QEMU is gone.
pub fn serve(line: &Line, outgoing: &Arc<Outgoing>, mut keyboard: impl Write) -> Result<()> {
    loop {
        let (mut reader, writer) = line.accept().context("cannot wait for a connection")?;
        outgoing.connect(true);
        let sender = thread::spawn({
            let outgoing = Arc::clone(outgoing);
            move || outgoing.send_to(writer)
        });
        let typed = forward(&mut reader, &mut keyboard);
        drop(reader);
        outgoing.connect(false);
        if sender.join().is_err() {
            bail!("the serial port's sender failed");
        }
        typed.context("cannot write to QEMU")?;
    }
}

/// Passes on what comes in, until that ends; an error is one of `keyboard`.
fn forward(reader: &mut impl Read, keyboard: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        keyboard.write_all(&buffer[..count])?;
        keyboard.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_parsed() {
        assert_eq!("tcp:4000".parse(), Ok(Kind::Tcp(4000)));
        assert_eq!("pty".parse(), Ok(Kind::Pty));
        for wrong in ["", "tcp", "tcp:", "tcp:65536", "udp:1", "tcp:x"] {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
        }
    }

    /// A guest that gives back what it gets.
    struct Echo(Arc<Outgoing>);

    impl Write for Echo {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.wait_for_room();
            self.0.put(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(kind: &Kind) -> (Arc<Outgoing>, String) {
        let line = Line::open(kind).unwrap();
        let name = line.name().unwrap();
        let outgoing = Arc::new(Outgoing::default());
        let echo = Echo(Arc::clone(&outgoing));
        thread::spawn({
            let outgoing = Arc::clone(&outgoing);
            move || serve(&line, &outgoing, echo)
        });
        (outgoing, name)
    }

    fn connect(name: &str) -> TcpStream {
        TcpStream::connect(name.strip_prefix("socket://").unwrap()).unwrap()
    }

    fn receive(from: &mut impl Read, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_byte_comes_back_however_slowly_it_is_read() {
        let (_, name) = start(&Kind::Tcp(0));
        let mut client = connect(&name);
        let sent: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).take(4 << 20).collect();
        let mut typist = client.try_clone().unwrap();
        let typed = sent.clone();
        let typing = thread::spawn(move || typist.write_all(&typed));
        thread::sleep(Duration::from_millis(100));
        assert!(receive(&mut client, sent.len()) == sent);
        typing.join().unwrap().unwrap();
    }

    #[test]
    fn the_end_of_what_nobody_read_is_kept_for_the_next() {
        let (outgoing, name) = start(&Kind::Tcp(0));
        outgoing.put(&vec![b'x'; KEPT]);
        outgoing.put(b"last");
        let mut client = connect(&name);
        assert!(receive(&mut client, KEPT).ends_with(b"xlast"));
        drop(client);
        let mut next = connect(&name);
        next.write_all(b"hello").unwrap();
        assert_eq!(receive(&mut next, 5), b"hello");
    }

    #[test]
    fn a_pseudoterminal_is_a_plain_wire() {
        let (outgoing, name) = start(&Kind::Pty);
        outgoing.put(b"banner\r\n");
        for _ in 0..2 {
            let mut terminal = File::options().read(true).write(true).open(&name).unwrap();
            if outgoing.lock().waiting.front() == Some(&b'b') {
                assert_eq!(receive(&mut terminal, 8), b"banner\r\n");
            }
            thread::sleep(Duration::from_millis(50));
            terminal.write_all(b"\x01\x03\r\n\x04").unwrap();
            assert_eq!(receive(&mut terminal, 5), b"\x01\x03\r\n\x04");
        }
    }
}
