//! MicroPython's own tool, unmodified, with a VM for a board.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use tempfile::TempDir;
use xtask::device::Device;
use xtask::python;

use crate::console::Console;
use crate::process::run;
use crate::serial;
use crate::terminal::Terminal;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("mpremote::runs", runs),
        test("mpremote::shows_exceptions", shows_exceptions),
        test("mpremote::copies_files", copies_files),
        test("mpremote::manages_directories", manages_directories),
        test("mpremote::mounts", mounts),
        test("mpremote::resets", resets),
        test("mpremote::tells_free_space", tells_free_space),
        test("mpremote::installs_packages", installs_packages),
        test("mpremote::opens_the_prompt", opens_the_prompt),
        test("mpremote::opens_a_pseudoterminal", opens_a_pseudoterminal),
    ]
}

/// A board, and a directory where the tool runs.
struct Desk {
    device: Device,
    directory: TempDir,
}

impl Desk {
    fn new() -> Result<Self> {
        Self::with(serial::prompt()?)
    }

    fn with(device: Device) -> Result<Self> {
        Ok(Self { device, directory: tempfile::tempdir()? })
    }

    /// Puts a file into the directory.
    fn file(&self, name: &str, data: impl AsRef<[u8]>) -> Result<()> {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        Ok(fs::write(path, data)?)
    }

    /// The tool with these arguments, separated by blanks; `+` separates its commands.
    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(python::program("mpremote")?);
        command.args(["connect", self.device.name()]).args(words).current_dir(self.directory.path());
        // The user's own settings do not count.
        command.env("HOME", self.directory.path()).env_remove("XDG_CONFIG_HOME");
        Ok(command)
    }

    /// Runs the tool. It shows the board's line ends as they are.
    fn mpremote(&self, words: &[&str]) -> Result<Console> {
        let Console { output, code } = run(self.command(words)?)?;
        Ok(Console { output: output.replace("\r\n", "\n"), code })
    }

    /// Runs the tool, which must not fail.
    fn succeeds(&self, words: &[&str]) -> Result<Console> {
        let console = self.mpremote(words)?;
        console.ends_with(0)?;
        Ok(console)
    }
}

fn runs() -> Result<()> {
    let desk = Desk::new()?;
    desk.file("hello.py", "print('hello from', 6 * 7)\nimport sys\nprint(sys.platform)\n")?;
    desk.succeeds(&["run", "hello.py"])?.is("hello from 42\ntinyvmm\n")?;
    desk.succeeds(&["exec", "x = 5; print(x)", "+", "eval", "x + 1"])?.is("5\n6\n").map(drop)
}

fn shows_exceptions() -> Result<()> {
    let desk = Desk::new()?;
    let console = desk.mpremote(&["exec", "1 / 0"])?;
    console.ends_with(1)?.shows("ZeroDivisionError: divide by zero")?;
    desk.succeeds(&["eval", "'still ' + 'there'"])?.is("still there\n").map(drop)
}

/// Every byte value, Ctrl-A, Ctrl-C and Ctrl-D among them, goes there and back.
fn copies_files() -> Result<()> {
    let desk = Desk::new()?;
    let data: Vec<u8> = (0..=255_u8).cycle().take(20_000).collect();
    desk.file("data.bin", &data)?;
    desk.succeeds(&["fs", "cp", "data.bin", ":copy.bin"])?;
    desk.succeeds(&["fs", "ls"])?.shows("20000 copy.bin")?;
    desk.succeeds(&["fs", "cp", ":copy.bin", "back.bin"])?;
    let back = fs::read(desk.directory.path().join("back.bin"))?;
    let console =
        desk.succeeds(&["fs", "sha256sum", "copy.bin", "+", "fs", "rm", "copy.bin", "+", "fs", "ls"])?;
    console.check(back == data, "another file came back")?.lacks("20000 copy.bin").map(drop)
}

fn manages_directories() -> Result<()> {
    let desk = Desk::new()?;
    desk.file("tree/a.py", "A = 1")?;
    desk.file("tree/deep/b.py", "B = 2")?;
    desk.succeeds(&["fs", "cp", "-r", "tree", ":"])?;
    desk.succeeds(&["fs", "tree"])?.shows("deep")?.shows("b.py")?;
    desk.succeeds(&["exec", "from tree.deep.b import B; print(B)"])?.is("2\n")?;
    desk.succeeds(&["fs", "mkdir", "empty", "+", "fs", "rmdir", "empty"])?;
    desk.mpremote(&["fs", "rmdir", "tree"])?.ends_with(1)?;
    desk.succeeds(&["fs", "rm", "-r", "tree", "+", "fs", "ls"])?.lacks("tree/").map(drop)
}

fn mounts() -> Result<()> {
    let desk = Desk::new()?;
    desk.file("here.py", "ANSWER = 42")?;
    let program = "import here; print(here.ANSWER); print(open('made.txt', 'w').write('from the VM'))";
    desk.succeeds(&["mount", ".", "exec", program])?.shows("42\n11\n")?;
    let made = fs::read_to_string(desk.directory.path().join("made.txt"))?;
    let console = desk.succeeds(&["exec", "import os; print(os.listdir('/'))"])?;
    console.check(made == "from the VM", &format!("the file has {made:?}"))?.lacks("remote").map(drop)
}

fn resets() -> Result<()> {
    let desk = Desk::new()?;
    desk.succeeds(&["exec", "kept = 1; open('file', 'w').write('kept')"])?;
    let console =
        desk.succeeds(&["soft-reset", "exec", "print('kept' in globals(), open('file').read())"])?;
    console.is("False kept\n").map(drop)
}

fn tells_free_space() -> Result<()> {
    let console = Desk::new()?.succeeds(&["df"])?;
    let root = |line: &str| line.split_whitespace().last() == Some("/");
    console.shows("mounted on")?.check(console.output.lines().any(root), "no root directory").map(drop)
}

/// From a directory, as a package index would have it.
fn installs_packages() -> Result<()> {
    let desk = Desk::new()?;
    desk.file("index/package.json", r#"{"version": "1.0", "urls": [["thing/__init__.py", "thing.py"]]}"#)?;
    desk.file("index/thing.py", "def value(): return 99")?;
    desk.succeeds(&["mip", "install", "index/package.json"])?.shows("Done")?;
    desk.succeeds(&["exec", "import thing; print(thing.value(), thing.__file__)"])?;
    desk.succeeds(&["fs", "ls", "lib/thing"])?.shows("__init__.py").map(drop)
}

/// The prompt needs a terminal to read keys from, and a serial port with a file descriptor; Ctrl-] leaves.
fn opens_the_prompt() -> Result<()> {
    let desk = Desk::with(serial::start("pty", &[])?)?;
    let mut terminal = Terminal::run(desk.command(&["repl"])?)?;
    terminal.expects(">>> ")?.types("6 * 7\r")?.expects("\n42\r\n>>> ")?.types("\x1d")?;
    terminal.ends_with(0)
}

fn opens_a_pseudoterminal() -> Result<()> {
    let desk = Desk::with(serial::start("pty", &[])?)?;
    desk.succeeds(&["eval", "6 * 7"])?.is("42\n")?;
    desk.succeeds(&["exec", "print('x' * 3000)"])?.is(&format!("{}\n", "x".repeat(3000))).map(drop)
}
