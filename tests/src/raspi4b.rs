//! QEMU's Raspberry Pi 4: four cores that wait at a spin table, a GIC-400, and no firmware to call.
//!
//! Most tests of interrupts, power, messages and supervision run there, too: `cargo xtask test raspi4b`.
//! That these end shows that the machine is switched off, which only the board's power manager does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tempfile::TempDir;
use xtask::bundle::Draft;
use xtask::paths::root;
use xtask::qemu::{Board, Machine};
use xtask::raspberry_pi;

use crate::boot::{Vm, bundle, command, products, run_command, run_on};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::machine::on_board;
use crate::monitor::Socket;
use crate::process::{file, run, run_with_input, xtask};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("raspi4b::board", || on_board(pi())),
        test("raspi4b::demonstration", demonstration),
        test("raspi4b::hello", hello),
        test("raspi4b::input", input),
        test("raspi4b::led", led),
        test("raspi4b::temperature", temperature),
        test("raspi4b::exit_code", exit_code),
        test("raspi4b::crash", crash),
        test("raspi4b::other_sizes", other_sizes),
        test("raspi4b::cores", all_cores),
        test("raspi4b::memory_above_1_gib", memory_above_1_gib),
        test("raspi4b::reserved_memory", reserved_memory),
        test("raspi4b::without_device_tree", without_device_tree),
        test("raspi4b::without_pl011", without_pl011),
        test("raspi4b::without_any_uart", without_any_uart),
        test("raspi4b::without_bundle", without_bundle),
    ]
}

fn pi() -> Board {
    Board::of(Machine::Raspi4b, 4)
}

fn demonstration() -> Result<()> {
    let draft = Draft::manifest(&root().join("images/demo.toml"))?;
    let console = run_on(&pi(), &draft.pack(&products()?)?, "loglevel=info")?;
    console.lacks("left out")?.shows("[vm2] 0 + 2 + 4 + 6 + 8 = 20\n")?.ends_with(0).map(drop)
}

fn hello() -> Result<()> {
    let console = run(xtask(&["run", "--machine", "raspi4b", "images/hello.py", "you"])?)?;
    console.ends_with(0)?.shows("Hello, you!\n")?.lacks("tinyvmm: exit code").map(drop)
}

fn input() -> Result<()> {
    let (_directory, script) = file("x.py", "print('first', input())\ninput()")?;
    let script = script.to_str().context("a path that is not UTF-8")?;
    let console = run_with_input(xtask(&["run", "--machine", "raspi4b", script])?, "abc\n")?;
    console.shows("first abc\n")?.shows("EOFError")?.ends_with(1).map(drop)
}

fn exit_code() -> Result<()> {
    run_on(&pi(), &bundle(&[Vm::python("a", "import sys; sys.exit(7)")])?, "")?.ends_with(7).map(drop)
}

fn crash() -> Result<()> {
    let vms = [
        Vm::new("suspect", "misbehave.elf").args(&["misbehave", "read-above-ram"]),
        Vm::new("witness", "witness.elf"),
    ];
    let console = run_on(&pi(), &bundle(&vms)?, "")?;
    console.shows("vm 'suspect' crashed: vCPU 0")?.shows("data abort on a read, translation fault")?;
    console.shows("[witness] witness 5\n")?.ends_with(70).map(drop)
}

/// Before anything is built or started.
fn other_sizes() -> Result<()> {
    for option in [["--smp", "2"], ["--mem", "1GiB"], ["--cpu", "max"]] {
        let arguments = [&["run", "--machine", "raspi4b"][..], &option, &["images/hello.py"]].concat();
        run(xtask(&arguments)?)?.ends_with(2)?.shows("leave --cpu, --smp and --mem out")?;
    }
    Ok(())
}

/// A VM for each of the four, which runs nowhere else.
fn all_cores() -> Result<()> {
    let vm = |core: u8| Vm::new(&format!("on-{core}"), "witness.elf").affinity(&[core]);
    let console = run_on(&pi(), &bundle(&[vm(0), vm(1), vm(2), vm(3)])?, "")?;
    (0..4).try_for_each(|core| console.shows(&format!("[on-{core}] witness 5\n")).map(drop))?;
    console.ends_with(0)?;
    let fifth = run_on(&pi(), &bundle(&[vm(4)])?, "")?;
    fifth.shows("affinity = 4: no such core is running")?.ends_with(2).map(drop)
}

/// The device tree after changes, which `edit` makes to its source.
fn edited(edit: impl Fn(&str) -> String) -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let [source, tree] = ["board.dts", "board.dtb"].map(|name| directory.path().join(name));
    convert("dtb", &raspberry_pi::device_tree()?, "dts", &source)?;
    let text = std::fs::read_to_string(&source)?;
    let changed = edit(&text);
    ensure!(changed != text, "nothing to change in the device tree");
    std::fs::write(&source, changed)?;
    convert("dts", &source, "dtb", &tree)?;
    Ok((directory, tree))
}

fn convert(from: &str, input: &Path, to: &str, output: &Path) -> Result<()> {
    let mut dtc = Command::new("dtc");
    dtc.args(["-q", "-I", from, "-O", to, "-o"]).arg(output).arg(input);
    ensure!(dtc.status().context("cannot start dtc")?.success(), "dtc has failed");
    Ok(())
}

