//! The module `hv`, but for other VMs and messages: the terminal, time, memory, the log, and what is not allowed.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use xtask::paths::root;
use xtask::qemu::Machine;

use crate::boot::{Vm, bundle, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix::{self, counting};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("hv::names_are_those_of_the_stub", stub),
        test("hv::terminal", terminal),
        test("hv::keys", keys),
        test("hv::time_and_memory", time_and_memory),
        test("hv::own_vm", own_vm),
        test("hv::log", log),
        test("hv::refusals", refusals),
        test("hv::mistakes", mistakes),
        test("hv::capabilities_in_the_manifest", unknown_capability),
        test("hv::yield", yields),
        test("hv::steal_time", steal),
    ];
    let of_interrupts = || [test("hv::refusals", refusals), test("hv::steal_time", steal)];
    tests.extend(matrix::on(Machine::VirtGicv2, of_interrupts));
    tests
}

/// What the stub defines at the start of a line. Names of mere types begin with an underscore.
fn stub_names() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(root().join("micropython-port/hv.pyi")).context("no stub")?;
    let name = |line: &str| {
        let line = line.strip_prefix("def ").or(line.strip_prefix("class ")).unwrap_or(line);
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let is_name = matches!(line[end..].chars().next(), Some('(' | ':'));
        (is_name && end > 0 && !line.starts_with('_')).then(|| line[..end].to_owned())
    };
    Ok(text.lines().filter_map(name).collect())
}

fn stub() -> Result<()> {
    let script = "import hv\nfor name in dir(hv):\n  if name[0] != '_': print(name)";
    let console = run(&[Vm::python("a", script)])?;
    let here: BTreeSet<String> =
        console.output.lines().filter(|name| *name != "__name__").map(Into::into).collect();
    let there = stub_names()?;
    let difference: Vec<_> = here.symmetric_difference(&there).collect();
    console
        .check(there.len() == 42 && difference.is_empty(), &format!("only in one: {difference:?}"))
        .map(drop)
}

fn terminal() -> Result<()> {
    let script = "import hv\nhv.clear()\nhv.set_color(hv.RED, hv.WHITE)\nprint('x')\nhv.set_color(bg)\n";
    let script = script.replace("bg", "None, hv.BLUE");
    let script = script
        + "hv.set_color()\nhv.set_cursor(0, 79)\nprint(hv.size(), hv.has_key())\n\
           for bad in (hv.set_color, 8), (hv.set_color, -1), (hv.putchar, 256), (hv.putchar, 'ab'):\n  \
           try: bad[0](bad[1])\n  except ValueError: print('bad')\n\
           try: hv.set_cursor(-1, 0)\nexcept ValueError: print('bad')\n";
    let expected = "\x1b[2J\x1b[H\x1b[31;47mx\n\x1b[39;44m\x1b[39;49m\x1b[1;80H(24, 80) False\n";
    run(&[Vm::python("a", &script)])?.is(&(expected.to_owned() + &"bad\n".repeat(5)))?.ends_with(0).map(drop)
}

