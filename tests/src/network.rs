//! The network of VMs, by a driver of their own: frames come as they were sent, to those who may get them.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tempfile::TempDir;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, cores, run_on};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("network::no_uplink", no_uplink),
        test("network::uplink", || uplink(Machine::Virt)),
        test("network::uplink_virt-gicv2", || uplink(Machine::VirtGicv2)),
    ];
    for machine in [Machine::Virt, Machine::VirtGicv2, Machine::Raspi4b] {
        for smp in cores(machine, &[1, 4]) {
            let board = Board::of(machine, smp);
            tests.push(test(format!("network::exchange_{}_{smp}", machine.name()), move || exchange(&board)));
        }
        let board = Board::of(machine, 1);
        tests.push(test(format!("network::hostile_{}", machine.name()), move || hostile(&board)));
    }
    tests
}

fn vm(name: &str, arguments: &[&str]) -> Vm {
    Vm::new(name, "network.elf").machine("virt").memory("2MiB").args(arguments).network("vms")
}

/// What is free before the first VM is free after the last.
fn leaks_nothing(console: &Console) -> Result<&Console> {
    let free = |when: &str| console.output.split(when).nth(1)?.lines().next();
    let (before, after) = (free("memory before the first VM: "), free("memory after the last VM: "));
    console.check(before.is_some() && before == after, "memory was lost")
}

/// All frames come, in order and unchanged.
fn exchange(board: &Board) -> Result<()> {
    let arguments = ["mode=exchange", "count=500", "length=0"];
    let console = run_on(board, &bundle(&[vm("a", &arguments), vm("b", &arguments)])?, "loglevel=debug")?;
    leaks_nothing(console.lacks("FAIL")?.shows("[a] sent\n")?.shows("[b] received\n")?)?
        .ends_with(0)
        .map(drop)
}

/// Who breaks rules harms nobody, and can go on after a reset of the card.
fn hostile(board: &Board) -> Result<()> {
    let exchange = ["count=100", "length=0"];
    let arguments = |mode| [&[mode], &exchange[..]].concat();
    let vms = [vm("a", &arguments("mode=hostile")), vm("b", &arguments("mode=exchange"))];
    let console = run_on(board, &bundle(&vms)?, "loglevel=debug")?;
    leaks_nothing(console.lacks("FAIL")?.shows("[a] sent\n")?.shows("[b] received\n")?)?
        .ends_with(0)
        .map(drop)
}

/// A VM without its uplink does not start; the others do.
fn no_uplink() -> Result<()> {
    let arguments = ["mode=exchange", "count=20", "length=0"];
    let lonely = vm("c", &arguments).network("uplink");
    let console =
        run_on(&Board::default(), &bundle(&[vm("a", &arguments), vm("b", &arguments), lonely])?, "")?;
    console.shows("vm 'c': network = \"uplink\": the board has no network device that works here\n")?;
    console
        .lacks("FAIL")?
        .shows("[b] received\n")?
        .lacks("[c]")?
        .check(console.code != 0, "one VM did not run")
        .map(drop)
}

/// The first byte after a frame's type: what it is for.
const HELLO: u8 = 1;
const DATA: u8 = 3;
const END: u8 = 5;
const TYPE: [u8; 2] = [0x88, 0xb5];
/// A station behind the uplink.
const STATION: [u8; 6] = [0, 0x16, 0x3e, 1, 2, 3];
const EVERYBODY: [u8; 6] = [0xff; 6];
/// What QEMU's network device has ends like this.
const UPLINK_END: [u8; 4] = [0, 0x12, 0x34, 0x56];

/// The address of a VM.
fn vm_address(number: u8) -> [u8; 6] {
    let [a, b, c, d] = UPLINK_END;
    [2, number, a, b, c, d]
}

/// The other end of the board's network.
struct Wire {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Wire {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let socket = UnixDatagram::bind(directory.path().join("peer")).context("cannot make a socket")?;
        Ok(Self { socket, directory })
    }

    /// What QEMU is told of it.
    fn backend(&self) -> String {
        let path = |name| self.directory.path().join(name).display().to_string();
        let (local, remote) = (path("board"), path("peer"));
        format!("dgram,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}")
    }

    fn send(&self, to: [u8; 6], kind: u8, payload: &[u8]) -> Result<()> {
        let frame = [&to[..], &STATION, &TYPE, &[kind], payload].concat();
        self.socket.send_to(&frame, self.directory.path().join("board")).context("cannot send")?;
        Ok(())
    }

    /// The next frame for experiments that comes from the board before the deadline.
    fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).ok()?;
            let mut frame = vec![0; 4096];
            let length = self.socket.recv(&mut frame).ok()?;
            frame.truncate(length);
            if frame.get(12..14) == Some(&TYPE[..]) {
                return Some(frame);
            }
        }
    }

    /// The answer of VM 1 to this has to be the next that comes.
    fn is_answered(&self, to: [u8; 6], kind: u8, payload: &[u8]) -> Result<()> {
        self.send(to, kind, payload)?;
        let answer = self.receive(Instant::now() + PATIENCE).context("no answer")?;
        let expected = [&STATION[..], &vm_address(1), &TYPE, &[kind], payload].concat();
        ensure!(answer == expected, "an answer of {} bytes to {}", answer.len(), expected.len());
        Ok(())
    }
}

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Frames go between the uplink and the VM that has it, and no other one.
fn uplink(machine: Machine) -> Result<()> {
    let wire = Wire::new()?;
    let board = Board { network: Some(wire.backend()), ..Board::of(machine, 2) };
    let echo = ["mode=echo"];
    let vms = [vm("a", &echo).network("uplink"), vm("b", &echo)];
    let mut dialogue = Dialogue::start_on(&board, &vms, "")?;
    dialogue.shows("[a] listening\n")?.shows("[b] listening\n")?;
    let announced = wire.receive(Instant::now() + PATIENCE).context("nobody is there")?;
    let hello = [&EVERYBODY[..], &vm_address(1), &TYPE, &[HELLO]].concat();
    ensure!(announced.starts_with(&hello), "the first frame is not what VM a says first");
    wire.send(vm_address(2), DATA, &[1; 50])?;
    for number in 0..200_usize {
        let payload: Vec<u8> = (0..=254).cycle().skip(number).take(number * 83 % 1500).collect();
        wire.is_answered(if number % 4 == 0 { EVERYBODY } else { vm_address(1) }, DATA, &payload)?;
    }
    // Too long for a frame.
    wire.send(vm_address(1), DATA, &[2; 1504])?;
    wire.is_answered(vm_address(1), END, &[3; 60])?;
    dialogue.shows("[a] ended\n").map(drop)
}
