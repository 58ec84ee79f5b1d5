//! VMs that keep the hypervisor as busy as they can. Beside each runs a VM of the same priority on the same core, which must
//! have its fair share: it takes hardly longer than beside a VM that only computes. The monitor stays at hand.
//!
//! Time is counted in instructions, so that it is the same in each run.

use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::qemu::Machine;

use crate::boot::{Vm, bundle_with, raw};
use crate::dialogue::Dialogue;
use crate::matrix::{self, board, counting};
use crate::test;

/// How much longer than beside a VM that computes it may take beside a storm, in percent.
const UNFAIR_PERCENT: u64 = 10;

/// Storms of VMs with one vCPU.
const ALONE: &[&str] =
    &["sgi-self", "timer", "pending", "wfi", "wfi-due", "wfe", "hvc", "hvc-wild", "gic", "putchar"];
/// Storms of VMs with several vCPUs, which get the core as often as there are of them.
const TOGETHER: &[&str] = &["sgi-others", "gic", "timer"];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = storms();
    tests.extend(matrix::on(Machine::VirtGicv2, storms));
    tests
}

fn storms() -> Vec<Trial> {
    let mut tests = vec![
        test("storm::sgi-to-busy_across_cores", across_cores),
        test("storm::line", line),
        test("storm::gic_beside_interrupts", beside_interrupts),
    ];
    for (vcpus, modes) in [(1, ALONE), (2, TOGETHER)] {
        let storm = |mode: &'static str| {
            test(format!("storm::{mode}_{vcpus}"), move || Case::of(vcpus).is_fair(mode))
        };
        tests.extend(modes.iter().copied().map(storm));
    }
    tests
}

/// What the storms of a kind have in common, and what they are measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    machine: Machine,
    vcpus: u32,
}

impl Case {
    /// On the board of the test.
    fn of(vcpus: u32) -> Self {
        Self { machine: matrix::machine(), vcpus }
    }

    fn is_fair(self, mode: &str) -> Result<()> {
        compare(self.microseconds(mode)?, self.undisturbed()?)
    }

    /// How long the work takes beside a VM that computes: found once for all tests that need it.
    fn undisturbed(self) -> Result<u64> {
        static KNOWN: Mutex<Vec<(Case, u64)>> = Mutex::new(vec![]);
        let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, time)) = known.iter().find(|(case, _)| *case == self) {
            return Ok(*time);
        }
        let time = self.microseconds("busy")?;
        known.push((self, time));
        Ok(time)
    }

    /// How long the work takes beside this.
    fn microseconds(self, mode: &str) -> Result<u64> {
        let vms = [victim(), storm(mode).vcpus(self.vcpus)].map(|vm| vm.affinity(&[0]));
        time(Dialogue::start_on(&counting(1), &vms, "")?)
    }
}

fn victim() -> Vm {
    Vm::new("victim", "victim.elf")
}

fn storm(mode: &str) -> Vm {
    Vm::new("storm", "storm.elf").args(&["storm", mode])
}

/// Lets the victim do its work, and then ends the storm at the monitor. Returns how long the work took, in microseconds.
fn time(mut dialogue: Dialogue) -> Result<u64> {
    let taken = work(&mut dialogue)?;
    dialogue.ends()?.ends_with(137)?;
    let taken = taken.strip_suffix(" us").and_then(|number| number.parse().ok());
    taken.context("the victim does not tell its time")
}

fn work(dialogue: &mut Dialogue) -> Result<String> {
    let taken = dialogue.line("[victim] took ")?;
    dialogue.types("\x01m")?.expects("monitor> ")?.types("list\r")?.expects("storm      running")?;
    dialogue.types("kill storm\r")?;
    Ok(taken)
}

/// A vCPU that waits for its turn on one core, while another sends it SGIs from another core: whoever has the core does
/// not pay for them. When the work is done depends on who shares the core, so what counts is the time on it.
fn across_cores() -> Result<()> {
    let on_core = |mode: &str| {
        let vms = [victim().affinity(&[1]), storm(mode).vcpus(3).affinity(&[0, 1])];
        let mut dialogue = Dialogue::start_on(&counting(2), &vms, "loglevel=info")?;
        work(&mut dialogue)?;
        let console = dialogue.ends()?;
        let end = console
            .output
            .split_once("vm 'victim' ended: ")
            .and_then(|(_, rest)| rest.split_once(" ticks on a core"));
        let ticks = end.and_then(|(before, _)| before.rsplit_once(' ')?.1.parse().ok());
        ticks.with_context(|| format!("no time on a core in:\n{}", console.output))
    };
    compare(on_core("sgi-to-busy")?, on_core("busy")?)
}

fn compare(time: u64, undisturbed: u64) -> Result<()> {
    ensure!(
        time * 100 <= undisturbed * (100 + UNFAIR_PERCENT),
        "{time}, which are {undisturbed} beside a VM that computes"
    );
    Ok(())
}

/// A level-sensitive interrupt that nobody serves.
fn line() -> Result<()> {
    let storm = Vm::new("storm", "storm.bin").machine("virt").memory("4MiB");
    let vms = [victim(), storm].map(|vm| vm.affinity(&[0]));
    let bundle = bundle_with(&vms, &[("storm.bin", raw("line-storm")?)])?;
    let taken = time(Dialogue::start_bundle(&counting(1), &bundle, "")?)?;
    compare(taken, Case::of(1).undisturbed()?)
}

/// Whatever a VM does to its interrupt controller, that of another works.
fn beside_interrupts() -> Result<()> {
    let others =
        [Vm::new("sgi", "sgi.elf").vcpus(4).priority(9), Vm::new("priorities", "priorities.elf").vcpus(2)];
    let vms: Vec<Vm> = others.into_iter().chain([storm("gic").vcpus(2)]).collect();
    let mut dialogue = Dialogue::start_on(&board(2), &vms, "")?;
    dialogue.shows("[sgi] checked\n")?.shows("[priorities] checked\n")?;
    dialogue.types("\x01m")?.expects("monitor> ")?.types("kill storm\r")?;
    dialogue.ends()?.lacks("FAIL")?.ends_with(137).map(drop)
}
