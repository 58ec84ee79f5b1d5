//! `cargo xtask run --serial`: the console as a serial port. Every byte arrives, in both directions.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::device::Device;

use crate::matrix::xtask_run;
use crate::process::file;
use crate::test;

/// Longest time to wait for bytes or for the end.
const PATIENCE: Duration = Duration::from_secs(600);

const CTRL_A: u8 = 1;
const CTRL_B: u8 = 2;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_E: u8 = 5;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("serial::tcp", || talks("tcp:0")),
        test("serial::pty", || talks("pty")),
        test("serial::exit_code", exit_code),
        test("serial::next_connection", next_connection),
        test("serial::raw_paste", raw_paste),
        test("serial::every_byte", || every_byte(128 << 10)),
        test("serial::every_byte_of_much", || every_byte(4 << 20)).with_ignored_flag(true),
    ]
}

/// `cargo xtask run --serial` with these arguments after it.
pub(crate) fn start(port: &str, args: &[&str]) -> Result<Device> {
    Device::start(xtask_run(&[&["--serial", port], args].concat())?)
}

/// Python's prompt.
pub(crate) fn prompt() -> Result<Device> {
    start("tcp:0", &[])
}

/// Opens the serial port.
fn connect(device: &Device) -> Result<Connection> {
    let name = device.name();
    let Some(address) = name.strip_prefix("socket://") else {
        let terminal = File::options().read(true).write(true).open(name)?;
        return Ok(Connection::new(terminal.try_clone()?, terminal));
    };
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Connection::new(stream.try_clone()?, stream))
}

/// An open serial port.
pub(crate) struct Connection {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
}

impl Connection {
    fn new(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer) }
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.writer.write_all(bytes.as_ref())?;
        self.writer.flush()?;
        Ok(self)
    }

    /// The next `count` bytes.
    fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).context("cannot read from the serial port")?;
        Ok(bytes)
    }

    /// Everything up to `end`, which is left out.
    pub(crate) fn until(&mut self, end: &str) -> Result<String> {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            let next = self.take(1);
            let seen_so_far = || format!("{end:?} did not come after {:?}", String::from_utf8_lossy(&seen));
            let byte = next.with_context(seen_so_far)?;
            seen.extend(byte);
        }
        seen.truncate(seen.len() - end.len());
        Ok(String::from_utf8_lossy(&seen).into_owned())
    }

    /// Enters the raw mode of Python's prompt, as tools do, whatever went on before.
    fn enter_raw_mode(&mut self) -> Result<&mut Self> {
        self.send([b'\r', CTRL_C, CTRL_A])?.until("raw REPL; CTRL-B to exit\r\n>")?;
        Ok(self)
    }
}

fn talks(port: &str) -> Result<()> {
    let device = start(port, &[])?;
    let mut connection = connect(&device)?;
    connection.enter_raw_mode()?.send("print(6 * 7)")?.send([CTRL_D])?;
    connection.until("OK42\r\n\x04\x04>")?;
    connection.send([CTRL_B])?.until(">>> ").map(drop)
}

fn exit_code() -> Result<()> {
    let (_directory, script) = file("x.py", "import sys\nprint(input())\nsys.exit(7)")?;
    let mut device = start("tcp:0", &[shown(&script)?])?;
    let mut connection = connect(&device)?;
    connection.send("some text\r")?.until("\r\nsome text\r\n")?;
    let mut rest = String::new();
    connection.reader.read_to_string(&mut rest)?;
    ensure!(rest.is_empty(), "the exit line is in the output: {rest:?}");
    let code = device.wait(PATIENCE)?;
    ensure!(code == Some(7), "exit code {code:?}");
    Ok(())
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Python goes on when a connection ends, and the next one finds what was printed meanwhile.
fn next_connection() -> Result<()> {
    let device = prompt()?;
    let mut first = connect(&device)?;
    first.enter_raw_mode()?.send("x = 5\nprint('begun')\nimport time\ntime.sleep(0.5)\nprint('done')")?;
    first.send([CTRL_D])?.until("begun\r\n")?;
    drop(first);
    let mut second = connect(&device)?;
    second.until("done\r\n\x04\x04>")?;
    second.send("print(x + 1)")?.send([CTRL_D])?.until("OK6\r\n\x04\x04>").map(drop)
}

/// The mode that tools prefer: the receiver says how much it can take.
fn raw_paste() -> Result<()> {
    let device = prompt()?;
    let mut connection = connect(&device)?;
    connection.enter_raw_mode()?.send([CTRL_E, b'A', CTRL_A])?;
    ensure!(connection.take(2)? == b"R\x01", "no raw paste mode");
    let window: usize = u16::from_le_bytes(connection.take(2)?.try_into().unwrap_or_default()).into();
    let program: String = (0..2000).map(|n| format!("x{n} = {n}\n")).collect();
    let program = program + "print(x1999 + x1, 'ä'.encode())\n";
    let mut room = window;
    for piece in program.as_bytes().chunks(window) {
        while room < piece.len() {
            ensure!(connection.take(1)? == [CTRL_A], "the receiver gave up");
            room += window;
        }
        connection.send(piece)?;
        room -= piece.len();
    }
    connection.send([CTRL_D])?.until("\x04")?;
    let output = connection.until("\x04\x04>")?;
    ensure!(output == "2000 b'\\xc3\\xa4'\r\n", "{output:?}");
    Ok(())
}

/// A program that takes and gives as many bytes as it is told.
const MUCH: &str = "\
import sys, hashlib, micropython
micropython.kbd_intr(-1)
left = int(sys.argv[1])
print('ready')
hash, buffer = hashlib.sha256(), bytearray(4096)
for _ in range(left // len(buffer)):
    sys.stdin.buffer.readinto(buffer)
    hash.update(buffer)
print(hash.digest().hex())
for n in range(left // len(buffer)):
    buffer[:4] = n.to_bytes(4, 'little')
    sys.stdout.buffer.write(buffer)
";

/// All byte values, in either direction, as fast as they go.
fn every_byte(count: usize) -> Result<()> {
    let (_directory, script) = file("much.py", MUCH)?;
    let mut device = start("tcp:0", &[shown(&script)?, &count.to_string()])?;
    let Connection { reader, mut writer } = connect(&device)?;
    let mut connection = Connection { reader, writer: Box::new(std::io::sink()) };
    connection.until("ready\r\n")?;
    let sent = noise(count);
    let typed = sent.clone();
    let typing = thread::spawn(move || writer.write_all(&typed));
    let hash = connection.until("\r\n")?;
    ensure!(hash == sha256(&sent)?, "the guest got other bytes");
    ensure!(typing.join().is_ok_and(|result| result.is_ok()), "cannot write to the serial port");
    let last = &sent[count - 4096..];
    for n in 0..u32::try_from(count / 4096)? {
        let block = connection.take(4096)?;
        ensure!(block[..4] == n.to_le_bytes() && block[4..] == last[4..], "block {n} is not what was sent");
    }
    ensure!(device.wait(PATIENCE)? == Some(0), "the guest failed");
    Ok(())
}

/// Bytes of every value, in no order (a multiplicative congruential generator).
fn noise(count: usize) -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(1), next).map(|state| state.to_be_bytes()[0]).take(count).collect()
}

fn sha256(bytes: &[u8]) -> Result<String> {
    let mut python = Command::new("python3");
    python.args(["-c", "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"]);
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    python.stdin.take().context("no standard input")?.write_all(bytes)?;
    Ok(String::from_utf8(python.wait_with_output()?.stdout)?.trim_end().to_owned())
}
