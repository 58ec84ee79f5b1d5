//! Linux guests on the network: what they send each other and the host comes as it was sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sha2::{Digest, Sha256};
use xtask::bundle::Draft;
use xtask::guest::linux::Release;
use xtask::qemu::{Board, Machine};
use xtask::size::Size;

use crate::boot::products;
use crate::dialogue::Dialogue;
use crate::test;

const SCRIPT: &str = include_str!("../python/transfer.py");
/// Two VMs, each with the last byte of its address.
const VMS: [(&str, u8); 2] = [("a", 21), ("b", 22)];
/// What a busy machine needs for all of it, in times of a dialogue's patience.
const PATIENCE: usize = 10;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![];
    for (release, machine) in [(Release::Debian12, Machine::VirtGicv2), (Release::Debian13, Machine::Virt)] {
        let name = format!("transfer::{}_on_{}", release.name(), machine.name());
        tests.push(test(name, move || transfer(release, machine, 64)).with_ignored_flag(true));
    }
    tests
}

/// Each VM sends so many MiB to the other one and to the host, and the host to each, all at once.
fn transfer(release: Release, machine: Machine, mib: usize) -> Result<()> {
    let inbound = TcpListener::bind("127.0.0.1:0")?;
    let outbound = [free_port()?, free_port()?];
    let forward = |(port, (_, address))| format!("hostfwd=tcp:127.0.0.1:{port}-10.0.2.{address}:7001");
    let forwards = outbound.into_iter().zip(VMS).map(forward).collect::<Vec<_>>().join(",");
    let network = Some(format!("user,{forwards}"));
    let board = Board { network, memory: Size::mib(2048), ..Board::of(machine, 2) };
    let bundle = bundle(release, inbound.local_addr()?.port(), mib)?;
    let mut dialogue = Dialogue::start_bundle(&board, &bundle, "")?;
    let received = thread::spawn(move || [(); VMS.len()].map(|()| digest_of_next(&inbound)));
    let own: Vec<u8> = (0..mib << 20)
        .map(|at| at.to_le_bytes().iter().fold(7, |sum: u8, byte| sum.wrapping_mul(31) ^ byte))
        .collect();
    for ((name, _), port) in VMS.into_iter().zip(outbound) {
        patiently(|| dialogue.shows(&format!("[{name}] listening\n")).map(drop))?;
        TcpStream::connect(("127.0.0.1", port))?.write_all(&own)?;
    }
    let mut told = |name: &str, file: &str| {
        let start = format!("[{name}] {file} ");
        patiently(|| dialogue.shows(&start).map(drop))?;
        dialogue.seen(&start)
    };
    let mut sent = vec![];
    for ((name, _), (other, _)) in VMS.into_iter().zip(VMS.into_iter().rev()) {
        sent.push(told(name, "sent")?);
        for (file, expected) in [("vm", told(other, "sent")?), ("host", digest(&own))] {
            let received = told(name, file)?;
            ensure!(received == expected, "vm {name}: {file} is {received}, but was {expected}");
        }
    }
    let received = received.join().map_err(|_| anyhow::anyhow!("the host has received nothing"))?;
    let mut received = received.into_iter().collect::<Result<Vec<_>>>()?;
    sent.sort();
    received.sort();
    ensure!(sent == received, "the host has something else than the VMs have sent");
    Ok(())
}

/// Tries again as long as a busy machine may need.
fn patiently(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    (1..PATIENCE).find_map(|_| attempt().ok()).map_or_else(attempt, Ok)
}

/// A port that nobody uses, at least just now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The digest of all that whoever connects next sends.
fn digest_of_next(listener: &TcpListener) -> Result<String> {
    let (mut stream, _) = listener.accept()?;
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes)?;
    Ok(digest(&bytes))
}

/// Length and digest, as the VMs show them.
fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {hex} -", bytes.len())
}

fn bundle(release: Release, port: u16, mib: usize) -> Result<Vec<u8>> {
    let vm = |(name, address): (&str, u8)| {
        let other = VMS.iter().map(|(_, other)| *other).find(|other| *other != address).unwrap_or(address);
        format!(
            "[[vm]]\nname = {name:?}\nmachine = \"virt\"\nimage = {:?}\ninitrd = {:?}\nmemory = \"640MiB\"\n\
             network = \"uplink\"\nargs = [\"console=ttyAMA0\", \"quiet\", \"ip=10.0.2.{address}\", \"--\", \
             \"10.0.2.{other}\", \"{port}\", \"{mib}\"]\nfiles.\"/main.py\" = \"main.py\"\n",
            release.image(),
            release.initrd()
        )
    };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("linux.toml");
    std::fs::write(&path, VMS.map(vm).concat())?;
    std::fs::write(directory.path().join("main.py"), SCRIPT)?;
    Draft::manifest(&path)?.pack(&products()?)
}
