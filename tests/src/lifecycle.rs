//! VMs that start again, and what the user does with VMs at the console.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use libtest_mimic::Trial;

use crate::boot::{Vm, bundle, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix::board;
use crate::test;

const MONITOR: &str = "\x01m";
const SEND_CTRL_A: &str = "\x01a";
const PROMPT: &str = "monitor> ";

/// Counts up for as long as it runs.
const COUNTER: &str = "import time\nn = 0\nwhile True:\n  n += 1\n  print('count', n)\n  time.sleep_ms(20)\n";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("lifecycle::never_starts_again_unless_told", never),
        test("lifecycle::on_failure_waits_longer_each_time", on_failure),
        test("lifecycle::on_failure_leaves_success_alone", success),
        test("lifecycle::always_starts_again", always),
        test("lifecycle::a_crash_is_reported_each_time", crashes),
        test("lifecycle::memory_is_zero_after_a_restart", scrubbed),
        test("lifecycle::memory_comes_back_before_a_restart", memory_comes_back),
        test("lifecycle::other_vms_go_on", others_go_on),
        test("lifecycle::the_machine_starts_anew", reboots),
        test("console::input_follows_the_focus", focus),
        test("console::focus_moves_on_at_the_end", focus_moves_on),
        test("console::sends_ctrl_a", sends_ctrl_a),
        test("console::shows_help", help),
        test("console::escape_can_be_off", escape_off),
        test("monitor::lists", lists),
        test("monitor::pauses_and_resumes", pauses),
        test("monitor::kills", kills),
        test("monitor::restarts", restarts),
        test("monitor::kills_what_waits_to_start_again", kills_restarting),
        test("monitor::edits_lines_and_tells_mistakes", mistakes),
        test("monitor::works_while_all_cores_are_busy", busy),
    ]
}

