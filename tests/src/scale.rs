//! Many VMs, on many cores: each gets its share, none is late, and in the end all memory is there again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, run_on};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("scale::300_vms_in_one_bundle", three_hundred),
        test("scale::300_vms_one_after_another", one_after_another),
        test("scale::64_vms_at_once", || sixty_four(1)),
        test("scale::64_vms_at_once_on_4_cores", || sixty_four(4)),
        test("scale::kills_and_restarts_leak_nothing", kills_and_restarts),
        test("fairness::equals_on_1_core", || fairness(1, 6)),
        test("fairness::equals_on_4_cores", || fairness(4, 16)),
        test("fairness::a_few_more_than_cores", || fairness(4, 6)),
        test("fairness::one_more_than_cores", || fairness(2, 3)),
        test("fairness::broken_off_turns_go_on", broken_off),
        test("fairness::turns_are_those_of_vcpus", several_vcpus),
        test("fairness::a_lower_one_waits", lower_waits),
    ];
    for machine in [Machine::Virt, Machine::VirtGicv2] {
        for smp in [1, 4] {
            let name = format!("latency::{}_{smp}", machine.name());
            tests.push(test(name, move || latency(Board { machine, smp, ..counted(smp) })));
        }
    }
    tests
}

/// A board whose time is counted in instructions, of all cores together: the same in every run, whatever else the
/// machine does.
fn counted(smp: u8) -> Board {
    Board { smp, extra: vec!["-icount".into(), "shift=0,sleep=off".into()], ..Board::default() }
}

/// Checks that as much memory is free after the last VM as before the first.
fn leaks_nothing(console: &Console) -> Result<&Console> {
    let free = |when: &str| {
        let lines = console.output.lines();
        lines.filter_map(|line| line.strip_prefix("[tinyvmm debug] memory ")?.strip_prefix(when)).next_back()
    };
    let (before, after) = (free("before the first VM: "), free("after the last VM: "));
    console.check(before.is_some() && before == after, &format!("free before: {before:?}, after: {after:?}"))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("vm-{number}")).collect()
}

/// More than there are VMIDs on a Cortex-A72.
fn three_hundred() -> Result<()> {
    let names = names(300);
    let vms: Vec<Vm> = names.iter().map(|name| Vm::new(name, "vm2.bin").memory("128KiB")).collect();
    let console = run_on(&counted(1), &bundle(&vms)?, "loglevel=debug")?;
    names.iter().try_for_each(|name| console.of_vm_is(name, &["0 + 2 + 4 + 6 + 8 = 20"]).map(drop))?;
    leaks_nothing(&console)?.ends_with(0).map(drop)
}

/// One VM starts again and again, beside one that keeps its VMID all the time. Waits take no time on this board.
fn one_after_another() -> Result<()> {
    let vms = [Vm::new("again", "vm2.bin").restart("always"), Vm::python("waits", "input()\nprint('kept')")];
    let mut dialogue = Dialogue::start_on(&counted(1), &vms, "loglevel=debug")?;
    for _ in 0..300 {
        dialogue.expects("[again] 0 + 2 + 4 + 6 + 8 = 20\n")?;
    }
    dialogue.types("\x012\r\x01mkill again\r")?;
    let console = dialogue.ends()?;
    leaks_nothing(console.shows("[waits] kept\n")?)?.ends_with(0).map(drop)
}

/// Each finds its memory zeroed, fills all of it, and finds it as it was left after the others did the same.
fn sixty_four(smp: u8) -> Result<()> {
    let names = names(64);
    let vm = |(seed, name): (usize, &String)| {
        Vm::new(name, "memory.elf").args(&["memory", &seed.to_string()]).memory("2MiB")
    };
    let vms: Vec<Vm> = names.iter().enumerate().map(vm).collect();
    let console = run_on(&counted(smp), &bundle(&vms)?, "loglevel=debug")?;
    console.lacks("FAIL")?;
    for name in &names {
        console.shows(&format!("[{name}] checked "))?;
    }
    leaks_nothing(&console)?.ends_with(0).map(drop)
}

