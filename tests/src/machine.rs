//! What a guest of the `tiny` machine finds, and what the hypervisor does on various boards.

use std::process::Command;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use xtask::qemu::{Board, Cpu, Machine, PROGRAM};
use xtask::size::Size;

use crate::boot::{
    Vm, archive, built, bundle, bundle_with, command, products, raw, run, run_bundle, run_command, run_on,
};
use crate::dialogue::Dialogue;
use crate::matrix::board;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("machine::start_state", start_state),
        test("machine::info_page", info_page),
        test("machine::input", input),
        test("machine::input_goes_to_the_first_that_runs", input_goes_to_the_first_that_runs),
        test("machine::priority", priority),
        test("machine::lines_stay_whole", lines_stay_whole),
        test("machine::lines_that_do_not_end", lines_that_do_not_end),
        test("log::silent_by_default", || log("", "", false)),
        test("log::level_in_the_boot_arguments", || log("loglevel=info", "", true)),
        test("log::level_in_the_manifest", || log("", "loglevel = \"info\"\n", true)),
        test("log::boot_arguments_win", || log("loglevel=error", "loglevel = \"info\"\n", false)),
    ]
}

/// Tests of QEMU's own board, in all its forms.
pub(crate) fn on_boards() -> Vec<Trial> {
    vec![
        test("board::max", || on_board(Board { cpu: Cpu::Max, ..Board::default() })),
        test("board::gicv2", || on_board(Board { machine: Machine::VirtGicv2, ..Board::default() })),
        test("board::gicv2_max", || {
            on_board(Board { machine: Machine::VirtGicv2, cpu: Cpu::Max, ..Board::default() })
        }),
        test("board::four_cores", || on_board(Board { smp: 4, ..Board::default() })),
        test("board::small", || on_board(Board { memory: Size::mib(64), ..Board::default() })),
        test("board::large", || on_board(Board { memory: Size::mib(3 << 10), ..Board::default() })),
        test("board::without_el2", without_el2),
        test("board::without_bundle", without_bundle),
    ]
}

/// A raw program checks the registers it starts with, beside others that leave traces in theirs.
fn start_state() -> Result<()> {
    let other = |name: &str, seed: &str| Vm::new(name, "registers.elf").args(&["registers", seed]);
    let vms = [other("a", "7"), Vm::new("start", "start.bin"), other("b", "11")].map(|vm| vm.affinity(&[0]));
    let console = run_bundle(&bundle_with(&vms, &[("start.bin", raw("start")?)])?)?;
    console.of_vm_is("start", &[])?.lacks("FAIL")?.ends_with(0).map(drop)
}

fn facts() -> Vm {
    Vm::new("a", "facts.elf").memory("2MiB")
}

fn info_page() -> Result<()> {
    let vm = facts().args(&["facts", "", "x y"]).file("/a", "b");
    let console = run_on(&board(1), &bundle(&[vm])?, "console=33x99")?;
    let lines = [
        "memory 2097152",
        "vcpus 1",
        "argument [102, 97, 99, 116, 115]",
        "argument []",
        "argument [120, 32, 121]",
        "input false false",
        "rom Some([210, 205, 49])",
        "version Ok(Version { major: 1, minor: 2 })",
        "screen 33x99\n",
    ];
    console.is(&lines.join("\n"))?.ends_with(0)?;
    run(&[facts()])?.shows("rom None\n")?.shows("screen 24x80\n").map(drop)
}

/// A read that is refused takes nothing; one of two bytes takes two.
fn input() -> Result<()> {
    let mut dialogue = Dialogue::start(&[Vm::new("a", "input.elf")])?;
    dialogue.expects("waiting false\n")?.types("xyz")?;
    let lines = "across the end of RAM: -14\nto the info page: -14\nnothing: 0\nstill there: 3\n\
                 Ok(2) xy...\nOk(1) xyz..\nleft: 0\n";
    dialogue.ends()?.shows(lines)?.ends_with(0).map(drop)
}

