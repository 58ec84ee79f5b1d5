//! `cargo xtask run` as a user sees it: exit codes, messages, and what happens before QEMU starts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use libtest_mimic::Trial;

use crate::console::Console;
use crate::matrix::xtask_run;
use crate::process::{file, run, run_with_input, xtask};
use crate::test;

/// Tests of runs.
pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("command::hello", hello),
        test("command::exit_code", exit_code),
        test("command::arguments", arguments),
        test("command::end_of_input", end_of_input),
        test("command::syntax_error", syntax_error),
        test("command::bytecode", bytecode),
        test("command::bytecode_of_a_manifest", bytecode_of_a_manifest),
        test("command::bad_bundle", bad_bundle),
        test("command::timeout", timeout),
    ]
}

/// Tests of what is over before an emulator starts.
pub(crate) fn without_board() -> Vec<Trial> {
    vec![
        test("command::bytecode_of_wrong_syntax", bytecode_of_wrong_syntax),
        test("command::missing_script", || refuses("no/such.py", "error: no/such.py: no such file")),
        test("command::missing_manifest", || refuses("no/such.toml", "error: no/such.toml: no such file")),
        test("command::missing_bundle", || refuses("no/such.tar", "error: no/such.tar: no such file")),
        test("command::directory", || refuses("images", "error: images: ")),
        test("command::manifest_names_missing_file", manifest_names_missing_file),
        test("command::manifest_with_unknown_key", manifest_with_unknown_key),
        test("command::dry_run", dry_run),
        test("command::without_qemu", without_qemu),
        test("command::with_old_qemu", with_old_qemu),
        test("command::without_compiler", without_compiler),
        test("command::bad_port", bad_port),
    ]
}