/// A board with another device tree.
fn with_tree(tree: PathBuf) -> Board {
    Board { tree: Some(tree), ..pi() }
}

/// How much memory is free before the first VM, with these nodes more in the tree.
fn free_memory(nodes: &str) -> Result<(u64, Console)> {
    let (_directory, tree) = edited(|source| format!("{source}\n/ {{ {nodes} }};\n"))?;
    let vm = Vm::python("a", "print('works')").memory("900MiB");
    let console = run_on(&with_tree(tree), &bundle(&[vm])?, "loglevel=debug")?;
    let start = console.output.split("memory before the first VM: ").nth(1).context("no size of memory")?;
    let free = start.split(' ').next().unwrap_or_default().parse()?;
    console.shows("works\n")?.ends_with(0)?;
    Ok((free, console))
}

/// QEMU's firmware always has 25 degrees. Who may not ask gets nothing.
fn temperature() -> Result<()> {
    let script = "import hv\ntry: print(hv.board.temperature())\nexcept OSError as error: print(error.errno)";
    let vms = [Vm::python("may", script).may(&["board"]), Vm::python("not", script)];
    let console = run_on(&pi(), &bundle(&vms)?, "")?;
    console.of_vm_is("may", &["25.0"])?.of_vm_is("not", &["1"])?.ends_with(0).map(drop)
}

/// The pin is an output, and its level follows (`GPFSEL4`, `GPLEV1`), as QEMU's monitor shows.
fn led() -> Result<()> {
    let socket = Socket::new()?;
    let vm = Vm::python(
        "a",
        "import hv\nfor on in (True, False):\n  hv.board.led(on)\n  print('led', on)\n  input()",
    );
    let mut dialogue =
        Dialogue::start_on(&Board { extra: socket.arguments(), ..pi() }, &[vm.may(&["board"])], "")?;
    dialogue.expects("led True\n")?;
    let mut monitor = socket.connect()?;
    ensure!(monitor.word(0xfe20_0010)? >> 6 & 0b111 == 0b001, "the pin is no output");
    ensure!(monitor.word(0xfe20_0038)? >> 10 & 1 == 1, "the LED is off");
    dialogue.types("\r")?.expects("led False\n")?;
    ensure!(monitor.word(0xfe20_0038)? >> 10 & 1 == 0, "the LED is on");
    dialogue.types("\r")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// QEMU describes only the first part of its RAM. The rest is there, and a node that QEMU does not replace tells of it.
fn memory_above_1_gib() -> Result<()> {
    let node = "ram@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0x40000000>; };";
    let (free, console) = free_memory(node)?;
    console.check((1900 << 20..2000 << 20).contains(&free), "not all memory is used").map(drop)
}

/// What the tree reserves is not given to anyone.
fn reserved_memory() -> Result<()> {
    let free = |size: &str| {
        free_memory(&format!(
            "reserved-memory {{ kept@10000000 {{ reg = <0 0x10000000 {size}>; }};
             gone@18000000 {{ reg = <0 0x18000000 {size}>; no-map; }}; }};"
        ))
    };
    let ((little, _), (much, console)) = (free("0x100000")?, free("0x200000")?);
    console.check(little - much == 2 << 20, &format!("{little} and {much} bytes")).map(drop)
}

/// The command without an option and its value.
fn without(option: &str, command: &Command) -> Result<Command> {
    let arguments: Vec<_> = command.get_args().collect();
    let at = arguments.iter().position(|argument| *argument == option).context("no such option")?;
    let mut other = Command::new(command.get_program());
    other.args(&arguments[..at]).args(&arguments[at + 2..]);
    Ok(other)
}

fn without_device_tree() -> Result<()> {
    let (command, _files) = command(&pi(), b"", "")?;
    let console = run_command(without("-dtb", &command)?, b"")?;
    console.shows("[tinyvmm error] X0 = 0x100 is not the address of a device tree")?.ends_with(101).map(drop)
}

fn without_bundle() -> Result<()> {
    let (command, _files) = command(&pi(), b"", "")?;
    let console = run_command(without("-initrd", &command)?, b"")?;
    console.shows("[tinyvmm error] no bundle")?.ends_with(2).map(drop)
}

/// The mini UART, QEMU's second serial port, has the message.
fn without_pl011() -> Result<()> {
    let (_directory, tree) = edited(|source| source.replace("arm,pl011", "none"))?;
    let (command, _files) = command(&with_tree(tree), b"", "")?;
    let mut second = without("-serial", &command)?;
    second.args(["-serial", "null", "-serial", "stdio"]);
    run_command(second, b"")?.shows("no UART arm,pl011 that is enabled")?.ends_with(101).map(drop)
}

/// Both UARTs have it where they would be.
fn without_any_uart() -> Result<()> {
    let none = |source: &str| source.replace("arm,pl011", "none").replace("brcm,bcm2835-aux-uart", "none");
    let (_directory, tree) = edited(none)?;
    let console = run_command(command(&with_tree(tree), b"", "")?.0, b"")?;
    console.shows("no UART arm,pl011 that is enabled")?.ends_with(101).map(drop)
}
