//! Scripts and modules that nobody would write, programs that want more than there is, and Ctrl-C where it is least
//! convenient: all as in MicroPython on Linux, and the VM lives on.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::boot::{Vm, run};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::matrix::counting;
use crate::test;

const PROMPT: &str = ">>> ";

/// Scripts, and all that MicroPython prints for them on Linux, or the end of it where it is an error.
const SCRIPTS: &[(&str, &[u8], Result<&str, &str>)] = &[
    ("nul_in_code", b"print('never')\nx = 1 \0 + 2\n", Err("line 2\nSyntaxError: invalid syntax\n")),
    ("nul_in_a_string", b"x = 'a\0b'\nprint(len(x), repr(x))\n", Ok("3 'a\\x00b'\n")),
    ("nul_in_a_comment", b"# a \0 b\nprint('after')\n", Ok("after\n")),
    ("nul_at_the_end", b"print('never')\n\0", Err("line 2\nSyntaxError: invalid syntax\n")),
    ("invalid_utf8_in_code", b"print('never')\nx = 1 \xff 2\n", Err("line 2\nSyntaxError: invalid syntax\n")),
    ("invalid_utf8_in_a_string", b"x = 'a\xff\xfeb'\nprint(len(x), x.encode())\n", Ok("4 b'a\\xff\\xfeb'\n")),
    ("invalid_utf8_at_the_end", b"x = 'a\xf0'\nprint(x[1:].encode())\n", Err("UnicodeError: \n")),
    ("invalid_utf8_in_a_comment", b"# \xff\nprint('after')\n", Ok("after\n")),
    ("invalid_utf8_in_a_name", b"caf\xe9 = 5\nprint(caf\xe9)\n", Ok("5\n")),
    ("byte_order_mark", b"\xef\xbb\xbfprint('never')\n", Err("isn't defined\n")),
    ("crlf", b"x = '''a\r\nb'''\r\nif x:\r\n    print(repr(x))\\\r\n\r\nprint(5)\r\n", Ok("'a\\nb'\n5\n")),
    ("cr", b"x = 5\rprint(x)\r", Ok("5\n")),
];

/// Bytecode of version 5; MicroPython 1.25 reads version 6 alone.
const OTHER_BYTECODE: &[u8] = b"M\x05\x00\x1f\x00\x00";

pub(crate) fn tests() -> Vec<Trial> {
    let scripts = SCRIPTS
        .iter()
        .map(|(name, script, shown)| test(format!("bad_input::{name}"), || as_on_linux(script, *shown)));
    let others = [
        test("bad_input::script_of_10_mb", large_script),
        test("bad_input::script_too_large_for_the_memory", too_large_script),
        test("bad_input::bytecode_of_another_version", other_bytecode),
        test("bad_input::prompt_after_memory_has_run_out", prompt_after_exhaustion),
        test("bad_input::prompt_after_deep_recursion", prompt_after_recursion),
        test("bad_input::interrupt_an_import", interrupt_an_import),
        test("bad_input::interrupt_imports_at_any_moment", interrupt_imports),
        test("bad_input::interrupt_the_collector", interrupt_the_collector),
        test("bad_input::garbage_for_10_g_instructions", garbage).with_ignored_flag(true),
    ];
    scripts.chain(others).collect()
}

fn script(bytes: impl AsRef<[u8]>) -> Vm {
    Vm::new("a", "micropython.elf").memory("4MiB").args(&["main.py"]).file("/main.py", bytes)
}

fn as_on_linux(bytes: &[u8], shown: Result<&str, &str>) -> Result<()> {
    let console = run(&[script(bytes)])?;
    match shown {
        Ok(all) => console.is(all)?.ends_with(0).map(drop),
        Err(end) => is_error(&console, end),
    }
}

/// Checks that an exception ended the program.
fn is_error(console: &Console, end: &str) -> Result<()> {
    console.check(console.output.ends_with(end), &format!("the output does not end with {end:?}"))?;
    console.lacks("never")?.ends_with(1).map(drop)
}

/// 10 MB of code and data.
fn ten_megabytes() -> String {
    let text = "text ".repeat(200);
    let lines = (0..10_000).map(|n| format!("x = '{n} {text}'\n"));
    lines.collect::<String>() + "print(x[:5], len(x))\n"
}

fn large_script() -> Result<()> {
    run(&[script(ten_megabytes()).memory("128MiB")])?.is("9999  1005\n")?.ends_with(0).map(drop)
}

fn too_large_script() -> Result<()> {
    let console = run(&[script(ten_megabytes())])?;
    is_error(console.shows("MemoryError: memory allocation failed, allocating ")?, " bytes\n")
}

/// As a module, and as the program.
fn other_bytecode() -> Result<()> {
    let import = "try: import module\nexcept ValueError as error: print(error)\nprint('after')";
    let vm = Vm::python("a", import).file("/module.mpy", OTHER_BYTECODE);
    run(&[vm])?.is("incompatible .mpy file\nafter\n")?.ends_with(0)?;
    let vm = Vm::python("a", "").args(&["other.mpy"]).file("/other.mpy", OTHER_BYTECODE);
    is_error(&run(&[vm])?, "ValueError: incompatible .mpy file\n")
}

