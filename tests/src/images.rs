//! The demonstration programs in `images/`.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::bundle::Draft;
use xtask::paths::root;

use crate::boot::{Vm, bundle, products, run, run_on};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::matrix::counting;
use crate::test;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("images::sysinfo", sysinfo),
        test("images::bounce", bounce),
        test("images::bounce_ends_at_a_key", bounce_ends),
        test("images::primes", primes),
        test("images::mailbox", mailbox),
        test("images::supervisor", supervisor),
        test("images::todo", todo),
    ]
}

/// A VM with a program of `images/`.
fn program(name: &str, args: &[&str]) -> Result<Vm> {
    let source = fs::read_to_string(root().join("images").join(name).with_extension("py"))
        .with_context(|| format!("no program {name}"))?;
    Ok(Vm::python("a", &source).args(&[&["main.py"], args].concat()))
}

/// Runs a manifest of `images/` where time is counted in instructions, so that nothing is ever late.
fn manifest(name: &str) -> Result<Console> {
    let draft = Draft::manifest(&root().join("images").join(name).with_extension("toml"))?;
    run_on(&counting(1), &draft.pack(&products()?)?, "")
}

/// What a terminal shows after this.
fn screen(output: &str) -> vt100::Parser {
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(output.replace('\n', "\r\n").as_bytes());
    terminal
}

fn sysinfo() -> Result<()> {
    let console = run_on(&counting(1), &bundle(&[program("sysinfo", &[])?])?, "")?;
    console.ends_with(0)?;
    let terminal = screen(&console.output);
    let rows: Vec<String> = terminal.screen().rows(0, COLUMNS).collect();
    for (row, text) in rows.iter().zip([
        "          VM  a (number 1), running",
        "   processor  Cortex-A72 r0p3, 1 vCPU(s)",
        "      memory  4096 KiB",
        "        heap  ",
        "       files  1024 KiB free of 1028 KiB",
        "         may  nothing special",
        "      uptime  ",
        "       exits  ",
        "    terminal  24 rows, 80 columns",
        "  hypervisor  ABI 1.2",
        "      Python  3.4.0; MicroPython v1.25.0",
    ]) {
        ensure!(row.starts_with(text), "{row:?} instead of {text:?}");
    }
    let color = |column| terminal.screen().cell(0, column).map(vt100::Cell::fgcolor);
    ensure!(color(10) == Some(vt100::Color::Idx(6)) && color(14) == Some(vt100::Color::Default));
    Ok(())
}

/// The box with the ball in it, where so many steps have brought it, and nothing else.
fn bounce() -> Result<()> {
    let console = run_on(&counting(1), &bundle(&[program("bounce", &["30"])?])?, "")?;
    console.ends_with(0)?;
    let terminal = screen(console.output.strip_suffix('\n').context("no last line")?);
    let rows: Vec<String> = terminal.screen().rows(0, COLUMNS).collect();
    let edge = format!("+{}+", "-".repeat(78));
    ensure!(rows[0] == edge && rows[22] == edge && rows[23] == "any key ends it", "{rows:#?}");
    for (row, text) in rows.iter().enumerate().take(22).skip(1) {
        // From row 1 down to 21 in 20 steps, and up again; always to the right.
        let inside =
            if row == 11 { format!("{}O{}", " ".repeat(30), " ".repeat(47)) } else { " ".repeat(78) };
        ensure!(*text == format!("|{inside}|"), "row {row}: {text:?}");
    }
    // It has turned around once, and with that its colour.
    let ball = terminal.screen().cell(11, 31).context("no ball")?;
    ensure!(ball.fgcolor() == vt100::Color::Idx(2), "{:?}", ball.fgcolor());
    Ok(())
}

fn bounce_ends() -> Result<()> {
    let mut dialogue = Dialogue::start(&[program("bounce", &[])?])?;
    dialogue.expects("any key ends it")?.expects("O")?.types("x")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

fn primes() -> Result<()> {
    let console = run(&[program("primes", &["1000"])?])?;
    console
        .shows("2 3 5 7 11 13 17 19 23 29 ... 983 991 997\n168 primes below 1000, in ")?
        .ends_with(0)
        .map(drop)
}

fn mailbox() -> Result<()> {
    let console = manifest("mailbox")?;
    let sum: u64 = (0..2000).map(|number| number * number).sum();
    let line = format!("the sum of all squares below 2000 is {sum}");
    console.of_vm_is("boss", &[&line, "done"])?;
    console.of_vm_is("worker-1", &["done"])?.of_vm_is("worker-2", &["done"])?.ends_with(0).map(drop)
}

fn supervisor() -> Result<()> {
    let console = manifest("supervisor")?;
    let lines = [
        "task ended with exit code 1",
        "task takes too long",
        "task ended with exit code 137",
        "task ended with exit code 0",
        "1 supervisor   running   restarts 0",
        "2 task         stopped   restarts 2",
    ];
    console.of_vm_is("supervisor", &lines)?.shows("RuntimeError: something went wrong")?;
    console.shows("[task] attempt 2\n")?.shows("[task] work done\n")?.ends_with(0).map(drop)
}

fn todo() -> Result<()> {
    let mut dialogue = Dialogue::start(&[program("todo", &[])?])?;
    dialogue.expects("> ")?.types("list\r")?.expects("0 to do\n> ")?;
    dialogue.types("add buy milk\radd sleep\r")?.expects("> add sleep\n> ")?.types("done 1\rdone 9\r")?;
    dialogue.expects("add TEXT, done NUMBER, list, quit\n> ")?.types("list\r")?;
    dialogue.expects(" 1 [x] buy milk\n 2 [ ] sleep\n1 to do\n> ")?.types("quit\r")?;
    dialogue.ends()?.ends_with(0).map(drop)
}
