//! VMs that start, watch, pause and end others.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, cores, counting, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("supervision::a_vm_waits_to_be_started", waits_to_be_started),
        test("supervision::arguments", arguments),
        test("supervision::an_end_wakes_all_that_wait", many_waiters),
        test("supervision::a_restart_is_no_end", restarts),
        test("supervision::killed_while_it_waits_to_start", killed_while_restarting),
        test("supervision::no_memory", no_memory),
        test("supervision::kills_itself", kills_itself),
        test("supervision::ctrl_c_ends_a_wait", interrupted),
    ]
}

pub(crate) fn on_boards() -> Vec<Trial> {
    let mut tests = vec![];
    for machine in [Machine::Virt, Machine::VirtGicv2, Machine::Raspi4b] {
        for smp in cores(machine, &[1, 4]) {
            let board = move || Board::of(machine, smp);
            let name = format!("{}_{smp}", machine.name());
            tests.push(test(format!("supervision::spawn_and_wait_{name}"), move || spawn_and_wait(&board())));
            tests.push(test(format!("supervision::kills_{name}"), move || kills(&board())));
            tests.push(test(format!("supervision::pauses_{name}"), move || pauses(&counting(machine, smp))));
        }
    }
    tests
}

/// A VM that may control the others.
fn boss(script: &str) -> Vm {
    Vm::python("boss", &format!("import hv\n{script}")).may(&["control"])
}

/// A VM that only another one starts.
fn task(name: &str, script: &str) -> Vm {
    Vm::python(name, script).waits_to_be_started()
}

/// The exit code of the run is that of the first VM that did not end with 0.
fn spawn_and_wait(board: &Board) -> Result<()> {
    let script = "print(hv.vm('task').state)\nfor n in range(20):\n  number = hv.spawn('task', ['main.py', str(n)])\n  \
                  code = hv.wait(number)\n  if code != n: print(n, code)\n\
                  v = hv.vm('task')\nprint(v.id, v.state, v.restarts, v.exit_code, hv.wait('task'))";
    let vms = [boss(script), task("task", "import sys\nsys.exit(int(sys.argv[1]))")];
    let console = run_on(board, &bundle(&vms)?, "")?;
    console.of_vm_is("boss", &["stopped", "2 stopped 19 19 19"])?.ends_with(19).map(drop)
}

/// Also the first of the manifest: the input goes to one that runs.
fn waits_to_be_started() -> Result<()> {
    let vms = [task("task", "print('never')"), Vm::python("a", "print('got', input())")];
    let mut dialogue = Dialogue::start(&vms)?;
    dialogue.types("text\r")?.expects("[a] got text\n")?;
    dialogue.ends()?.lacks("never")?.ends_with(0).map(drop)
}

/// Those of the manifest, unless there are others; those last until the next start.
fn arguments() -> Result<()> {
    let script = "for args in (None, ['main.py', 'two words', '', 'ü'], []):\n  hv.spawn('task', args)\n  hv.wait('task')";
    let task = task("task", "import sys\nprint(*sys.argv, sep='|')").args(&["main.py", "usual"]);
    let lines = ["main.py|usual", "main.py|two words||ü", "main.py|usual"];
    run(&[boss(script), task])?.of_vm_is("task", &lines)?.ends_with(0).map(drop)
}

fn many_waiters() -> Result<()> {
    let waiter = |name: &str| Vm::python(name, "import hv\nprint(hv.wait('task'))").may(&["control"]);
    let task = Vm::python("task", "import sys, time\ntime.sleep_ms(100)\nsys.exit(9)");
    let vms = [waiter("a"), waiter("b"), task, waiter("c")];
    let console = run_on(&matrix::board(2), &bundle(&vms)?, "")?;
    ["a", "b", "c"].iter().try_for_each(|vm| console.of_vm_is(vm, &["9"]).map(drop))?;
    console.ends_with(9).map(drop)
}

