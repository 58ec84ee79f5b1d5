//! VMs that must not notice each other.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::boot::{Vm, bundle, run, run_on};
use crate::dialogue::Dialogue;
use crate::{matrix, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("isolation::memory", memory),
        test("isolation::registers", registers),
        test("isolation::registers_alone", registers_alone),
        test("isolation::vectors", || vectors(1, "100")),
        test("isolation::vectors_on_two_cores", || vectors(2, "100")),
        test("isolation::vectors_long", || vectors(2, "20000")).with_ignored_flag(true),
        test("isolation::waiting_vms_stop_no_one", waiting_vms_stop_no_one),
        test("isolation::turns", turns),
        test("isolation::many_vms", many_vms),
    ]
}

fn memory() -> Result<()> {
    let vm = |name: &str, seed: &str| Vm::new(name, "memory.elf").memory("8MiB").args(&["memory", seed]);
    let console = run(&[vm("a", "1"), vm("b", "2"), vm("c", "3")])?;
    console.lacks("FAIL")?.shows("[a] checked")?.shows("[b] checked")?.shows("[c] checked")?;
    console.ends_with(0).map(drop)
}

fn keeper(name: &str, seed: &str) -> Vm {
    Vm::new(name, "registers.elf").args(&["registers", seed])
}

fn registers_alone() -> Result<()> {
    run(&[keeper("a", "5")])?.is("registers kept\n")?.ends_with(0).map(drop)
}

fn registers() -> Result<()> {
    let console = run(&[keeper("a", "3"), keeper("b", "6"), keeper("c", "9")])?;
    console.lacks("FAIL")?.of_vm_is("a", &["registers kept"])?.of_vm_is("b", &["registers kept"])?;
    console.of_vm_is("c", &["registers kept"])?.ends_with(0).map(drop)
}

/// Two VMs with two vCPUs each, which preempt each other for so many milliseconds.
fn vectors(smp: u8, milliseconds: &str) -> Result<()> {
    let vm =
        |name: &str, seed: &str| Vm::new(name, "vectors.elf").vcpus(2).args(&["vectors", seed, milliseconds]);
    let board = matrix::board(smp);
    let console = run_on(&board, &bundle(&[vm("a", "1"), vm("b", "2")])?, "")?;
    console.of_vm_is("a", &["vectors kept"])?.of_vm_is("b", &["vectors kept"])?.ends_with(0).map(drop)
}

fn waiting_vms_stop_no_one() -> Result<()> {
    let repl = |name: &str| Vm::new(name, "micropython.elf").memory("2MiB");
    let mut dialogue = Dialogue::start(&[repl("a"), Vm::new("w", "witness.elf"), repl("b")])?;
    dialogue.expects("[w] witness 5\n").map(drop)
}

/// Two busy VMs share the core: each prints before the other has ended.
fn turns() -> Result<()> {
    let console = run(&["a", "b"].map(|name| Vm::new(name, "witness.elf").affinity(&[0])))?;
    let at = |text: &str| console.output.find(text);
    let in_turns = at("[a] witness 1") < at("[b] witness 5") && at("[b] witness 1") < at("[a] witness 5");
    console.shows("[a] witness 5\n")?.shows("[b] witness 5\n")?.ends_with(0)?;
    console.check(in_turns, "one VM had to wait for the end of the other").map(drop)
}

fn many_vms() -> Result<()> {
    let names: Vec<String> = (0..40).map(|number| format!("vm-{number}")).collect();
    let vms: Vec<Vm> = names.iter().map(|name| Vm::new(name, "vm2.bin").memory("128KiB")).collect();
    let console = run(&vms)?;
    for name in &names {
        console.of_vm_is(name, &["0 + 2 + 4 + 6 + 8 = 20"])?;
    }
    console.ends_with(0).map(drop)
}
