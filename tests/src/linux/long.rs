//! What of Linux takes minutes: against the same kernel without a hypervisor, under load, in small and large VMs, and
//! Debian's installer.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use xtask::guest::linux::Release;
use xtask::qemu::{Board, Machine};
use xtask::size::Size;

use super::guest::{Linux, QUIET};
use crate::boot::{counting, raw, run_on};
use crate::dialogue::Dialogue;
use crate::test;

const MESSAGES: &str = include_str!("../../guests/linux/messages.py");
const SUITE: &str = include_str!("../../guests/linux/suite.py");
const LOAD: &str = include_str!("../../guests/linux/load.py");

/// Enough for minutes of work on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(1800);

pub(super) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("linux::large", large)];
    for release in Release::ALL {
        let named = |name: &str| format!("linux::{name}_{}", release.name());
        tests.push(test(named("python_tests"), move || python_tests(release)));
        tests.push(test(named("installer"), move || installer(release)));
        tests.push(test(named("small"), move || small(release)));
        for machine in [Machine::Virt, Machine::VirtGicv2] {
            let named = |name: &str| format!("linux::{name}_{}_on_{}", release.name(), machine.name());
            tests.push(test(named("messages"), move || messages(release, machine)));
            tests.push(test(named("load"), move || load(release, machine)));
        }
    }
    tests
}

/// A board whose time is counted, without a hypervisor, with the memory of a VM.
fn plain_board(machine: Machine, smp: u8, memory: Size) -> Board {
    Board { memory, ..counting(machine, smp) }
}

/// The kernel warns of nothing beside eight VMs that compute of which it does not warn without a hypervisor.
fn messages(release: Release, machine: Machine) -> Result<()> {
    let linux = Linux::new(release.bootable()?, &QUIET).vcpus(4).file("/main.py", MESSAGES);
    let plain = linux.plain(&plain_board(machine, 4, Size::mib(256)), PATIENCE)?;
    let known: BTreeSet<&str> = plain.lines().filter(|line| line.starts_with("message: ")).collect();
    let bundle = linux.beside_busy(8).bundle()?;
    let mut dialogue = Dialogue::start_bundle(&counting(machine, 4), &bundle, "")?.patient(PATIENCE);
    let count = dialogue.shows("[linux] messages: ")?.line("[linux] messages: ")?;
    let console = dialogue.output();
    let own: Vec<&str> = console
        .lines()
        .filter_map(|line| line.strip_prefix("[linux] "))
        .filter(|line| line.starts_with("message: "))
        .collect();
    ensure!(own.len().to_string() == count, "{} messages of {count}:\n{console}", own.len());
    let new: Vec<_> = own.into_iter().filter(|message| !known.contains(message)).collect();
    ensure!(new.is_empty(), "{new:#?} are not among {known:#?}");
    Ok(())
}

/// CPython's own tests pass as they do without a hypervisor.
fn python_tests(release: Release) -> Result<()> {
    let linux = Linux::new(release.with_python_tests()?, &QUIET).memory("512MiB").file("/main.py", SUITE);
    let plain = results(&linux.plain(&plain_board(Machine::Virt, 1, Size::mib(512)), PATIENCE)?)?;
    let board = counting(Machine::Virt, 1);
    let console = Dialogue::start_bundle(&board, &linux.bundle()?, "")?.patient(PATIENCE).ends()?;
    let own = results(&console.output)?;
    console.check(own == plain, &format!("{own:#?} instead of {plain:#?}"))?;
    console.check(own.iter().any(|line| line.ends_with(" test_json passed")), "no test has passed").map(drop)
}

/// What became of each test.
fn results(output: &str) -> Result<BTreeSet<String>> {
    let ends = [" passed", " failed", " skipped"];
    let is_result = |line: &&str| ends.iter().any(|end| line.contains(end)) && line.contains("] test_");
    let results = output.lines().filter(is_result);
    let results: BTreeSet<_> =
        results.filter_map(|line| Some(format!(" {}", line.split_once("] ")?.1))).collect();
    ensure!(!results.is_empty(), "no results in:\n{output}");
    Ok(results)
}

/// Ten minutes of its time with all vCPUs busy, without a complaint. An instruction takes 16 ns there.
fn load(release: Release, machine: Machine) -> Result<()> {
    let linux = Linux::new(release.bootable()?, &QUIET).vcpus(4).memory("512MiB").file("/main.py", LOAD);
    let extra = ["-icount", "shift=4,sleep=off"].map(Into::into).to_vec();
    let board = Board { extra, ..Board::of(machine, 4) };
    let mut dialogue = Dialogue::start_bundle(&board, &linux.bundle()?, "")?.patient(PATIENCE);
    for minute in 1..=10 {
        dialogue.expects(&format!("minute {minute}\n"))?;
    }
    let console = dialogue.ends()?;
    console.shows("failed 0 timers 4 complaints []\n")?.ends_with(0).map(drop)
}

/// The smallest memory that a kernel can do with, without programs.
fn small(release: Release) -> Result<()> {
    let guest = release.bootable()?;
    let linux = Linux::new(guest, &QUIET).memory("64MiB").without_initrd().file("/init", raw("bench_init")?);
    run_on(&Board::default(), &linux.bundle()?, "")?.shows("figure linux_boot ")?.ends_with(0).map(drop)
}

fn large() -> Result<()> {
    let script = "import os\nprint('cpus', os.cpu_count())\n\
                  print('GiB', os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30 > 2.8)\n";
    let linux = Linux::new(Release::Debian13.bootable()?, &QUIET);
    let linux = linux.vcpus(8).memory("3GiB").file("/main.py", script);
    let board = Board { smp: 4, memory: Size::mib(4096), ..Board::default() };
    run_on(&board, &linux.bundle()?, "")?.shows("cpus 8\nGiB True\n")?.ends_with(0).map(drop)
}

/// Debian's installer comes as far as its first question.
fn installer(release: Release) -> Result<()> {
    let linux = Linux::new(release.installer()?, &["console=ttyAMA0"]).memory("512MiB");
    let mut dialogue = Dialogue::start_bundle(&Board::default(), &linux.bundle()?, "")?.patient(PATIENCE);
    dialogue.expects("Select a language")?.expects("English")?;
    Ok(())
}
