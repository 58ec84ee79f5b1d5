//! Python's interactive prompt, through the serial port.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::boot::{Vm, bundle, command, run_command};
use crate::dialogue::Dialogue;
use crate::matrix::board;
use crate::test;

const UP: &str = "\x1b[A";
const LEFT: &str = "\x1b[D";
const CTRL_A: &str = "\x01";
const CTRL_B: &str = "\x02";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_E: &str = "\x05";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("repl::evaluates", evaluates),
        test("repl::edits_lines", edits_lines),
        test("repl::remembers_lines", remembers_lines),
        test("repl::completes_names", completes_names),
        test("repl::indents_blocks", indents_blocks),
        test("repl::goes_on_after_an_exception", goes_on_after_an_exception),
        test("repl::interrupts", interrupts),
        test("repl::resets", resets),
        test("repl::exits", exits),
        test("repl::pastes", pastes),
        test("repl::raw_mode", raw_mode),
        test("repl::takes_much_at_once", takes_much_at_once),
        test("repl::takes_what_came_before_it", takes_what_came_before_it),
    ]
}

/// A VM without arguments, at its first prompt.
fn prompt() -> Result<Dialogue> {
    prompt_with("")
}

/// The same, with arguments for the hypervisor.
fn prompt_with(bootargs: &str) -> Result<Dialogue> {
    let vm = Vm::new("a", "micropython.elf").memory("4MiB");
    let mut dialogue = Dialogue::start_with(&[vm], bootargs)?;
    dialogue.expects("MicroPython")?.expects(">>> ")?;
    Ok(dialogue)
}

fn evaluates() -> Result<()> {
    prompt()?.types("6 * 7\r")?.expects("\n42\n>>> ")?.types("'a' + 'b'\r")?.expects("\n'ab'\n>>> ").map(drop)
}

fn edits_lines() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("12")?.types(LEFT)?.types("3\r")?.expects("\n132\n>>> ")?;
    dialogue.types("99x\x7f8\r")?.expects("\n998\n>>> ").map(drop)
}

fn remembers_lines() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("x = 20\r")?.expects(">>> ")?.types("x + 1\r")?.expects("\n21\n>>> ")?;
    dialogue.types(&format!("{UP}{UP}0\r"))?.expects(">>> ")?;
    dialogue.types(&format!("{UP}{UP}\r"))?.expects("\n201\n>>> ").map(drop)
}

fn completes_names() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("a_long_name = 5\r")?.expects(">>> ")?;
    dialogue.types("a_lo\t + 1\r")?.expects("\n6\n>>> ").map(drop)
}

fn indents_blocks() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("for i in range(3):\r")?.expects("...     ")?;
    // Two empty lines end the indentation, a third one the block.
    dialogue.types("print(i * 11)\r")?.expects("...     ")?.types("\r\r\r")?;
    dialogue.expects("\n0\n11\n22\n>>> ").map(drop)
}

fn goes_on_after_an_exception() -> Result<()> {
    prompt()?
        .types("1 / 0\r")?
        .expects("ZeroDivisionError")?
        .expects(">>> ")?
        .types("5\r")?
        .expects("\n5\n")
        .map(drop)
}

fn interrupts() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("print('in', 'loop')\rwhile True: pass\r\r")?.expects("in loop\n")?.expects("pass")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    dialogue.types(CTRL_C)?.expects("KeyboardInterrupt")?.expects(">>> ")?;
    // Ctrl-C at the prompt gives up the line.
    dialogue.types("12345")?.types(CTRL_C)?.expects(">>> ")?.types("7\r")?.expects("\n7\n>>> ").map(drop)
}

fn resets() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("kept = 1\r")?.expects(">>> ")?.types(CTRL_D)?.expects("soft reboot")?.expects(">>> ")?;
    dialogue.types("kept\r")?.expects("NameError")?.expects(">>> ").map(drop)
}

fn exits() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types("import sys\r")?.expects(">>> ")?.types("sys.exit(5)\r")?;
    dialogue.ends()?.ends_with(5).map(drop)
}

fn pastes() -> Result<()> {
    let mut dialogue = prompt()?;
    dialogue.types(CTRL_E)?.expects("paste mode")?.expects("=== ")?;
    dialogue.types("def f():\r    return 8\rprint(f() * 2)\r")?.types(CTRL_D)?.expects("\n16\n>>> ").map(drop)
}

/// What tools such as mpremote use: every byte is meant.
fn raw_mode() -> Result<()> {
    let mut dialogue = prompt_with("escape=off")?;
    dialogue.types(CTRL_A)?.expects("raw REPL; CTRL-B to exit\n>")?;
    dialogue.types("print(3 * 4)")?.types(CTRL_D)?.expects("OK12\n\x04\x04>")?;
    dialogue.types(CTRL_B)?.expects(">>> ").map(drop)
}

/// More than any buffer on the way holds, typed before any of it is read.
fn takes_much_at_once() -> Result<()> {
    let lines: String = (0..200).map(|n| format!("x{n} = {n}\r")).collect();
    let mut dialogue = prompt()?;
    dialogue.types(&lines)?.types("sum(globals()['x%d' % n] for n in range(200))\r")?;
    dialogue.expects("\n19900\n>>> ").map(drop)
}

/// Input from a file or a pipe is there before the machine is switched on.
fn takes_what_came_before_it() -> Result<()> {
    let vm = Vm::new("a", "micropython.elf").memory("4MiB");
    let (command, _files) = command(&board(1), &bundle(&[vm])?, "")?;
    let console = run_command(command, b"x = 6 * 7\r\nprint('x is', x)\r\nimport sys\r\nsys.exit(3)\r\n")?;
    console.shows("\nx is 42\n")?.ends_with(3).map(drop)
}
