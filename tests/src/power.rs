//! PSCI: vCPUs and VMs that are turned on and off.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, run_on};
use crate::dialogue::Dialogue;
use crate::matrix;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("power::wild", wild),
        test("power::system_off_with_others_on", system_off),
        test("power::reset2", reset2),
    ]
}

pub(crate) fn on_boards() -> Vec<Trial> {
    let mut tests = vec![];
    for (machine, smp) in [
        (Machine::Virt, 1),
        (Machine::Virt, 4),
        (Machine::VirtGicv2, 1),
        (Machine::VirtGicv2, 4),
        (Machine::Raspi4b, 4),
    ] {
        let board = move || Board::of(machine, smp);
        let name = format!("{}_{smp}", machine.name());
        tests.push(test(format!("power::cycles_{name}"), move || cycles(board(), "2000")));
        tests.push(
            test(format!("power::cycles_long_{name}"), move || cycles(board(), "200000"))
                .with_ignored_flag(true),
        );
        tests.push(test(format!("power::all_off_{name}"), move || all_off(board())));
        tests.push(test(format!("power::reset_{name}"), move || reset(board())));
    }
    tests
}

fn power(name: &str, mode: &[&str]) -> Vm {
    Vm::new(name, "power.elf").args(&[&["power"], mode].concat())
}

fn witness() -> Vm {
    Vm::new("witness", "witness.elf")
}

/// vCPUs that turn themselves off and are turned on again.
fn cycles(board: Board, count: &str) -> Result<()> {
    let vms = [power("two", &["cycles", count]).vcpus(2), power("four", &["cycles", count]).vcpus(4)];
    let console = run_on(&board, &bundle(&vms)?, "")?;
    console.of_vm_is("two", &["checked"])?.of_vm_is("four", &["checked"])?.ends_with(0).map(drop)
}

fn wild() -> Result<()> {
    let vms = [power("wild", &["wild"]).vcpus(2), witness()];
    let console = run_on(&matrix::board(1), &bundle(&vms)?, "")?;
    console.of_vm_is("wild", &["checked"])?.shows("[witness] witness 5\n")?.ends_with(0).map(drop)
}

/// A VM ends with the last of its vCPUs.
fn all_off(board: Board) -> Result<()> {
    let console = run_on(&board, &bundle(&[power("off", &["off"]).vcpus(4), witness()])?, "loglevel=info")?;
    console.of_vm_is("off", &[])?.shows("vm 'off' ended: exit code 0")?;
    console.shows("[witness] witness 5\n")?.ends_with(0).map(drop)
}

/// A VM ends at once, whatever its other vCPUs do.
fn system_off() -> Result<()> {
    let vm = Vm::new("off", "power.elf").args(&["power", "system-off"]).vcpus(4);
    let console = run_on(&matrix::board(2), &bundle(&[vm, witness()])?, "")?;
    console.of_vm_is("off", &[])?.shows("[witness] witness 5\n")?.ends_with(0).map(drop)
}

/// A VM starts again with fresh memory and all its vCPUs, and nobody else does.
fn reset(board: Board) -> Result<()> {
    let vms = [power("reset", &["reset"]).vcpus(2), witness()];
    let mut dialogue = Dialogue::start_on(&board, &vms, "")?;
    for _ in 0..3 {
        dialogue.expects("[reset] started\n")?;
    }
    dialogue.shows("[witness] witness 5\n")?.types("\x01m")?.expects("monitor> ")?.types("kill reset\r")?;
    let console = dialogue.ends()?;
    let once = console.output.matches("[witness] witness 1\n").count() == 1;
    console.check(once, "the witness has started again")?.lacks("FAIL").map(drop)
}

fn reset2() -> Result<()> {
    let mut dialogue = Dialogue::start_with(&[power("reset", &["reset-at-once"])], "loglevel=info")?;
    for _ in 0..3 {
        dialogue.expects("vm 'reset' ended: exit code 0")?;
    }
    dialogue.types("\x01m")?.expects("monitor> ")?.types("kill reset\r")?;
    dialogue.ends()?.ends_with(0).map(drop)
}
