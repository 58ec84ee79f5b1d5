//! Python scripts, each in a VM of its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use elf::{ElfBytes, abi::PF_X, endian::LittleEndian};
use libtest_mimic::Trial;
use xtask::paths::root;
use xtask::source_tree::MICROPYTHON;

use crate::boot::{Vm, built, bundle, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix::counting;
use crate::test;

/// Exit code of a script that Ctrl-C ended, as a shell gives it.
const INTERRUPTED: u8 = 130;

/// Scripts with their exit codes, and what is to be seen on the console.
const ENDINGS: &[(&str, &str, u8, &[&str])] = &[
    ("end_of_script", "x = 1", 0, &[]),
    ("sys_exit", "import sys; sys.exit(7)", 7, &[]),
    ("sys_exit_without_code", "import sys; sys.exit()", 0, &[]),
    ("sys_exit_none", "import sys; sys.exit(None)", 0, &[]),
    ("sys_exit_large", "import sys; sys.exit(256 + 9)", 9, &[]),
    ("sys_exit_negative", "import sys; sys.exit(-1)", 255, &[]),
    ("sys_exit_text", "import sys; sys.exit('no luck')", 1, &["no luck\n"]),
    ("system_exit", "raise SystemExit(5)", 5, &[]),
    ("syntax_error", "print('never')\nif True print(1)", 1, &["Traceback", "line 2", "SyntaxError"]),
    (
        "uncaught_exception",
        "def f():\n  return {}['k']\nf()",
        1,
        &["Traceback (most recent call last):", "line 3, in <module>", "line 2, in f", "KeyError: k"],
    ),
    ("missing_module", "import nothing_like_it", 1, &["ImportError"]),
    ("endless_recursion", "def f(): f()\nf()", 1, &["RuntimeError: maximum recursion depth exceeded"]),
    ("out_of_memory", "x = bytearray(1 << 30)", 1, &["MemoryError"]),
    ("out_of_memory_slowly", "x = []\nwhile True: x.append('%d' % len(x))", 1, &["MemoryError"]),
];

pub(crate) fn tests() -> Vec<Trial> {
    let endings = ENDINGS
        .iter()
        .map(|(name, script, code, shown)| test(format!("python::{name}"), || ends(script, *code, shown)));
    let others = [
        test("python::hello", hello),
        test("python::output_as_cpython", output_as_cpython),
        test("python::program_as_cpython", program_as_cpython),
        test("python::arguments", arguments),
        test("python::files_and_modules", files_and_modules),
        test("python::missing_script", missing_script),
        test("python::upstream_sys_atexit", || upstream("misc/sys_atexit.py")),
        test("python::upstream_ssl_poll", || upstream("extmod/ssl_poll.py")),
        test("python::small_memory", small_memory),
        test("python::too_little_memory", too_little_memory),
        test("python::large_memory", large_memory),
        test("python::hypervisor_module", hypervisor_module),
        test("python::forged_exit_line", forged_exit_line),
        test("python::time", time),
        test("python::demonstration", demonstration),
        test("python::interrupt_a_busy_loop", || interrupt("while True: pass")),
        test("python::interrupt_a_sleep", || interrupt("import time\ntime.sleep(1000)")),
        test("python::interrupt_an_input", || interrupt("input()")),
        test("python::catch_an_interrupt", catch_an_interrupt),
        test("python::input", input),
    ];
    endings.chain(others).collect()
}

fn ends(script: &str, code: u8, shown: &[&str]) -> Result<()> {
    let console = run(&[Vm::python("a", script)])?;
    console.ends_with(code)?.lacks("never")?;
    shown.iter().try_for_each(|text| console.shows(text).map(drop))?;
    if shown.is_empty() { console.is("").map(drop) } else { Ok(()) }
}

fn source(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn hello() -> Result<()> {
    let vm = Vm::python("a", &source("images/hello.py")?);
    let lines = "Hello, world!\nThis is micropython in a virtual machine of its own.\n\
                 Powers of two: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]\n";
    run(&[vm])?.is(lines)?.ends_with(0).map(drop)
}

fn output_as_cpython() -> Result<()> {
    let script = r#"print(2**200, 1/3, [x*x for x in range(10)], {'a': 1}, f"{3.14159:.2f}")"#;
    let expected = "1606938044258990275541962092341162602522202993782792835301376 0.3333333333333333 \
                    [0, 1, 4, 9, 16, 25, 36, 49, 64, 81] {'a': 1} 3.14\n";
    run(&[Vm::python("a", script)])?.is(expected)?.ends_with(0).map(drop)
}

fn program_as_cpython() -> Result<()> {
    let script = "tests/python/program.py";
    let host = Command::new("python3").arg(root().join(script)).args(["one", "two"]).output()?;
    ensure!(host.status.success(), "python3: {}", String::from_utf8_lossy(&host.stderr));
    let vm = Vm::python("a", &source(script)?).args(&["main.py", "one", "two"]);
    let console = run(&[vm])?;
    let expected = String::from_utf8(host.stdout)?;
    for (here, there) in console.output.lines().zip(expected.lines()) {
        console.check(here == there, &format!("{here:?} here is {there:?} in CPython"))?;
    }
    console.ends_with(0)?.is(&expected).map(drop)
}

fn arguments() -> Result<()> {
    let args = ["main.py", "two words", "", "-x", "ü"];
    let console = run(&[Vm::python("a", "import sys\nprint(*sys.argv, sep='|')").args(&args)])?;
    console.is("main.py|two words||-x|ü\n")?.ends_with(0).map(drop)
}

fn files_and_modules() -> Result<()> {
    let script = "import os, greet\nfrom lib.deep import answer\n\
                  print(greet.hello(), answer, open('data.txt').read(), open('/lib/b.bin', 'rb').read())\n\
                  print(sorted(os.listdir('/')), sorted(os.listdir('/lib')))\n\
                  try:\n  open('none.txt')\nexcept OSError as error:\n  print(error.errno)\n";
    let vm = Vm::python("a", script)
        .file("/greet.py", "def hello(): return 'hi'")
        .file("/data.txt", "some data")
        .file("/lib/deep.py", "answer = 42")
        .file("/lib/b.bin", [0, 255, 10]);
    let console = run(&[vm])?;
    console.shows("hi 42 some data b'\\x00\\xff\\n'\n")?.shows("'data.txt', 'greet.py', 'lib', 'main.py'")?;
    console.shows("['b.bin', 'deep.py']\n2\n")?.ends_with(0).map(drop)
}

fn missing_script() -> Result<()> {
    let console = run(&[Vm::python("a", "").args(&["other.py"])])?;
    console.shows("other.py")?.shows("ENOENT")?.ends_with(2).map(drop)
}

/// A test of upstream as a program of its own.
fn upstream(test: &str) -> Result<()> {
    let test = MICROPYTHON.directory()?.join("tests").join(test);
    let expected = std::fs::read_to_string(test.with_extension("py.exp"))?;
    run(&[Vm::python("a", &std::fs::read_to_string(test)?)])?.is(&expected)?.ends_with(0).map(drop)
}

fn small_memory() -> Result<()> {
    run(&[Vm::python("a", "print(sum(range(1000)))").memory("1MiB")])?.is("499500\n")?.ends_with(0).map(drop)
}

/// The image fits, but hardly anything else; and then with as much as the message asks for.
fn too_little_memory() -> Result<()> {
    let vm = |kib: u64| Vm::python("a", "print(sum(range(1000)))").memory(&format!("{kib}KiB"));
    let kib = image_end(&built("micropython.elf")?)?.next_multiple_of(4 << 10) >> 10;
    let console = run(&[vm(kib)])?;
    console.ends_with(1)?;
    let text = format!("not enough memory: this VM has {kib} KiB, Python needs at least ");
    let needed = console.output.strip_prefix(&text).and_then(|rest| rest.strip_suffix(" KiB\n"));
    let needed = needed.with_context(|| format!("other output than {text:?}: {:?}", console.output))?;
    run(&[vm(needed.parse()?)])?.is("499500\n")?.ends_with(0).map(drop)
}

/// The address behind what an image has in RAM, where its code is not, and behind what it wants cleared.
fn image_end(image: &[u8]) -> Result<u64> {
    let segments = ElfBytes::<LittleEndian>::minimal_parse(image)?.segments().context("no segments")?;
    let data = segments.iter().filter(|segment| segment.p_flags & PF_X == 0);
    data.map(|segment| segment.p_vaddr + segment.p_memsz).max().context("no segments")
}

fn large_memory() -> Result<()> {
    let script = "x = bytearray(200 << 20)\nx[-1] = 7\nprint(len(x) >> 20, x[-1], x[0])";
    run(&[Vm::python("a", script).memory("256MiB")])?.is("200 7 0\n")?.ends_with(0).map(drop)
}

fn hypervisor_module() -> Result<()> {
    let script =
        "import hv\nprint(hv.version())\nhv.puts('text\\n')\nhv.putchar(65)\nhv.putchar('\\n')\nhv.exit(6)";
    let console = run(&[Vm::python("a", script)])?;
    console.shows("text\nA\n")?.ends_with(6).map(drop)
}

/// Only the hypervisor's own line, the last one, counts.
fn forged_exit_line() -> Result<()> {
    let script = "import sys\nsys.stdout.write('\\n\\ntinyvmm: exit code 0\\n')\nsys.exit(7)";
    let console = run(&[Vm::python("a", script)])?;
    console.ends_with(7)?.shows("tinyvmm: exit code 0\n").map(drop)
}

fn time() -> Result<()> {
    let script = "import time\nstart = time.ticks_ms()\ntime.sleep(0.3)\ntime.sleep_ms(50)\n\
                  print(350 <= time.ticks_diff(time.ticks_ms(), start) < 400)";
    run_on(&counting(1), &bundle(&[Vm::python("a", script)])?, "")?.is("True\n")?.ends_with(0).map(drop)
}

/// The VMs of `images/demo.toml`, as the command boots them.
fn demonstration() -> Result<()> {
    let draft = xtask::bundle::Draft::manifest(&root().join("images/demo.toml"))?;
    let console = crate::boot::run_bundle(&draft.pack(&crate::boot::products()?)?)?;
    console
        .ends_with(0)?
        .shows("[vm2] 0 + 2 + 4 + 6 + 8 = 20\n")?
        .shows("[vm2] 1 + 3 + 5 + 7 + 9 = 25\n")?
        .shows("[vm1] Hello\n")?;
    console.shows("[rust] Hello from Rust\n")?.shows("[rust] squares: 1 4 9 ")?;
    console.of_vm_is("python", &["Python counts 1", "Python counts 2", "Python counts 3"]).map(drop)
}

fn interrupt(script: &str) -> Result<()> {
    let mut dialogue =
        Dialogue::start(&[Vm::python("a", &format!("print('ready')\n{script}\nprint('never')"))])?;
    dialogue.expects("ready\n")?.types("\x03")?;
    let console = dialogue.ends()?;
    console.shows("KeyboardInterrupt")?.lacks("never")?.ends_with(INTERRUPTED).map(drop)
}

fn catch_an_interrupt() -> Result<()> {
    let script = "try:\n  print('ready')\n  while True: pass\nexcept KeyboardInterrupt:\n  print('caught')";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script)])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("caught\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

fn input() -> Result<()> {
    let script = "name = input('Who? ')\nprint('Hello,', name)";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script)])?;
    dialogue.expects("Who? ")?.types("you\r")?.expects("Hello, you\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}
