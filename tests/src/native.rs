//! Python compiled to machine code.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::build::assemble;
use xtask::paths::root;
use xtask::toolchain::Toolchain;

use crate::boot::{Vm, run};
use crate::dialogue::Dialogue;
use crate::test;

/// Loops that only Ctrl-C ends: jumps back with and without a condition, with one that needs no object, and
/// across more code than a short branch reaches.
const ENDLESS: &[(&str, &str)] = &[
    ("native_loop", "@micropython.native\ndef f():\n  while True: pass"),
    ("native_condition", "@micropython.native\ndef f():\n  x = [1]\n  while x: pass"),
    ("viper_condition", "@micropython.viper\ndef f():\n  i = 0\n  while i < 1: i = i & 0"),
    ("long_loop", "exec('@micropython.native\\ndef f():\\n x = 1\\n while x:\\n' + '  x += 1\\n' * 3000)"),
];

pub(crate) fn tests() -> Vec<Trial> {
    let endless = ENDLESS
        .iter()
        .map(|(name, script)| test(format!("native::interrupt_a_{name}"), || interrupt(script)));
    let others = [
        test("native::encodings_as_of_an_assembler", encodings),
        test("native::same_as_bytecode", same_as_bytecode),
        test("native::program_as_cpython", || program_as_cpython("4MiB")),
        test("native::program_far_from_the_image", || program_as_cpython("160MiB")),
        test("native::catch_an_interrupt", catch_an_interrupt),
        test("native::long_function", long_function),
        test("native::large_frames", large_frames),
        test("native::viper_for_all", viper_for_all),
    ];
    endless.chain(others).collect()
}

/// Each instruction that the emitter can make, against what clang makes of its text.
fn encodings() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let table = instructions(directory.path())?;
    let lines: Vec<(&str, &str)> = table.lines().filter_map(|line| line.split_once(' ')).collect();
    let source = directory.path().join("text.S");
    std::fs::write(&source, lines.iter().map(|(_, text)| format!("{text}\n")).collect::<String>())?;
    let binary = directory.path().join("text.bin");
    assemble(&source, &binary, &Toolchain::find()?)?;
    let bytes = std::fs::read(binary)?;
    ensure!(bytes.len() == 4 * lines.len() && lines.len() > 50, "{} bytes of {table}", bytes.len());
    for (bytes, (word, text)) in bytes.chunks_exact(4).zip(&lines) {
        let assembled = format!("{:08x}", u32::from_le_bytes(bytes.try_into()?));
        ensure!(assembled == *word, "{text}: the emitter makes {word}, the assembler {assembled}");
    }
    Ok(())
}

/// Lines of a word and the instruction that it is meant to be.
fn instructions(directory: &Path) -> Result<String> {
    let program = directory.join("encodings");
    let source = root().join("micropython-port/tests/encodings.c");
    let clang = Command::new("clang").args(["-Wall", "-Werror", "-o"]).arg(&program).arg(source).output()?;
    ensure!(clang.status.success(), "{}", String::from_utf8_lossy(&clang.stderr));
    String::from_utf8(Command::new(program).output()?.stdout).context("not text")
}

fn source(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// A program that compares functions with themselves as bytecode.
fn same_as_bytecode() -> Result<()> {
    let vm = Vm::python("a", &source("tests/python/native.py")?);
    run(&[vm])?.is("all the same\n")?.ends_with(0).map(drop)
}

/// All of a program but for the one thing in it that native code cannot do, to raise an exception again. Calls into
/// the image are short in a small VM, and long in a large one.
fn program_as_cpython(memory: &str) -> Result<()> {
    let script = "tests/python/program.py";
    let host = Command::new("python3").arg(root().join(script)).args(["one", "two"]).output()?;
    let native = source(script)?.replace("        raise\n", "        return\n");
    let vm = Vm::python("a", &native).args(&["main.py", "one", "two"]).memory(memory).emit("native");
    run(&[vm])?.ends_with(0)?.is(&String::from_utf8(host.stdout)?).map(drop)
}

fn interrupt(script: &str) -> Result<()> {
    let script = format!("import micropython\n{script}\nprint('ready')\nf()\nprint('never')");
    let mut dialogue = Dialogue::start(&[Vm::python("a", &script)])?;
    dialogue.expects("ready\n")?.types("\x03")?;
    dialogue.ends()?.shows("KeyboardInterrupt")?.lacks("never")?.ends_with(130).map(drop)
}

/// The whole script is native: its loop stands in a `try`, and goes on after it.
fn catch_an_interrupt() -> Result<()> {
    let script = "try:\n  print('ready')\n  while True: pass\nexcept KeyboardInterrupt:\n  print('caught')";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script).emit("native")])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("caught\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// More than 1 MiB of code, over which conditions, handlers of exceptions and loops jump.
fn long_function() -> Result<()> {
    let script = "body = '   x += 1\\n' * 40000\n\
        source = '@micropython.native\\ndef f(n):\\n x = 0\\n for i in range(n):\\n  try:\\n   if i == 1: raise ValueError\\n' + body + \
        '  except ValueError: x += 5\\n return x'\n\
        import micropython\nexec(source)\nprint(f(3))";
    run(&[Vm::python("a", script).memory("96MiB")])?.is("80005\n")?.ends_with(0).map(drop)
}

/// Many local variables, so that a few calls need all of the stack.
fn large_frames() -> Result<()> {
    let script = "import micropython\nnames = ['v%d' % i for i in range(1000)]\n\
        exec('@micropython.native\\ndef f(n):\\n ' + '; '.join(v + ' = n' for v in names) + '\\n return f(n + 1)')\n\
        try:\n  f(0)\nexcept RuntimeError as error: print(error)";
    run(&[Vm::python("a", script)])?.is("maximum recursion depth exceeded\n")?.ends_with(0).map(drop)
}

fn viper_for_all() -> Result<()> {
    let script = "def f(n: int) -> int:\n  return n << 62 << 1\nprint(f(1))";
    run(&[Vm::python("a", script).emit("viper")])?.is("-9223372036854775808\n")?.ends_with(0).map(drop)
}