/// All VMs end, and are there again after the machine's next start: by a VM's call, and by a user's.
fn reboots() -> Result<()> {
    let script = "import hv\nprint('up')\nhv.board.reboot() if input() == 'r' else hv.board.poweroff()\nwhile True: pass";
    let vms =
        [Vm::python("a", script).may(&["board"]), Vm::python("b", "while True: pass").restart("always")];
    let mut dialogue = Dialogue::start_on(&board(1), &vms, "")?;
    dialogue.expects("[a] up\n")?.types("r\r")?.expects("[a] up\n")?.types(MONITOR)?.expects(PROMPT)?;
    dialogue.types("reboot\r")?.expects("[a] up\n")?.types("p\r")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// A script that fails after it has printed this.
fn failing(text: &str) -> String {
    format!("import sys\nprint('{text}')\nsys.exit(3)")
}

fn repl(name: &str) -> Vm {
    Vm::new(name, "micropython.elf").memory("4MiB")
}

/// Boots a VM and waits for so many runs of it.
fn runs(vm: Vm, runs: usize) -> Result<Dialogue> {
    let mut dialogue = Dialogue::start_with(&[vm], "loglevel=info")?;
    for _ in 0..runs {
        dialogue.expects("run\n")?.expects("ended: ")?;
    }
    Ok(dialogue)
}

/// Opens the monitor.
fn monitor(dialogue: &mut Dialogue) -> Result<&mut Dialogue> {
    dialogue.types(MONITOR)?.expects(PROMPT)
}

fn never() -> Result<()> {
    run(&[Vm::python("a", &failing("once"))])?.is("once\n")?.ends_with(3).map(drop)
}

/// The waits are 100, 200 and 400 ms.
fn on_failure() -> Result<()> {
    let start = Instant::now();
    let mut dialogue = runs(Vm::python("a", &failing("run")).restart("on-failure"), 4)?;
    ensure!(start.elapsed() >= Duration::from_millis(700), "only {:?}", start.elapsed());
    monitor(&mut dialogue)?.types("kill a\r")?;
    dialogue.ends()?.ends_with(3).map(drop)
}

fn success() -> Result<()> {
    run(&[Vm::python("a", "print('once')").restart("on-failure")])?.is("once\n")?.ends_with(0).map(drop)
}

fn always() -> Result<()> {
    let mut dialogue = runs(Vm::python("a", "print('run')").restart("always"), 4)?;
    monitor(&mut dialogue)?.types("kill a\r")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

fn crashes() -> Result<()> {
    let vm = Vm::new("bad", "misbehave.elf").args(&["misbehave", "jump-nowhere"]).restart("on-failure");
    let mut dialogue = Dialogue::start_with(&[vm], "loglevel=info")?;
    for _ in 0..3 {
        dialogue.expects("vm 'bad' crashed")?.expects("backtrace")?.expects("ended: ")?;
    }
    monitor(&mut dialogue)?.types("kill 1\r")?;
    dialogue.ends()?.ends_with(70).map(drop)
}

/// Each run looks for what the one before has left.
fn scrubbed() -> Result<()> {
    let script = "import sys\nfrom uctypes import bytearray_at\nx = bytearray_at(0x3f0000, 16)\n\
                  print('found', sum(x))\nfor i in range(16): x[i] = 255\nsys.exit(1)";
    let mut dialogue = Dialogue::start(&[Vm::python("a", script).memory("8MiB").restart("on-failure")])?;
    dialogue.expects("found 0\n")?.expects("found 0\n").map(drop)
}

/// There is not enough memory for the VM a second time.
fn memory_comes_back() -> Result<()> {
    let vm = Vm::python("a", &failing("run")).memory("600MiB").restart("on-failure");
    let mut dialogue = Dialogue::start(&[vm])?;
    dialogue.expects("run\n")?.expects("run\n")?.expects("run\n").map(drop)
}

fn others_go_on() -> Result<()> {
    let failing = Vm::python("failing", &failing("run")).restart("on-failure");
    let counter = COUNTER.replace("while True", "while n < 20");
    let mut dialogue = Dialogue::start(&[failing, Vm::python("counter", &counter)])?;
    dialogue.expects("[counter] count 20\n")?;
    monitor(&mut dialogue)?.types("kill failing\r")?;
    let console = dialogue.ends()?;
    let lines: Vec<String> = (1..=20).map(|n| format!("count {n}")).collect();
    console.of_vm_is("counter", &lines.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

fn focus() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("one"), repl("two")])?;
    dialogue.expects("[one] >>> ")?.types("name = 'first'\r")?.expects("[one] >>> ")?;
    dialogue.types("\x012")?.expects("[tinyvmm] input goes to vm 'two'\n")?;
    dialogue
        .types("name = 'second'\r")?
        .expects("[two] >>> ")?
        .types("name + '!'\r")?
        .expects("'second!'\n")?;
    dialogue
        .types("\x011")?
        .expects("input goes to vm 'one'\n")?
        .types("name + '!'\r")?
        .expects("'first!'\n")?;
    dialogue.types("\x013")?.expects("[tinyvmm] there is no VM 3\n").map(drop)
}

fn focus_moves_on() -> Result<()> {
    let mut dialogue = Dialogue::start_with(&[repl("one"), repl("two")], "loglevel=info")?;
    dialogue.expects("[two] >>> ")?.types("import sys\rsys.exit(4)\r")?;
    dialogue.expects("[tinyvmm info] input goes to vm 'two'\n")?;
    dialogue.types("\x011")?.expects("[tinyvmm] vm 'one' is stopped\n")?;
    dialogue.types("import sys\rsys.exit(5)\r")?;
    dialogue.ends()?.ends_with(4).map(drop)
}

fn sends_ctrl_a() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("a")])?;
    dialogue.expects(">>> ")?.types(SEND_CTRL_A)?.expects("raw REPL; CTRL-B to exit\n>").map(drop)
}

fn help() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("a")])?;
    dialogue.expects(">>> ")?.types("\x01?")?.expects("Ctrl-A M")?.expects("this help\n").map(drop)
}

fn escape_off() -> Result<()> {
    let script = "import sys\nprint('ready')\nprint(repr(sys.stdin.read(2)))";
    let mut dialogue = Dialogue::start_with(&[Vm::python("a", script)], "escape=off")?;
    dialogue.expects("ready\n")?.types("\x01m")?.expects("'\\x01m'\n")?;
    dialogue.ends()?.ends_with(0)?;
    run_on(&board(1), &bundle(&[Vm::python("a", "")])?, "escape=maybe")?
        .shows("command line: escape= wants on or off")?
        .ends_with(2)
        .map(drop)
}

fn lists() -> Result<()> {
    let busy = Vm::python("busy", "while True: pass");
    let mut dialogue =
        Dialogue::start_on(&board(2), &[Vm::python("short", ""), busy, repl("py")], "loglevel=info")?;
    dialogue.expects("vm 'short' ended")?;
    monitor(&mut dialogue)?.types("list\r")?.expects("  # name       state      CPU")?;
    dialogue.expects("  1 short      stopped      1    0.000     0     0     0     0    0 KiB        0\n")?;
    dialogue.expects("* 2 busy       running      1")?.expects("4096 KiB        0\n")?;
    dialogue.expects("  3 py         ")?.expects(PROMPT).map(drop)
}

