//! Virtual interrupts, several vCPUs and several cores, and the board that guests may expect.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::qemu::{Board, Cpu, Machine};

use crate::boot::{Vm, bundle, bundle_with, cores, counting, raw, run_on};
use crate::dialogue::Dialogue;
use crate::test;

/// How late an interrupt of the virtual timer may be on a board that counts instructions, in microseconds.
const LATE_US: &str = "10";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![];
    for machine in [Machine::Virt, Machine::VirtGicv2, Machine::Raspi4b] {
        for smp in cores(machine, &[1, 4]) {
            let board = move |cpu| Board { cpu, ..Board::of(machine, smp) };
            let name = format!("{}_{smp}", machine.name());
            tests.push(test(format!("interrupts::{name}"), move || interrupts(board(Cpu::CortexA72))));
            if machine != Machine::Raspi4b {
                tests.push(test(format!("interrupts::{name}_max"), move || interrupts(board(Cpu::Max))));
            }
            tests.push(test(format!("board::{name}"), move || raw_board(board(Cpu::CortexA72))));
            tests.push(test(format!("cores::{name}"), move || many(board(Cpu::CortexA72))));
            // QEMU 10.0 forgets a GICv2's physical interrupt that is still high when a guest ends the virtual one: with
            // a deadline that is over before it is set, which only a slow machine brings about, all would wait.
            if machine == Machine::Virt {
                tests.push(test(format!("timer::{name}"), move || timer(board(Cpu::CortexA72))));
            }
        }
        for smp in cores(machine, &[1, 2, 4]) {
            let board = Board::of(machine, smp);
            tests.push(test(format!("sgi::{}_{smp}", machine.name()), move || sgi(board)));
        }
        let name = machine.name();
        tests.push(test(format!("timer::{name}_counted"), move || exact_timer(machine, 100)));
        tests.push(
            test(format!("timer::{name}_long"), move || exact_timer(machine, 10_000)).with_ignored_flag(true),
        );
        tests.push(test(format!("timer::{name}_preempts"), move || preempting_timer(machine)));
        tests.push(test(format!("priorities::{name}"), move || priorities(machine, Cpu::CortexA72)));
        if machine != Machine::Raspi4b {
            tests.push(test(format!("priorities::{name}_max"), move || priorities(machine, Cpu::Max)));
        }
        tests.push(test(format!("uart::{name}"), move || uart(machine)));
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
    let vm = Vm::new("board", "board.bin").machine("virt").memory("4MiB").vcpus(2);
    let console = run_on(&board, &bundle_with(&[vm], &[("board.bin", raw("board")?)])?, "")?;
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

/// A thousand ticks of a millisecond.
fn timer(board: Board) -> Result<()> {
    let vm = Vm::new("a", "timer.elf").args(&["timer", "-", "1000"]);
    run_on(&board, &bundle(&[vm])?, "")?.lacks("FAIL")?.shows("checked\n")?.ends_with(0).map(drop)
}

/// The same on a clock that tells how late they are, for so many milliseconds.
fn exact_timer(machine: Machine, milliseconds: u32) -> Result<()> {
    let vm = Vm::new("a", "timer.elf").args(&["timer", LATE_US, &milliseconds.to_string()]);
    let console = run_on(&counting(machine, 1), &bundle(&[vm])?, "")?;
    console.lacks("FAIL")?.shows("checked\n")?.ends_with(0).map(drop)
}

/// Those of a higher priority do not have to wait for a turn to end.
fn preempting_timer(machine: Machine) -> Result<()> {
    let timer = Vm::new("timer", "timer.elf").args(&["timer", LATE_US, "50"]).priority(9);
    // With several cores at work, what is counted is the sum of their instructions.
    let vms = [timer, Vm::new("a", "victim.elf"), Vm::new("b", "victim.elf")].map(|vm| vm.affinity(&[0]));
    let console = run_on(&counting(machine, 1), &bundle(&vms)?, "")?;
    console.lacks("FAIL")?.shows("[timer] checked\n")?.ends_with(0).map(drop)
}

/// Two VMs with four vCPUs each.
fn sgi(board: Board) -> Result<()> {
    let vm = |name: &str| Vm::new(name, "sgi.elf").vcpus(4);
    let console = run_on(&board, &bundle(&[vm("a"), vm("b")])?, "")?;
    console.of_vm_is("a", &["checked"])?.of_vm_is("b", &["checked"])?.ends_with(0).map(drop)
}

/// Two VMs that turn everything in their interrupt controllers upside down.
fn priorities(machine: Machine, cpu: Cpu) -> Result<()> {
    let vm = |name: &str| Vm::new(name, "priorities.elf").vcpus(2);
    let board = Board { cpu, ..Board::of(machine, 1) };
    let console = run_on(&board, &bundle(&[vm("a"), vm("b")])?, "")?;
    console.of_vm_is("a", &["checked"])?.of_vm_is("b", &["checked"])?.ends_with(0).map(drop)
}

/// Typed input comes with the interrupts that the PL011's manual says.
fn uart(machine: Machine) -> Result<()> {
    let vm = Vm::new("a", "uart.bin").machine("virt").memory("4MiB");
    let bundle = bundle_with(&[vm], &[("uart.bin", raw("uart")?)])?;
    let board = Board::of(machine, 1);
    let mut dialogue = Dialogue::start_bundle(&board, &bundle, "")?;
    dialogue.expects("> sent\nready for one\n")?.types("x")?.expects("x came\nready for four\n")?;
    dialogue.types("abc")?.types("d")?.expects("abcd came\nready for four more\n")?.types("efgh")?;
    dialogue.ends()?.lacks("FAIL")?.shows("e came first\n")?.ends_with(0).map(drop)
}