fn input_goes_to_the_first_that_runs() -> Result<()> {
    let vm = |name: &str| Vm::python(name, "print('ready')\nprint('got', input())");
    let mut dialogue = Dialogue::start_with(&[vm("a"), vm("b")], "loglevel=info")?;
    dialogue.expects("[b] ready\n")?.types("one\r")?.expects("[a] got one\n")?.expects("vm 'a' ended")?;
    dialogue.types("two\r")?.expects("[b] got two\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// The higher one has the core to itself until it has ended.
fn priority() -> Result<()> {
    let vm = |name: &str, priority| Vm::new(name, "witness.elf").priority(priority).affinity(&[0]);
    let console = run(&[vm("low", 3), vm("high", 200), vm("lowest", 0)])?;
    let order = console.output.lines().map(|line| line.split(']').next().unwrap_or_default());
    let order: Vec<&str> = order.collect();
    let expected = [["[high"; 5], ["[low"; 5], ["[lowest"; 5]].concat();
    console.check(order == expected, "not in the order of priorities")?.ends_with(0).map(drop)
}

/// A line that others interrupt goes on in a new one, with the name of its VM: no line belongs to two.
fn lines_stay_whole() -> Result<()> {
    let script = |letter: char| {
        format!(
            "import sys, time\nfor _ in range(40):\n  sys.stdout.write('{letter}')\n  time.sleep_ms(2)\nprint()"
        )
    };
    let console = run(&[Vm::python("a", &script('x')), Vm::python("b", &script('y'))])?;
    let whole = |line: &str| {
        let own = line.strip_prefix("[a]").map(|rest| rest.replace('x', ""));
        own.or_else(|| line.strip_prefix("[b]").map(|rest| rest.replace('y', "")))
            .is_some_and(|rest| rest.trim().is_empty())
    };
    console.check(console.output.lines().all(whole), "a line of two VMs, or of none")?;
    let letters = |letter| console.output.matches(letter).count();
    console.check((letters('x'), letters('y')) == (40, 40), "letters are missing")?.ends_with(0).map(drop)
}

/// The hypervisor's own lines, and those of others, begin at the start of a line.
fn lines_that_do_not_end() -> Result<()> {
    let vm = |name: &str| Vm::python(name, "import sys\nsys.stdout.write('no end')");
    let crash = Vm::python("c", "import hv, uctypes\nhv.puts('up to')\nuctypes.bytearray_at(1 << 40, 1)[0]");
    let console = run(&[vm("a"), crash, vm("b")])?;
    for line in ["[a] no end", "[b] no end", "[c] up to"] {
        console.check(console.output.lines().any(|shown| shown == line), &format!("no line {line:?}"))?;
    }
    console.shows("\n[tinyvmm error] vm 'c' crashed")?.ends_with(70).map(drop)
}

/// Everything that depends on the processor, its timer and its interrupt controller.
pub(crate) fn on_board(board: Board) -> Result<()> {
    let vms = [
        Vm::new("calls", "hypercalls.elf").file("/rom", "read me"),
        Vm::new("a", "registers.elf").args(&["registers", "3"]),
        Vm::new("b", "registers.elf").args(&["registers", "8"]),
        Vm::python("python", "import time\ntime.sleep_ms(20)\nprint(2 ** 100)"),
        Vm::new("crash", "misbehave.elf").args(&["misbehave", "read-above-ram"]),
    ];
    let console = run_on(&board, &bundle(&vms)?, "")?;
    console
        .lacks("FAIL")?
        .shows("[calls] checked\n")?
        .of_vm_is("python", &["1267650600228229401496703205376"])?;
    console.of_vm_is("a", &["registers kept"])?.of_vm_is("b", &["registers kept"])?.ends_with(70).map(drop)
}

/// QEMU's board as it is by default: the hypervisor says what it needs.
fn without_el2() -> Result<()> {
    let mut command = Command::new(PROGRAM);
    command.args(["-machine", "virt", "-cpu", "cortex-a72", "-m", "1G", "-nic", "none", "-display", "none"]);
    command.args(["-monitor", "none", "-serial", "stdio", "-kernel"]).arg(products()?.hypervisor());
    let console = run_command(command, b"")?;
    console.shows("entered at EL1")?.shows("virtualization=on").map(drop)
}

fn without_bundle() -> Result<()> {
    let (with, _files) = command(&Board::default(), b"", "")?;
    let mut command = Command::new(with.get_program());
    let arguments: Vec<_> = with.get_args().collect();
    let initrd = arguments.iter().position(|argument| *argument == "-initrd").context("no -initrd")?;
    command.args(&arguments[..initrd]).args(&arguments[initrd + 2..]);
    run_command(command, b"")?.ends_with(2)?.shows("[tinyvmm error] no bundle").map(drop)
}

fn log(bootargs: &str, top_of_manifest: &str, shown: bool) -> Result<()> {
    let manifest = format!("{top_of_manifest}[[vm]]\nname = \"a\"\nimage = \"vm2.bin\"\nmemory = \"1MiB\"\n");
    let image = built("vm2.bin")?;
    let bundle = archive(&[("tinyvmm.toml".into(), manifest.into()), ("vm2.bin".into(), image)])?;
    let console = run_on(&board(1), &bundle, bootargs)?;
    let line = "[tinyvmm info] vm 'a' ended: exit code 0, first entered at ";
    console.ends_with(0)?.shows("0 + 2 + 4 + 6 + 8 = 20\n")?;
    if shown { console.shows(line).map(drop) } else { console.is("0 + 2 + 4 + 6 + 8 = 20\n").map(drop) }
}
