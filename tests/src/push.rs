//! `cargo xtask push`: new bundles over the serial line, whatever happens on it. Old VMs go on until the new ones can start.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, Sender as Feed, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use tempfile::{NamedTempFile, TempDir};
use xtask::push::{Link, Sender};
use xtask::qemu::{Board, Machine};
use xtask::size::Size;

use crate::boot::{Vm, bundle, command};
use crate::matrix::parallel;
use crate::process::{file, run, xtask};
use crate::serial::start as start_run;
use crate::test;

/// Longest time to wait for something that is printed.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn tests() -> Vec<Trial> {
    let cuts =
        [0, 1, 2, 5, 20].map(|frames| test(format!("push::cut_after_{frames}"), move || resumes(frames)));
    let others = vec![
        test("push::noise", noise),
        test("push::abort", abort),
        test("push::too_large", too_large),
        test("push::refused", refused),
        test("push::forbidden", forbidden),
        test("push::silence", silence),
        test("push::no_leak", no_leak),
        test("push::command", by_command),
        test("push::a_vm_ends_meanwhile", a_vm_ends),
        test("push::the_last_vm_ends_meanwhile", the_last_vm_ends),
        test("push::the_last_vm_ends_and_nothing_comes", the_last_vm_ends_for_nothing),
    ];
    others.into_iter().chain(cuts).collect()
}

pub(crate) fn on_boards() -> Vec<Trial> {
    let on =
        |machine: Machine, smp| test(format!("push::{}", machine.name()), move || replaces(machine, smp));
    vec![on(Machine::Virt, 1), on(Machine::VirtGicv2, 4), on(Machine::Raspi4b, 4)]
}

/// A VM that tells again and again that it is there.
fn witness(name: &str) -> Vm {
    Vm::python(name, "import time\nwhile True:\n    print('still here')\n    time.sleep_ms(50)\n")
}

/// Two VMs that go on.
fn old() -> [Vm; 2] {
    [witness("old"), witness("older")]
}

/// A bundle of a VM that ends.
fn new() -> Result<Vec<u8>> {
    bundle(&[Vm::python("new", "print('all', 'new')\n")])
}

/// A boot whose serial line is in our hands.
struct Line {
    qemu: Child,
    keyboard: Arc<Mutex<ChildStdin>>,
    screen: Arc<Mutex<Screen>>,
    _files: TempDir,
}