fn pauses() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("py"), Vm::python("counter", COUNTER)])?;
    dialogue.expects("[counter] count 3\n")?;
    monitor(&mut dialogue)?.types("pause counter\r")?.expects("pause counter\n")?;
    dialogue.types("list\r")?.expects("  2 counter    paused       1")?.expects(PROMPT)?;
    let silence = dialogue.listens(Duration::from_millis(300))?;
    ensure!(!silence.contains("count"), "it goes on: {silence}");
    dialogue.types("pause counter\r")?.expects("counter: it is paused\n")?;
    dialogue.types("resume counter\r")?.expects("[counter] count ")?.types("kill counter\r")?;
    lists_until(&mut dialogue, "counter    stopped")?
        .types("resume 2\r")?
        .expects("2: it is stopped\n")?
        .types("kill py\r")?;
    dialogue.ends()?.ends_with(137).map(drop)
}

/// Lists VMs until one is as expected: whoever is killed has to come off its core first.
fn lists_until<'a>(dialogue: &'a mut Dialogue, state: &str) -> Result<&'a mut Dialogue> {
    for _ in 0..200 {
        dialogue.types("list\r")?;
        if dialogue.listens(Duration::from_millis(100))?.contains(state) {
            return Ok(dialogue);
        }
    }
    bail!("{state:?} is not listed")
}

/// Also one that is paused, and one that waits.
fn kills() -> Result<()> {
    let busy = Vm::python("busy", "while True: pass");
    let paused = Vm::python("paused", COUNTER);
    let mut dialogue = Dialogue::start(&[repl("waits"), busy, paused])?;
    dialogue.expects("[waits] >>> ")?.expects("[paused] count 1\n")?;
    monitor(&mut dialogue)?.types("pause paused\rkill busy\r")?.expects("kill busy\n")?;
    dialogue.types("kill paused\rkill 1\r")?;
    dialogue.ends()?.ends_with(137).map(drop)
}

fn restarts() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("py"), Vm::python("counter", COUNTER)])?;
    dialogue.expects("[counter] count 9\n")?;
    monitor(&mut dialogue)?.types("restart counter\r")?.expects("[counter] count 1\n")?;
    lists_until(dialogue.types("kill counter\r")?, "counter    stopped")?;
    // One that has ended can be started, too.
    dialogue.types("restart counter\r")?.expects("[counter] count 1\n")?;
    dialogue.types("list\r")?.expects("counter    running")?.expects("4096 KiB        2\n").map(drop)
}

fn kills_restarting() -> Result<()> {
    let mut dialogue = runs(Vm::python("a", &failing("run")).restart("on-failure"), 5)?;
    // Now it waits for 1.6 s.
    monitor(&mut dialogue)?.types("list\r")?.expects("a          restarting")?.types("kill a\r")?;
    dialogue.ends()?.ends_with(3).map(drop)
}

fn mistakes() -> Result<()> {
    let mut dialogue = Dialogue::start(&[repl("py")])?;
    dialogue.expects(">>> ")?;
    monitor(&mut dialogue)?.types("lsit\r")?.expects("lsit: no such command")?.expects(PROMPT)?;
    dialogue.types("kill\r")?.expects("which VM?")?.types("kill nobody\r")?.expects("nobody: no such VM")?;
    dialogue.types("xxx\x15hepl\x7f\x7flp\r")?.expects("restart N or NAME")?.expects(PROMPT)?;
    dialogue.types("\x04")?.expects("input goes to vm 'py'\n")?.types("6 * 7\r")?.expects("42\n").map(drop)
}

fn busy() -> Result<()> {
    let vm = |n: usize| Vm::python(&format!("busy{n}"), "while True: pass");
    let vms: Vec<Vm> = (1..=8).map(vm).collect();
    let mut dialogue = Dialogue::start_on(&board(2), &vms, "")?;
    monitor(&mut dialogue)?;
    for n in 1..=8 {
        dialogue.types(&format!("kill busy{n}\r"))?.expects(&format!("kill busy{n}\n"))?;
    }
    dialogue.ends()?.ends_with(137).map(drop)
}