fn prompt() -> Result<Dialogue> {
    let mut dialogue = Dialogue::start(&[Vm::new("a", "micropython.elf").memory("16MiB")])?;
    dialogue.expects(PROMPT)?;
    Ok(dialogue)
}

/// Types a line, and waits for what it prints and the next prompt.
fn answers(dialogue: &mut Dialogue, line: &str, answer: &str) -> Result<()> {
    dialogue.types(&format!("{line}\r"))?.expects(answer)?.expects(PROMPT).map(drop)
}

/// By one object, by many that nothing holds afterwards, and by many that stay, after which only a reset helps.
fn prompt_after_exhaustion() -> Result<()> {
    let mut dialogue = prompt()?;
    answers(&mut dialogue, "x = bytearray(1 << 30)", "MemoryError")?;
    let fill = "exec('x = []\\nwhile True: x.append(bytes(100))'";
    answers(&mut dialogue, &format!("{fill}, {{}})"), "MemoryError")?;
    answers(&mut dialogue, "6 * 7", "\n42\n")?;
    answers(&mut dialogue, &format!("{fill})"), "MemoryError")?;
    dialogue.types("\x04")?.expects("soft reboot")?.expects(PROMPT)?;
    answers(&mut dialogue, "len(bytearray(1 << 20))", "\n1048576\n")
}

/// Python functions, and objects that hold others: compared, shown, called and compiled.
fn prompt_after_recursion() -> Result<()> {
    let mut dialogue = prompt()?;
    let too_deep = "RuntimeError: maximum recursion depth exceeded";
    for line in [
        "f = lambda: f(); f()",
        "x = []; x.append(x); repr(x)",
        "y = []; y.append(y); x == y",
        "x < y",
        "x = {}; x[1] = x; y = {}; y[1] = y; x == y",
        "exec('x = ()\\nfor _ in range(9999): x = (x,)'); hash(x)",
        "exec('class A: pass\\nA.__call__ = A()'); A()()",
        "exec('x = ' + '[' * 9999 + ']' * 9999)",
        "exec('x = 1\\ny = ' + '-' * 9999 + 'x')",
    ] {
        answers(&mut dialogue, line, too_deep)?;
    }
    answers(&mut dialogue, "6 * 7", "\n42\n")
}

/// The module that was not done is not there afterwards, and can be imported anew.
fn interrupt_an_import() -> Result<()> {
    let script = "import builtins\nbuiltins.first = True\ntry:\n  import slow\n  print('never')\n\
                  except KeyboardInterrupt: pass\nbuiltins.first = False\nimport slow\nprint(slow.x, 'caught')";
    let slow = "import time\nprint('ready' if first else 'again')\nwhile first: time.ticks_ms()\nx = 5\n";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script).file("/slow.py", slow)])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("again\n5 caught\n")?;
    dialogue.ends()?.lacks("never")?.ends_with(0).map(drop)
}

/// Files are read and compiled over and over.
fn interrupt_imports() -> Result<()> {
    let script = "import sys\nprint('ready')\ntry:\n  while True:\n    import module\n    del sys.modules['module']\n\
                  except KeyboardInterrupt: pass\nimport module\nprint(module.f(2), 'caught')";
    let module = "def f(x):\n  y = x\n".to_owned() + &"  y += 1\n".repeat(500) + "  return y\n";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script).file("/module.py", module)])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("502 caught\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// Each collection looks at a million objects.
fn interrupt_the_collector() -> Result<()> {
    let script = "import gc\nx = [[n] for n in range(1000000)]\nprint('ready')\n\
                  try:\n  while True: gc.collect()\nexcept KeyboardInterrupt: print('caught')\nprint(x[999999])";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script).memory("256MiB")])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("caught\n[999999]\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// Garbage of all sizes, some of which lives for a while. A second of this board is 1 G instructions.
const GARBAGE: &str = "\
import gc, time
def churn():
    keep = [None] * 100
    for n in range(5000):
        keep[n % 100] = [n, str(n), {n: (n,)}, bytearray(n % 3000)]
def second():
    start, rounds, taken = time.ticks_us(), 0, 0
    while taken < 1000000:
        churn()
        rounds += 1
        taken = time.ticks_diff(time.ticks_us(), start)
    gc.collect()
    print('each', taken // rounds, 'free', gc.mem_free())
for _ in range(10):
    second()
";

/// Neither slower nor with less memory after all that.
fn garbage() -> Result<()> {
    let vm = Vm::python("a", GARBAGE).memory("2MiB");
    let mut dialogue = Dialogue::start_on(&counting(1), &[vm], "")?;
    let mut second = || {
        let line = dialogue.line("each ")?;
        let (taken, free) = line.split_once(" free ").context("no memory")?;
        Ok((taken.parse::<u64>()?, free.parse::<u64>()?))
    };
    let seconds: Vec<(u64, u64)> = (0..10).map(|_| second()).collect::<Result<_>>()?;
    dialogue.ends()?.ends_with(0)?;
    let ((first, free), (last, left)) = (seconds[0], seconds[9]);
    ensure!(last * 100 <= first * 101, "a round gets slower: {seconds:?}");
    ensure!(left * 100 >= free * 99, "less and less memory is free: {seconds:?}");
    Ok(())
}
