//! VMs that keep the hypervisor as busy as they can. Beside each runs a VM of the same priority on the same core, which must
//! have its fair share: it takes hardly longer than beside a VM that only computes. The monitor stays at hand.
//!
//! Time is counted in instructions, so that it is the same in each run.

use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, bundle_with, counting, raw};
use crate::dialogue::Dialogue;
use crate::test;

/// How much longer than beside a VM that computes it may take beside a storm, in percent.
const UNFAIR_PERCENT: u64 = 10;

/// Storms of VMs with one vCPU.
const ALONE: &[&str] =
    &["sgi-self", "timer", "pending", "wfi", "wfi-due", "wfe", "hvc", "hvc-wild", "gic", "putchar"];
/// Storms of VMs with several vCPUs, which get the core as often as there are of them.
const TOGETHER: &[&str] = &["sgi-others", "gic", "timer"];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![];
    for machine in [Machine::Virt, Machine::VirtGicv2] {
        let name = machine.name();
        for (vcpus, modes) in [(1, ALONE), (2, TOGETHER)] {
            let storm = |mode: &'static str| {
                let run = move || Case { machine, smp: 1, vcpus }.is_fair(mode);
                test(format!("storm::{mode}_{vcpus}_{name}"), run)
            };
            tests.extend(modes.iter().copied().map(storm));
        }
        tests.push(test(format!("storm::sgi-to-busy_across_cores_{name}"), move || across_cores(machine)));
        tests.push(test(format!("storm::line_{name}"), move || line(machine)));
        tests.push(test(format!("storm::gic_beside_interrupts_{name}"), move || beside_interrupts(machine)));
    }
    tests
}

/// What the storms of a kind have in common, and what they are measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    machine: Machine,
    smp: u8,
    vcpus: u32,
}

impl Case {
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
        let storm = Vm::new("storm", "storm.elf").args(&["storm", mode]).vcpus(self.vcpus);
        let last_core = self.smp - 1;
        let vms = [victim().affinity(&[last_core]), storm];
        time(Dialogue::start_bundle(&counting(self.machine, self.smp), &bundle(&vms)?, "")?)
    }
}

fn victim() -> Vm {
    Vm::new("victim", "victim.elf")
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
fn across_cores(machine: Machine) -> Result<()> {
    let on_core = |mode: &str| {
        let vms = [victim().affinity(&[1]), Vm::new("storm", "storm.elf").args(&["storm", mode]).vcpus(3)];
        let mut dialogue = Dialogue::start_bundle(&counting(machine, 2), &bundle(&vms)?, "loglevel=info")?;
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
fn line(machine: Machine) -> Result<()> {
    let vms = [victim().affinity(&[0]), Vm::new("storm", "storm.bin").machine("virt").memory("4MiB")];
    let bundle = bundle_with(&vms, &[("storm.bin", raw("line-storm")?)])?;
    let taken = time(Dialogue::start_bundle(&counting(machine, 1), &bundle, "")?)?;
    compare(taken, Case { machine, smp: 1, vcpus: 1 }.undisturbed()?)
}

/// Whatever a VM does to its interrupt controller, that of another works.
fn beside_interrupts(machine: Machine) -> Result<()> {
    let storm = Vm::new("storm", "storm.elf").args(&["storm", "gic"]).vcpus(2);
    let others =
        [Vm::new("sgi", "sgi.elf").vcpus(4).priority(9), Vm::new("priorities", "priorities.elf").vcpus(2)];
    let vms: Vec<Vm> = others.into_iter().chain([storm]).collect();
    let mut dialogue = Dialogue::start_on(&Board { machine, smp: 2, ..Board::default() }, &vms, "")?;
    dialogue.shows("[sgi] checked\n")?.shows("[priorities] checked\n")?;
    dialogue.types("\x01m")?.expects("monitor> ")?.types("kill storm\r")?;
    dialogue.ends()?.lacks("FAIL")?.ends_with(137).map(drop)
}