/// Arrows in both forms, other keys that send several bytes, and an escape alone.
fn keys() -> Result<()> {
    let script = "import hv\nprint('ready')\nwhile True:\n  key = hv.getc()\n  \
                  print({hv.UP: 'up', hv.DOWN: 'down', hv.LEFT: 'left', hv.RIGHT: 'right'}.get(key, key))\n  \
                  if key == ord('q'): break\n";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script)])?;
    dialogue.expects("ready\n")?.types("\x1b[A\x1bOB\x1b[C\x1b[D")?;
    dialogue.expects("up\ndown\nright\nleft\n")?.types("a\x1b[3~b\x1bc")?.expects("97\n27\n98\n27\n99\n")?;
    dialogue.types("\x1b")?.expects("27\n")?.types("q")?.expects("113\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

fn time_and_memory() -> Result<()> {
    let script = "import gc, hv, machine\na, t = hv.ticks(), hv.uptime_ms()\nhv.sleep_until(t + 30)\n\
                  print(hv.uptime_ms() >= t + 30, hv.ticks() - a >= machine.freq() * 29 // 1000)\n\
                  hv.sleep_until(0)\nhv.sleep_until(-5)\nprint(hv.uptime_ms() < t + 40)\n\
                  gc.collect()\nu, f = hv.mem_used(), hv.mem_free()\nx = bytearray(100000)\n\
                  print(hv.mem_used() - u >= 100000, f - hv.mem_free() >= 100000)\n\
                  c = hv.cpu()\nprint(c.vcpu, hex(c.implementer), hex(c.part), hv.version())";
    let console = run_on(&counting(1), &bundle(&[Vm::python("a", script)])?, "")?;
    console.is("True True\nTrue\nTrue True\n0 0x41 0xd08 (1, 2)\n")?.ends_with(0).map(drop)
}

/// A VM may look at itself whatever it may do besides, by any of its names.
fn own_vm() -> Result<()> {
    let script = "import hv\nv = hv.vm()\nprint(v.id, v.name, v.state, v.vcpus, v.memory, v.capabilities, v.restarts, v.exit_code)\n\
                  print(hv.vm(2)[:2], v.exits >= 0, v.time_ms >= 0)";
    let vms = [Vm::python("x", ""), Vm::python("me", script).vcpus(2).may(&["log", "messages"])];
    let lines = ["2 me running 2 4194304 ('log', 'messages') 0 0", "(2, 'me') True True"];
    run(&vms)?.of_vm_is("me", &lines)?.ends_with(0).map(drop)
}

fn log() -> Result<()> {
    let script = "import hv, time\ntime.sleep_ms(50)\nfor line in hv.log().split('\\n'):\n  \
                  if \"'first'\" in line: print('log:', line)\n";
    let vms = [Vm::python("first", ""), Vm::python("a", script).may(&["log"])];
    let console = run_on(&counting(1), &bundle(&vms)?, "loglevel=info")?;
    let line = "log: [tinyvmm info] vm 'first' ended: exit code 0, first entered at ";
    console.shows(&format!("[a] {line}"))?.ends_with(0).map(drop)
}

/// All that needs a capability, without it.
const REFUSALS: &str = "import errno, hv
for what in (
    lambda: hv.vm(1), lambda: hv.vm(99), lambda: hv.vm('other'), lambda: hv.vms(), lambda: hv.find('other'),
    lambda: hv.spawn('other'), lambda: hv.spawn('nobody', ['x']), lambda: hv.kill(1), lambda: hv.kill('other'),
    lambda: hv.kill(2), lambda: hv.pause(1), lambda: hv.resume(1), lambda: hv.wait(1, 0), lambda: hv.log(),
    lambda: hv.send(1, b'x'), lambda: hv.send(2, b'x'), lambda: hv.send(77, b'x'), lambda: hv.recv(0),
):
    try:
        print('allowed', what())
    except OSError as error:
        print(errno.errorcode[error.errno])
";

fn refusals() -> Result<()> {
    let vms = [Vm::python("other", "").may(&["messages"]), Vm::python("a", REFUSALS)];
    run(&vms)?.of_vm_is("a", &["EPERM"; 18])?.ends_with(0).map(drop)
}

/// With all capabilities, what makes no sense.
fn mistakes() -> Result<()> {
    let script = "import errno, hv
for what in (
    lambda: hv.vm(99), lambda: hv.vm(-1), lambda: hv.find('nobody'), lambda: hv.find('x' * 5000),
    lambda: hv.spawn('nobody'), lambda: hv.kill(99), lambda: hv.pause('nobody'), lambda: hv.resume(-1),
    lambda: hv.wait(99, 0), lambda: hv.send(99, b'x'), lambda: hv.send(-1, b'x'),
    lambda: hv.spawn('a'), lambda: hv.spawn('other', ['x' * 5000]), lambda: hv.resume(1),
    lambda: hv.send(1, bytes(4097)), lambda: hv.send('other', b'x'), lambda: hv.wait('other', 0),
    lambda: hv.kill('other'), lambda: hv.pause('other'),
):
    try:
        print('allowed', what())
    except OSError as error:
        print(errno.errorcode[error.errno])
try:
    hv.spawn('other', ['a\\0b'])
except ValueError:
    print('NUL')
";
    let vms = [
        Vm::python("a", script).may(&["board", "control", "log", "messages"]),
        Vm::python("other", "").waits_to_be_started(),
    ];
    let mut lines = vec!["ESRCH"; 11];
    lines.extend(["EEXIST", "EINVAL", "EINVAL", "EMSGSIZE", "ESRCH", "ESRCH", "ESRCH", "ESRCH", "NUL"]);
    run(&vms)?.of_vm_is("a", &lines)?.ends_with(0).map(drop)
}

fn unknown_capability() -> Result<()> {
    let message = "vm 'a': capabilities = \"root\": must be \"board\", \"control\", \"log\" or \"messages\"";
    run(&[Vm::python("a", "").may(&["root"])])?.shows(message)?.ends_with(2).map(drop)
}

/// The other VM gets its turn long before its neighbour's is over.
fn yields() -> Result<()> {
    let script = "import hv\nfor n in range(3):\n  print(n)\n  hv.yield_()\n";
    let vms = ["a", "b"].map(|name| Vm::python(name, script).affinity(&[0]));
    let console = run_on(&counting(1), &bundle(&vms)?, "")?;
    let order: Vec<&str> = console.output.lines().collect();
    let (a, b): (Vec<_>, Vec<_>) = order.iter().enumerate().partition(|(_, line)| line.starts_with("[a]"));
    let overlap = a.last().map(|(at, _)| *at) > b.first().map(|(at, _)| *at);
    console.check(a.len() == 3 && b.len() == 3 && overlap, "they did not take turns")?.ends_with(0).map(drop)
}

/// Of two that compute on one core, each waits while the other runs; alone on theirs, none does.
fn steal() -> Result<()> {
    let script = "import hv\nend = hv.uptime_ms() + 400\nwhile hv.uptime_ms() < end: pass\nv = hv.vm()\n\
                  print(v.steal_ms * 100 // (v.time_ms + v.steal_ms))";
    let share = |console: &crate::console::Console, vm: &str| -> Result<u64> {
        let line = console.output.lines().find_map(|line| line.strip_prefix(vm)).context("no line")?;
        Ok(line.parse()?)
    };
    let board = counting(1);
    let vms = ["a", "b"].map(|name| Vm::python(name, script).affinity(&[0]));
    let both = run_on(&board, &bundle(&vms)?, "")?;
    for vm in ["[a] ", "[b] "] {
        let share = share(&both, vm)?;
        both.check((40..=60).contains(&share), &format!("{vm}waited for {share} %"))?;
    }
    let alone = run_on(&board, &bundle(&[Vm::python("a", script)])?, "")?;
    let share = share(&alone, "")?;
    alone.check(share <= 1, &format!("alone, it waited for {share} %")).map(drop)
}
