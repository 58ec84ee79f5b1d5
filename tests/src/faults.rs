//! Guests that misbehave: each one is ended alone, with a report, while its neighbour goes on.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::boot::{Vm, run};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::test;

/// What the neighbour prints if nothing happens to it.
const WITNESS_LINES: [&str; 5] = ["witness 1", "witness 2", "witness 3", "witness 4", "witness 5"];

/// What ends a VM, and what its crash report says about it.
const CRASHES: &[(&str, &[&str])] = &[
    ("read-above-ram", &["data abort on a read, translation fault", "0x100000"]),
    ("read-hypervisor", &["data abort on a read, translation fault", "0x40080000"]),
    ("write-hypervisor", &["data abort on a write, translation fault", "0x40080000"]),
    ("write-uart", &["data abort on a write, translation fault", "0x9000000"]),
    ("read-last-page", &["data abort on a read"]),
    ("read-last-address", &["data abort on a read"]),
    ("read-across-end-of-ram", &["data abort on a read, translation fault", "0x100000"]),
    ("read-after-rom", &["data abort on a read, translation fault", "0x90200000"]),
    ("write-info-page", &["data abort on a write, permission fault", "0x80000000"]),
    ("write-vectors", &["data abort on a write, permission fault", "0x80001000"]),
    ("write-rom", &["data abort on a write, permission fault", "0x90000000"]),
    ("zero-rom", &["data abort on a write, permission fault", "0x90000000"]),
    ("exclusive-info-page", &["data abort on a write, permission fault", "0x80000000"]),
    ("pair-across-end-of-ram", &["data abort on a write, translation fault", "0x100000"]),
    ("jump-nowhere", &["instruction abort, translation fault", "0x20000000"]),
    ("jump-to-the-top", &["instruction abort"]),
    ("jump-misaligned", &["misaligned PC", "0x10002"]),
    ("stack-nowhere", &["data abort on a read, translation fault"]),
    ("frame-pointer-nowhere", &["undefined instruction"]),
    ("frame-pointer-to-itself", &["undefined instruction"]),
    ("undefined", &["undefined instruction"]),
    ("breakpoint", &["BRK instruction"]),
    ("supervisor-call", &["SVC"]),
    ("hvc-immediate", &["undefined instruction"]),
    ("semihosting", &["undefined instruction"]),
    ("return-to-el2", &["illegal execution state"]),
    ("no-floating-point", &["access to FP/SIMD"]),
];

/// What a VM may survive or not; no one else may notice.
const CONTAINED: &[&str] = &[
    "secure-monitor-call",
    "wait-for-event",
    "return-to-el0",
    "own-page-tables-nowhere",
    "virtual-timer-storm",
    "physical-timer-storm",
];

/// What ends a VM in good order: the last vCPU, or the VM itself, is turned off.
const SWITCHED_OFF: &[&str] = &["psci-cpu-off", "psci-system-off"];

/// What never ends by itself.
const ENDLESS: &[&str] = &["loop-for-ever", "wait-for-ever", "fault-in-a-loop", "hypercalls-for-ever"];

/// Groups of system registers that a guest has no business with.
const SYSTEM_REGISTERS: &[&str] = &[
    "timers",
    "monitors",
    "debug",
    "interrupts",
    "implementation",
    "hypervisor",
    "secure",
    "lock",
    "interrupt-everyone",
    "forget-translations",
    "forget-hypervisor-translations",
    "control",
];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("crash::alone", crash_alone)];
    tests.extend(
        CRASHES
            .iter()
            .map(|(case, report)| test(format!("crash::{case}"), || crashes(misbehave(case), report))),
    );
    tests.extend(
        CONTAINED.iter().map(|case| test(format!("contained::{case}"), || contained(misbehave(case)))),
    );
    tests.extend(
        SWITCHED_OFF.iter().map(|case| test(format!("off::{case}"), || switched_off(misbehave(case)))),
    );
    tests.extend(ENDLESS.iter().map(|case| test(format!("endless::{case}"), || endless(misbehave(case)))));
    tests.extend(SYSTEM_REGISTERS.iter().map(|group| {
        let vm = || Vm::new("suspect", "sysreg.elf").args(&["sysreg", group]);
        test(format!("system_registers::{group}"), move || contained(vm()))
    }));
    tests
}

fn misbehave(case: &str) -> Vm {
    Vm::new("suspect", "misbehave.elf").args(&["misbehave", case]).file("/rom", "read me")
}

fn witness() -> Vm {
    Vm::new("witness", "witness.elf")
}

fn crashes(suspect: Vm, report: &[&str]) -> Result<()> {
    let console = run(&[suspect, witness()])?;
    console.ends_with(70)?.of_vm_is("witness", &WITNESS_LINES)?.shows("[suspect] before\n")?;
    console.lacks("[suspect] after")?.shows("vm 'suspect'")?;
    is_crash_report(&console)?;
    report.iter().try_for_each(|part| console.shows(part).map(drop))
}

/// Every report has the vCPU, its registers and the decoded syndrome.
fn is_crash_report(console: &Console) -> Result<()> {
    ["crashed: vCPU 0", "pc ", "ESR 0x", "x0 ", "x30 "]
        .iter()
        .try_for_each(|part| console.shows(part).map(drop))
}

/// A report is as good if no prefix makes room for it.
fn crash_alone() -> Result<()> {
    let console = run(&[misbehave("read-above-ram")])?;
    console.ends_with(70)?.shows("before\n")?.lacks("[suspect]")?.shows("vm 'suspect'")?;
    is_crash_report(&console)?;
    console.shows("sp ").map(drop)
}

fn contained(suspect: Vm) -> Result<()> {
    let console = run(&[suspect, witness()])?;
    console.of_vm_is("witness", &WITNESS_LINES)?;
    let survived = console.output.contains("[suspect] after");
    console.ends_with(if survived { 0 } else { 70 }).map(drop)
}

fn switched_off(suspect: Vm) -> Result<()> {
    let console = run(&[suspect, witness()])?;
    console.of_vm_is("witness", &WITNESS_LINES)?.of_vm_is("suspect", &["before"])?.ends_with(0).map(drop)
}

fn endless(suspect: Vm) -> Result<()> {
    let mut dialogue = Dialogue::start(&[suspect, witness()])?;
    // Either may be first.
    dialogue.shows("[suspect] before")?;
    WITNESS_LINES.iter().try_for_each(|line| dialogue.expects(&format!("[witness] {line}\n")).map(drop))
}