/// All that was printed, and who is told.
#[derive(Default)]
struct Screen {
    seen: String,
    listener: Option<Feed<Vec<u8>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Boots these VMs.
    fn start(board: &Board, vms: &[Vm], bootargs: &str) -> Result<Self> {
        let (mut command, files) = command(board, &bundle(vms)?, bootargs)?;
        let mut qemu =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start QEMU")?;
        let keyboard = Arc::new(Mutex::new(qemu.stdin.take().context("no standard input")?));
        let mut output = qemu.stdout.take().context("no standard output")?;
        let screen = Arc::new(Mutex::new(Screen::default()));
        let shown = screen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                locked(&shown).show(&buffer[..count]);
            }
            locked(&shown).listener = None;
        });
        let line = Self { qemu, keyboard, screen, _files: files };
        line.waits_for("still here", 1)?;
        Ok(line)
    }

    /// A link over the line, on which `change` does something to each frame, or breaks it off.
    fn link(&self, change: impl FnMut(usize, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> Link {
        let (feed, received) = channel();
        locked(&self.screen).listener = Some(feed);
        let writer = Wire { keyboard: self.keyboard.clone(), change: Box::new(change), count: 0 };
        Link::new(Incoming { received, left: VecDeque::new() }, writer)
    }

    /// A sender over a good line.
    fn sender(&self) -> Result<Sender> {
        Sender::open(self.link(|_, frame| Some(frame.to_vec())))
    }

    /// Waits until `text` has been printed so often.
    fn waits_for(&self, text: &str, times: usize) -> Result<()> {
        shows(&self.screen, text, times)
    }

    /// Waits until the old VMs have said something once more.
    fn goes_on(&self) -> Result<()> {
        let before = self.seen();
        ["[old] still here", "[older] still here"]
            .iter()
            .try_for_each(|text| self.waits_for(text, before.matches(text).count() + 2))
    }

    fn seen(&self) -> String {
        locked(&self.screen).seen.clone()
    }

    /// Waits for the new VM's end, which is that of the run; returns what was printed.
    fn ends(&self) -> Result<String> {
        self.waits_for("tinyvmm: exit code 0", 1)?;
        let seen = self.seen();
        ensure!(seen.contains("all new\n"), "the new VM has not run:\n{seen}");
        Ok(seen)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Waits until `text` has been printed so often.
fn shows(screen: &Mutex<Screen>, text: &str, times: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while locked(screen).seen.matches(text).count() < times {
        if Instant::now() > deadline {
            bail!("{text:?} did not come; console:\n{}", locked(screen).seen);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

impl Screen {
    fn show(&mut self, bytes: &[u8]) {
        self.seen.push_str(&String::from_utf8_lossy(bytes).replace('\r', ""));
        // Nobody may listen any more.
        self.listener.iter().for_each(|listener| drop(listener.send(bytes.to_vec())));
    }
}

/// What is printed, for a link.
struct Incoming {
    received: Receiver<Vec<u8>>,
    left: VecDeque<u8>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            self.left.extend(self.received.recv().unwrap_or_default());
        }
        self.left.read(buffer)
    }
}

/// What happens to the frame with this number.
type Change = Box<dyn FnMut(usize, &[u8]) -> Option<Vec<u8>> + Send>;

/// The way to the hypervisor: each write is a frame, after the first two, which call the monitor.
struct Wire {
    keyboard: Arc<Mutex<ChildStdin>>,
    change: Change,
    count: usize,
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const CALL: usize = 2;
        self.count += 1;
        let changed = match self.count.checked_sub(CALL + 1) {
            Some(frame) => (self.change)(frame, bytes).ok_or(io::ErrorKind::BrokenPipe)?,
            None => bytes.to_vec(),
        };
        let mut keyboard = locked(&self.keyboard);
        keyboard.write_all(&changed).and_then(|()| keyboard.flush())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a bundle with this sender; returns with how many bytes it began, and closes the line.
fn send(mut sender: Sender, bundle: &[u8]) -> Result<usize> {
    let mut first = None;
    sender.send(bundle, |done| {
        first.get_or_insert(done);
    })?;
    sender.close()?;
    Ok(first.unwrap_or(0))
}

fn replaces(machine: Machine, smp: u8) -> Result<()> {
    let line = Line::start(&Board::of(machine, smp), &old(), "loglevel=info")?;
    let begun = send(line.sender()?, &new()?)?;
    ensure!(begun == 0, "it did not begin at the start");
    let seen = line.ends()?;
    for name in ["old", "older"] {
        ensure!(
            seen.contains(&format!("vm '{name}' ended: exit code 137")),
            "'{name}' was not ended:\n{seen}"
        );
    }
    ensure!(seen.contains("another bundle runs: new\n"), "no word of it:\n{seen}");
    Ok(())
}

/// The line breaks in the middle of a frame; the next push goes on with the block that was not whole.
fn resumes(frames: usize) -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "")?;
    let broken = line.link(move |count, frame| match count.cmp(&frames) {
        std::cmp::Ordering::Less => Some(frame.to_vec()),
        std::cmp::Ordering::Equal => Some(frame[..frame.len() / 2].to_vec()),
        std::cmp::Ordering::Greater => None,
    });
    let bundle = new()?;
    let error = send(Sender::open(broken)?, &bundle).err().context("the line was not broken")?;
    ensure!(error.to_string().contains("cannot write"), "{error:#}");
    line.goes_on()?;
    let begun = send(line.sender()?, &bundle)?;
    ensure!(begun == frames.saturating_sub(1) * 1024, "it went on at {begun}");
    line.ends().map(drop)
}

/// Every third frame arrives changed, of every seventh a part is missing.
fn noise() -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "")?;
    let noisy = line.link(|count, frame| {
        let mut frame = frame.to_vec();
        let middle = frame.len() / 2;
        if count % 3 == 1 {
            frame[middle] ^= 0x20;
        }
        if count % 7 == 2 {
            frame.drain(middle - 3..middle);
        }
        Some(frame)
    });
    send(Sender::open(noisy)?, &new()?)?;
    line.ends().map(drop)
}

fn abort() -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "")?;
    let broken = line.link(|count, frame| (count < 10).then(|| frame.to_vec()));
    send(Sender::open(broken)?, &new()?).err().context("the line was not broken")?;
    let mut sender = line.sender()?;
    sender.abort()?;
    let begun = send(sender, &new()?)?;
    ensure!(begun == 0, "it went on at {begun}");
    line.ends().map(drop)
}

fn refusal(line: &Line, bundle: &[u8], reason: &str) -> Result<()> {
    let mut sender = line.sender()?;
    let error = sender.send(bundle, |_| {}).err().context("it was not refused")?;
    sender.close()?;
    ensure!(error.to_string().contains(reason), "{error:#}");
    line.goes_on()
}

/// Of a bundle that has no room, nothing is sent.
fn too_large() -> Result<()> {
    let board = Board { memory: Size::mib(128), ..parallel(1) };
    let line = Line::start(&board, &old(), "")?;
    refusal(&line, &vec![7; 130 << 20], "the bundle is too large: not enough free memory")?;
    let large = bundle(&[Vm::new("large", "witness.elf").memory("120MiB")])?;
    refusal(&line, &large, "not enough free memory for the new VMs beside the old ones")
}

