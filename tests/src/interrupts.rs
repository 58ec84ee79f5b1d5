//! Virtual interrupts, several vCPUs and several cores, and the board that guests may expect.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::build::assemble;
use xtask::paths::root;
use xtask::qemu::{Board, Cpu, Machine};
use xtask::toolchain::Toolchain;

use crate::boot::{Vm, bundle, bundle_with, run_on};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![];
    for machine in [Machine::Virt, Machine::VirtGicv2] {
        for smp in [1, 4] {
            let board = move |cpu| Board { machine, smp, cpu, ..Board::default() };
            let name = format!("{}_{smp}", machine.name());
            tests.push(test(format!("interrupts::{name}"), move || interrupts(board(Cpu::CortexA72))));
            tests.push(test(format!("interrupts::{name}_max"), move || interrupts(board(Cpu::Max))));
            tests.push(test(format!("board::{name}"), move || raw_board(board(Cpu::CortexA72))));
            tests.push(test(format!("cores::{name}"), move || many(board(Cpu::CortexA72))));
        }
    }
    tests
}

/// Two VMs with two vCPUs each, beside one that computes.
fn interrupts(board: Board) -> Result<()> {
    let vm = |name: &str| Vm::new(name, "interrupts.elf").vcpus(2);
    let busy = Vm::new("busy", "registers.elf").args(&["registers", "5"]);
    let console = run_on(&board, &bundle(&[vm("a"), busy, vm("b")])?, "")?;
    console.lacks("FAIL")?.shows("[a] checked\n")?.shows("[b] checked\n")?;
    console.of_vm_is("busy", &["registers kept"])?.ends_with(0).map(drop)
}

/// A program for a bare board, unmodified.
fn raw_board(board: Board) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let binary = directory.path().join("board.bin");
    assemble(&root().join("tests/guests/raw/board.S"), &binary, &Toolchain::find()?)?;
    let vm = Vm::new("board", "board.bin").machine("virt").memory("4MiB").vcpus(2);
    let console = run_on(&board, &bundle_with(&[vm], &[("board.bin", std::fs::read(&binary)?)])?, "")?;
    console.is("device tree\nsecond vCPU\n")?.ends_with(0).map(drop)
}

/// More VMs than cores, of several priorities: each gets its turn, and keeps its registers.
fn many(board: Board) -> Result<()> {
    let names = ["a", "b", "c", "d", "e", "f"];
    let vms: Vec<Vm> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let seed = (index + 3).to_string();
            let priority = u8::try_from(index % 2).unwrap_or(0);
            Vm::new(name, "registers.elf").args(&["registers", &seed]).priority(priority)
        })
        .collect();
    let console = run_on(&board, &bundle(&vms)?, "")?;
    names.iter().try_for_each(|name| console.of_vm_is(name, &["registers kept"]).map(drop))?;
    console.ends_with(0).map(drop)
}