fn shown(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// The input is wrong: exit code 2, one message, and no emulator is started.
fn refuses(program: &str, message: &str) -> Result<()> {
    run(xtask(&["run", program])?)?.ends_with(2)?.shows(message).map(drop)
}

fn hello() -> Result<()> {
    let console = run(xtask_run(&["images/hello.py", "you"])?)?;
    console.ends_with(0)?.shows("Hello, you!\n")?.lacks("tinyvmm: exit code").map(drop)
}

fn exit_code() -> Result<()> {
    let (_directory, script) = file("x.py", "import sys; sys.exit(7)")?;
    run(xtask_run(&[shown(&script)?])?)?.ends_with(7).map(drop)
}

fn arguments() -> Result<()> {
    let (_directory, script) = file("x.py", "import sys; print(sys.argv)")?;
    let console = run(xtask_run(&[shown(&script)?, "--timeout", "-x", "a b"])?)?;
    console.ends_with(0)?.shows("['x.py', '--timeout', '-x', 'a b']\n").map(drop)
}

fn end_of_input() -> Result<()> {
    let (_directory, script) = file("x.py", "print('first', input())\ninput()")?;
    let console = run_with_input(xtask_run(&["--timeout", "20", shown(&script)?])?, "abc\n")?;
    console.shows("first abc\n")?.shows("EOFError")?.ends_with(1).map(drop)
}

fn bytecode() -> Result<()> {
    let text = "import os, sys\nprint(os.listdir('/rom'), sys.argv)\n1 / 0\n";
    let (_directory, script) = file("a.py", text)?;
    let console = run(xtask_run(&["--mpy", shown(&script)?, "x"])?)?;
    console.shows("['a.mpy'] ['a.mpy', 'x']\n")?.shows("File \"/a.py\", line 3, in <module>")?;
    console.ends_with(1).map(drop)
}

fn bytecode_of_a_manifest() -> Result<()> {
    let manifest = "[[vm]]\nname = \"a\"\nimage = \"micropython.elf\"\nmemory = \"1MiB\"\nargs = [\"/main.py\"]\n\
                    [vm.files]\n\"/main.py\" = \"main.py\"\n\"/module.py\" = \"module.py\"\n\
                    \"/data.txt\" = \"data.txt\"\n";
    let (directory, manifest) = file("a.toml", manifest)?;
    let main = "import module\nprint(module.x, open('/data.txt').read(), __file__)\n";
    for (name, text) in [("main.py", main), ("module.py", "x = 5\n"), ("data.txt", "data")] {
        fs::write(directory.path().join(name), text)?;
    }
    run(xtask_run(&["--mpy", shown(&manifest)?])?)?.shows("5 data /main.mpy\n")?.ends_with(0).map(drop)
}

fn bytecode_of_wrong_syntax() -> Result<()> {
    let (_directory, script) = file("a.py", "if True print(1)\n")?;
    let console = run(xtask(&["run", "--mpy", shown(&script)?])?)?;
    console.shows("a.py: ")?.shows("SyntaxError")?.ends_with(2).map(drop)
}

fn syntax_error() -> Result<()> {
    let (_directory, script) = file("x.py", "print(")?;
    run(xtask_run(&[shown(&script)?])?)?.ends_with(1)?.shows("SyntaxError").map(drop)
}

fn manifest_names_missing_file() -> Result<()> {
    let manifest = "[[vm]]\nname = \"a\"\nimage = \"micropython.elf\"\nmemory = \"1MiB\"\n\
                    [vm.files]\n\"/a.py\" = \"b.py\"\n";
    let (_directory, path) = file("x.toml", manifest)?;
    refuses(shown(&path)?, "x.toml:6: vm 'a': \"/a.py\" = \"b.py\": no such file")
}

fn manifest_with_unknown_key() -> Result<()> {
    let (_directory, path) = file("x.toml", "[[vm]]\ncpus = 1\n")?;
    refuses(shown(&path)?, "x.toml:2: cpus: unknown key: the keys here are name, machine, ")
}

/// A bundle is passed on as it is, and it is the hypervisor that refuses it.
fn bad_bundle() -> Result<()> {
    let (_directory, path) = file("x.tar", [0x55; 2048])?;
    let console = run(xtask_run(&[shown(&path)?])?)?;
    console.ends_with(2)?.shows("[tinyvmm error]")?.shows("bundle: ").map(drop)
}

fn timeout() -> Result<()> {
    let (_directory, script) = file("x.py", "print('busy')\nwhile True: pass")?;
    let console = run(xtask_run(&["--timeout", "3", shown(&script)?])?)?;
    console.ends_with(124)?.shows("busy\n")?.shows("error: timed out after 3 s\n").map(drop)
}

fn dry_run() -> Result<()> {
    let console = run(xtask(&["run", "--dry-run", "--cpu", "max", "images/hello.py"])?)?;
    console.ends_with(0)?.shows("qemu-system-aarch64 ")?.shows("-cpu max")?.lacks("semihosting").map(drop)
}

/// What is needed besides QEMU.
const TOOLS: &[&str] = &["cargo", "rustc", "rustup", "clang", "python3", "cc", "make", "tar", "xz"];

/// No tool of the system but these: no package manager either, so nothing can be installed.
fn with_tools_only(tools: &[&str], others: &Path) -> Result<Console> {
    let directory = tempfile::tempdir()?;
    for tool in tools {
        symlink(which(tool)?, directory.path().join(tool)).with_context(|| format!("cannot link {tool}"))?;
    }
    let (_directory, script) = file("x.py", "print('never')")?;
    let mut command = xtask(&["run", shown(&script)?])?;
    command.env("PATH", format!("{}:{}", others.display(), directory.path().display()));
    run(command)
}

fn without_qemu() -> Result<()> {
    let console = with_tools_only(TOOLS, Path::new("."))?;
    console.ends_with(3)?.shows("qemu-system-aarch64")?.shows("install")?.lacks("never").map(drop)
}

fn without_compiler() -> Result<()> {
    let console =
        with_tools_only(&["cargo", "rustc", "rustup", "qemu-system-aarch64", "python3"], Path::new("."))?;
    console.ends_with(3)?.shows("clang")?.shows("install")?.lacks("never").map(drop)
}

fn with_old_qemu() -> Result<()> {
    let (directory, fake) = file("qemu-system-aarch64", "#!/bin/sh\necho QEMU emulator version 7.2.0\n")?;
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755))?;
    let console = with_tools_only(TOOLS, directory.path())?;
    console.ends_with(3)?.shows("qemu-system-aarch64")?.shows("7.2")?.lacks("never").map(drop)
}

fn which(tool: &str) -> Result<String> {
    let path = std::env::var("PATH").context("no PATH")?;
    let mut candidates = path.split(':').map(|directory| format!("{directory}/{tool}"));
    candidates.find(|path| Path::new(path).is_file()).with_context(|| format!("no {tool} on PATH"))
}

fn bad_port() -> Result<()> {
    let console = run(xtask(&["run", "--serial", "tcp:no"])?)?;
    console.ends_with(2)?.shows("tcp:PORT")?.lacks("panicked").map(drop)
}