fn refused() -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "")?;
    refusal(&line, b"no bundle", "bundle: not a tar archive")?;
    let elsewhere = bundle(&[Vm::new("elsewhere", "witness.elf").affinity(&[7])])?;
    refusal(&line, &elsewhere, "affinity = 7: no such core is running")?;
    send(line.sender()?, &new()?)?;
    line.ends().map(drop)
}

fn forbidden() -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "receive=off")?;
    let error = line.sender().err().context("it was not refused")?;
    ensure!(error.to_string().contains("receive=off"), "{error:#}");
    line.goes_on()
}

/// A sender that says nothing more does not keep the console.
fn silence() -> Result<()> {
    let line = Line::start(&parallel(1), &old(), "")?;
    let _sender = line.sender()?;
    line.waits_for("input goes to vm 'old'", 1)?;
    let seen = line.seen();
    let meanwhile = seen.split("ready").nth(1).and_then(|rest| rest.split("input goes").next());
    ensure!(meanwhile.is_some_and(|text| !text.contains("still here")), "the VMs were not silent:\n{seen}");
    line.goes_on()
}

/// The same again and again: each time, as much memory is free.
fn no_leak() -> Result<()> {
    const FREE: &str = "memory before the first VM: ";
    let line = Line::start(&parallel(1), &old(), "loglevel=debug")?;
    let bundle = bundle(&old())?;
    for times in 2..6 {
        refusal(&line, &[1; 5000], "bundle: ")?;
        send(line.sender()?, &bundle)?;
        line.waits_for("memory with other VMs", times - 1)?;
        line.goes_on()?;
    }
    let seen = line.seen();
    let free: Vec<&str> = seen.split(FREE).skip(1).filter_map(|rest| rest.lines().next()).collect();
    ensure!(free.len() == 5, "{} times:\n{seen}", free.len());
    // At first the bundle was the boot loader's.
    ensure!(free[3] == free[2] && free[4] == free[2], "{free:?}");
    Ok(())
}

/// Goes on until its disk says that it is to end.
const MORTAL: &str = "import hv, time\nprint('still here')\ndisk, sector = hv.BlockDev(), bytearray(512)\n\
                      while disk.readblocks(0, sector) == 0 and sector[0] == 0: time.sleep_ms(20)\n";

/// VMs of which the first one, `mortal`, ends before this frame of a push is sent.
fn with_an_end(mut others: Vec<Vm>, last: usize) -> Result<(Line, Sender)> {
    let disk = NamedTempFile::new()?;
    // The size of an SD card is a power of two.
    disk.as_file().set_len(1 << 20)?;
    let board = Board { disks: vec![disk.path().into()], ..parallel(1) };
    let name = if board.machine == Machine::Raspi4b { "sd" } else { "virtio0" };
    others.insert(0, Vm::python("mortal", MORTAL).disks(&[name.to_owned()]));
    let line = Line::start(&board, &others, "loglevel=info")?;
    let screen = line.screen.clone();
    let link = line.link(move |count, frame| {
        if count == last {
            disk.as_file().write_all_at(&[1], 0).ok()?;
            shows(&screen, "vm 'mortal' ended: exit code 0", 1).ok()?;
        }
        Some(frame.to_vec())
    });
    let sender = Sender::open(link)?;
    Ok((line, sender))
}

fn a_vm_ends() -> Result<()> {
    let (line, sender) = with_an_end(vec![witness("older")], 5)?;
    send(sender, &new()?)?;
    let seen = line.ends()?;
    ensure!(seen.contains("vm 'older' ended: exit code 137"), "the other one was not ended:\n{seen}");
    Ok(())
}

/// The run goes on until the new ones have ended.
fn the_last_vm_ends() -> Result<()> {
    let (line, sender) = with_an_end(vec![], 5)?;
    send(sender, &new()?)?;
    line.ends().map(drop)
}

/// The run is over when the sender is done.
fn the_last_vm_ends_for_nothing() -> Result<()> {
    let (line, mut sender) = with_an_end(vec![], 0)?;
    sender.abort()?;
    sender.close()?;
    line.waits_for("tinyvmm: exit code 0", 1)
}

/// As a user does it.
fn by_command() -> Result<()> {
    let (_old, before) = file("old.py", "import time\nwhile True:\n    time.sleep(1)\n")?;
    let (_new, after) = file("new.py", "import sys\nsys.exit(7)\n")?;
    let mut device = start_run("tcp:0", &["--escape", before.to_str().context("a path")?])?;
    let words = ["push", "--port", device.name(), after.to_str().context("a path")?];
    run(xtask(&words)?)?.ends_with(0)?.shows("the new VMs start\n")?;
    let code = device.wait(PATIENCE)?;
    ensure!(code == Some(7), "exit code {code:?}");
    Ok(())
}