/// One that computes, one that sleeps, one that waits for input, and one that waits for another.
fn kills(board: &Board) -> Result<()> {
    let script = "import time\ntime.sleep_ms(100)\nfor vm in ('busy', 'asleep', 'reads', 'waits', 'paused'):\n  \
                  hv.kill(vm)\n  print(vm, hv.wait(vm), hv.vm(vm).state)\n";
    let control = |name: &str, script: &str| Vm::python(name, script).may(&["control"]);
    let vms = [
        boss(script),
        Vm::python("busy", "while True: pass").vcpus(2),
        Vm::python("asleep", "import time\ntime.sleep(1000)"),
        Vm::python("reads", "input()"),
        control("waits", "import hv\nhv.wait('boss')"),
        control("paused", "import hv\nhv.pause(0)\nwhile True: pass"),
    ];
    let console = run_on(board, &bundle(&vms)?, "")?;
    let names = ["busy", "asleep", "reads", "waits", "paused"];
    let lines = names.map(|name| format!("{name} 137 stopped"));
    console.of_vm_is("boss", &lines.each_ref().map(String::as_str))?.ends_with(137).map(drop)
}

fn pauses(board: &Board) -> Result<()> {
    let script = "import time\ndef count():\n  t = hv.vm('counts').time_ms\n  time.sleep_ms(200)\n  \
                  return hv.vm('counts').time_ms - t\nwhile count() == 0: pass\nhv.pause('counts')\n\
                  print(hv.vm('counts').state)\ntime.sleep_ms(50)\nprint(count())\n\
                  try: hv.pause('counts')\nexcept OSError as error: print(error.errno)\n\
                  hv.resume('counts')\nwhile count() == 0: pass\nhv.kill('counts')\n";
    let vms = [boss(script).priority(9), Vm::python("counts", "while True: pass")];
    let console = run_on(board, &bundle(&vms)?, "")?;
    console.of_vm_is("boss", &["paused", "0", "22"])?.ends_with(137).map(drop)
}

/// As long as it starts again by itself, nobody's wait ends.
fn restarts() -> Result<()> {
    let script =
        "print(hv.wait('task', 300), hv.vm('task').restarts > 0)\nhv.kill('task')\nprint(hv.wait('task'))";
    let vms = [boss(script), Vm::python("task", "raise SystemExit(5)").restart("always")];
    let console = run_on(&matrix::counting(1), &bundle(&vms)?, "")?;
    console.check(
        console.output.starts_with("[boss] None True\n[boss] "),
        "a wait ended though the VM started again",
    )?;
    Ok(())
}

fn killed_while_restarting() -> Result<()> {
    let script = "import time\nwhile hv.vm('task').state != 'restarting': time.sleep_ms(5)\n\
                  hv.kill('task')\nprint(hv.vm('task').state, hv.wait('task'))";
    let vms = [boss(script), Vm::python("task", "raise SystemExit(5)").restart("on-failure")];
    let console = run_on(&matrix::counting(1), &bundle(&vms)?, "")?;
    console.of_vm_is("boss", &["stopped 5"])?.ends_with(5).map(drop)
}

/// A VM that cannot be built is told of on the console, and by its exit code.
fn no_memory() -> Result<()> {
    let script = "hv.spawn('large')\nprint(hv.wait('large'))\nhv.spawn('small')\nprint(hv.wait('small'))";
    let vms = [boss(script), task("large", "").memory("1500MiB"), task("small", "")];
    let console = run(&vms)?;
    console.shows("vm 'large': memory: not enough free memory")?;
    console.of_vm_is("boss", &["71", "0"])?.ends_with(71).map(drop)
}

fn kills_itself() -> Result<()> {
    let script = "hv.kill(0)\nwhile True: pass";
    run(&[boss(script)])?.is("")?.ends_with(137).map(drop)
}

fn interrupted() -> Result<()> {
    let script = "print('ready')\ntry: hv.wait(2)\nexcept KeyboardInterrupt: print('caught')\nhv.kill(2)";
    let mut dialogue = Dialogue::start(&[boss(script), Vm::python("other", "while True: pass")])?;
    dialogue.expects("[boss] ready\n")?.types("\x03")?.expects("[boss] caught\n")?;
    dialogue.ends()?.ends_with(137).map(drop)
}