/// VMs of all kinds are killed and started again at moments that nobody has chosen.
fn kills_and_restarts() -> Result<()> {
    let vms = [
        Vm::new("again", "vm2.bin").restart("always"),
        Vm::new("crash", "misbehave.elf").args(&["misbehave", "jump-nowhere"]).restart("on-failure"),
        Vm::new("memory", "memory.elf").args(&["memory", "3"]).restart("always"),
        Vm::new("calls", "interrupts.elf").vcpus(2).restart("always"),
        Vm::python("python", "while True: pass").restart("always"),
        Vm::new("waits", "misbehave.elf").args(&["misbehave", "wait-for-ever"]).vcpus(4),
    ];
    let mut dialogue = Dialogue::start_on(&Board { smp: 4, ..Board::default() }, &vms, "loglevel=debug")?;
    dialogue.types("\x01m")?.expects("monitor> ")?;
    let mut seed = 1_u32;
    for _ in 0..60 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (action, vm) =
            (["kill", "restart", "pause", "restart"][(seed >> 30) as usize], (seed >> 20) % 6 + 1);
        dialogue.types(&format!("{action} {vm}\r"))?.expects(&format!("{action} {vm}\n"))?;
        std::thread::sleep(Duration::from_millis(u64::from(seed >> 16 & 31)));
    }
    for vm in 1..=6 {
        dialogue.types(&format!("kill {vm}\r"))?.expects(&format!("kill {vm}\n"))?;
    }
    let console = dialogue.ends()?;
    leaks_nothing(console.lacks("FAIL")?)?;
    Ok(())
}

/// How far a VM that runs `share.elf` has come.
fn loops(console: &Console, name: &str) -> Result<f64> {
    let prefix = format!("[{name}] loops ");
    let loops = console.output.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok());
    loops.with_context(|| format!("{name} does not tell how far it came:\n{}", console.output))
}

/// A VM that computes for 480 ms: whole rounds of turns of 10 ms for up to 8 VMs.
fn busy(name: &str) -> Vm {
    Vm::new(name, "share.elf").args(&["share", "480"]).memory("256KiB")
}

/// Checks that each of these has come as far as their average, by 10 %.
fn are_equal(console: &Console, names: &[String]) -> Result<()> {
    let loops = names.iter().map(|name| loops(console, name)).collect::<Result<Vec<f64>>>()?;
    let average = loops.iter().sum::<f64>() / f64::from(u32::try_from(loops.len())?);
    let worst = loops.iter().map(|loops| (loops / average - 1.0).abs()).fold(0.0, f64::max);
    ensure!(worst <= 0.1, "one is {:.1} % off the average: {loops:?}", worst * 100.0);
    Ok(())
}

fn fairness(smp: u8, count: usize) -> Result<()> {
    let names = names(count);
    let vms: Vec<Vm> = names.iter().map(|name| busy(name)).collect();
    are_equal(&run_on(&counted(smp), &bundle(&vms)?, "")?, &names)
}

/// One of higher priority comes after each turn and a half of the others, and takes next to nothing.
fn broken_off() -> Result<()> {
    let names = names(2);
    let script = "import time\nfor _ in range(31): time.sleep_ms(15)";
    let vms = [busy(&names[0]), busy(&names[1]), Vm::python("high", script).priority(9)];
    are_equal(&run_on(&counted(1), &bundle(&vms)?, "")?, &names)
}

/// A VM with three busy vCPUs gets three turns for one of a VM with one.
fn several_vcpus() -> Result<()> {
    let console = run_on(&counted(1), &bundle(&[busy("one"), busy("three").vcpus(3)])?, "")?;
    // The others' loop is another one: what counts is the share of the VM that has one vCPU.
    let alone = run_on(&counted(1), &bundle(&[busy("one")])?, "")?;
    let alone: f64 = alone
        .output
        .lines()
        .find_map(|line| line.strip_prefix("loops ")?.parse().ok())
        .context("no loops")?;
    let share = loops(&console, "one")? / alone;
    ensure!((share - 0.25).abs() <= 0.025, "its share is {share:.3} instead of a quarter");
    Ok(())
}

/// A lower one gets nothing while one above it computes, and everything afterwards.
fn lower_waits() -> Result<()> {
    let console = run_on(&counted(1), &bundle(&[busy("low").priority(1), busy("high").priority(2)])?, "")?;
    let (low, high) = (loops(&console, "low")?, loops(&console, "high")?);
    console
        .check(low < high / 100.0, &format!("the lower one came as far as {low}, the higher one {high}"))?;
    Ok(())
}

/// Instructions from the time that a timer is due to the handler, at most. The path takes some 3,500, and may have to
/// wait for the end of whatever the hypervisor does for another VM, with interrupts masked.
const LATEST: u64 = 20_000;

/// One VM waits for its timer while 16 of lower priority compute.
fn latency(board: Board) -> Result<()> {
    let mut vms: Vec<Vm> = names(16).iter().map(|name| busy(name)).collect();
    vms.push(Vm::new("high", "latency.elf").priority(200));
    let console = run_on(&board, &bundle(&vms)?, "")?;
    let number = |prefix: &str| {
        let number = console.output.lines().find_map(|line| line.strip_prefix(prefix)?.parse::<u64>().ok());
        number.with_context(|| format!("no line {prefix:?}:\n{}", console.output))
    };
    let instructions = number("[high] latest ")? * (1_000_000_000 / number("[high] counter ")?);
    ensure!(instructions <= LATEST, "{instructions} instructions after the timer was due");
    Ok(())
}
