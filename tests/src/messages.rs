//! Messages between VMs.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, cores, counting, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix;
use crate::test;

/// VMs that exchange messages, each with all others.
const MANY: usize = 64;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("messages::to_itself", to_itself),
        test("messages::to_a_dead_vm", to_a_dead_vm),
        test("messages::a_dead_receiver_ends_a_wait", dead_receiver),
        test("messages::nothing_is_left_for_the_next_run", restarted),
        test("messages::killed_while_it_receives", killed),
        test("messages::ctrl_c_ends_a_wait", interrupted),
        test("messages::threads_go_on", threads),
    ]
}

pub(crate) fn on_boards() -> Vec<Trial> {
    let mut tests = vec![];
    for machine in [Machine::Virt, Machine::VirtGicv2, Machine::Raspi4b] {
        for smp in cores(machine, &[1, 4]) {
            let board = move || Board::of(machine, smp);
            let name = format!("{}_{smp}", machine.name());
            tests.push(test(format!("messages::both_ways_{name}"), move || both_ways(&board())));
            tests.push(test(format!("messages::a_full_box_{name}"), move || full(&counting(machine, smp))));
        }
        let board = move || Board::of(machine, 4);
        tests.push(test(format!("messages::{MANY}_vms_{}", machine.name()), move || many(&board())));
    }
    tests
}

fn vm(name: &str, script: &str) -> Vm {
    Vm::python(name, &format!("import hv\n{script}")).may(&["messages"])
}

/// One of each length, and others that answer to questions.
fn both_ways(board: &Board) -> Result<()> {
    let ask = "for n in list(range(40)) + [4095, 4096]:\n  hv.send('answers', bytes([n % 251] * n))\n  \
               if hv.recv() != (2, str(n * (n % 251)).encode()): print('wrong', n)\nhv.send(2, 'end')\nprint('done')";
    let answer = "while True:\n  sender, data = hv.recv()\n  if data == b'end': break\n  \
                  hv.send(sender, str(sum(data)))\nprint('done', sender)";
    let console = run_on(board, &bundle(&[vm("asks", ask), vm("answers", answer)])?, "")?;
    console.of_vm_is("asks", &["done"])?.of_vm_is("answers", &["done 1"])?.ends_with(0).map(drop)
}

/// A sender that will not wait is told; one that waits gets everything through, in order.
fn full(board: &Board) -> Result<()> {
    let send = "import time\nhv.pause(2)\ntime.sleep_ms(100)\ncount = 0\ntry:\n  while True:\n    \
                hv.send(2, bytes(1000))\n    count += 1\nexcept OSError as error: print(error.errno)\n\
                print(16 <= count <= 17)\ntry: hv.send(2, bytes(1000), 30)\n\
                except OSError as error: print(error.errno)\nhv.resume(2)\n\
                for n in range(200): hv.send(2, b'%d ' % n + bytes(900), -1)\nprint('sent')";
    let receive = "while True:\n  sender, data = hv.recv()\n  if data[0] != 0: break\n\
                   for n in range(200):\n  if int(data.split()[0]) != n: print('wrong', n)\n  \
                   if n < 199: sender, data = hv.recv()\nprint('received', hv.recv(0))";
    let vms = [vm("sends", send).may(&["control", "messages"]), vm("slow", receive)];
    let console = run_on(board, &bundle(&vms)?, "")?;
    // 16 KiB hold 16 messages of 1008 bytes, and one more if the receiver took one before it was paused.
    console.of_vm_is("sends", &["11", "True", "11", "sent"])?;
    console.of_vm_is("slow", &["received None"])?.ends_with(0).map(drop)
}

/// Each sends its number to all others, and adds up what it gets.
fn many(board: &Board) -> Result<()> {
    let script = format!(
        "me = hv.vm().id\nfor n in range(1, {MANY} + 1):\n  if n != me: hv.send(n, str(me), -1)\n\
         total = me\nfor n in range({MANY} - 1):\n  sender, text = hv.recv()\n  total += int(text)\n  \
         if sender != int(text): print('wrong sender')\nprint(total)"
    );
    let vms: Vec<Vm> = (1..=MANY).map(|n| vm(&format!("vm-{n}"), &script).memory("2MiB")).collect();
    let console = run_on(board, &bundle(&vms)?, "")?;
    let sum = (MANY * (MANY + 1) / 2).to_string();
    (1..=MANY).try_for_each(|n| console.of_vm_is(&format!("vm-{n}"), &[&sum]).map(drop))?;
    console.ends_with(0).map(drop)
}

fn to_itself() -> Result<()> {
    let script = "hv.send(0, b'a')\nhv.send('a', 'bc')\nhv.send(hv.vm().id, memoryview(b''))\n\
                  print([hv.recv(0) for _ in range(4)])\nt = hv.uptime_ms()\nprint(hv.recv(40), hv.uptime_ms() - t >= 40)";
    run(&[vm("a", script)])?
        .is("[(1, b'a'), (1, b'bc'), (1, b''), None]\nNone True\n")?
        .ends_with(0)
        .map(drop)
}

fn to_a_dead_vm() -> Result<()> {
    let script = "import time\ntime.sleep_ms(100)\nfor vm in ('dead', 'deaf', 'later'):\n  \
                  try: hv.send(vm, b'x', 50)\n  except OSError as error: print(error.errno)";
    let vms = [
        vm("a", script),
        vm("dead", ""),
        Vm::python("deaf", "import time\ntime.sleep_ms(300)"),
        vm("later", "").waits_to_be_started(),
    ];
    let console = run_on(&matrix::counting(1), &bundle(&vms)?, "")?;
    console.of_vm_is("a", &["3", "1", "3"])?.ends_with(0).map(drop)
}

/// The sender waits for room that never comes.
fn dead_receiver() -> Result<()> {
    let send = "try:\n  while True: hv.send(2, bytes(4096), -1)\nexcept OSError as error: print(error.errno)";
    let vms = [vm("a", send), vm("b", "import time\ntime.sleep_ms(200)")];
    run_on(&matrix::board(1), &bundle(&vms)?, "")?.of_vm_is("a", &["3"])?.ends_with(0).map(drop)
}

/// A VM that starts again finds an empty box.
fn restarted() -> Result<()> {
    let script = "import machine\nfirst = hv.recv(0) is None and hv.vm().restarts == 0\nif first:\n  \
                  hv.send(0, b'left')\n  machine.reset()\nprint(hv.vm().restarts, hv.recv(0))";
    run(&[vm("a", script)])?.is("1 None\n")?.ends_with(0).map(drop)
}

fn killed() -> Result<()> {
    let boss = "import time\ntime.sleep_ms(50)\nhv.kill('b')\nprint(hv.wait('b'))\n\
                try: hv.send('b', b'x')\nexcept OSError as error: print(error.errno)";
    let vms = [vm("a", boss).may(&["control", "messages"]), vm("b", "hv.recv()")];
    run(&vms)?.of_vm_is("a", &["137", "3"])?.ends_with(137).map(drop)
}

fn interrupted() -> Result<()> {
    let script = "print('ready')\ntry: hv.recv()\nexcept KeyboardInterrupt: print('caught')";
    let mut dialogue = Dialogue::start(&[vm("a", script)])?;
    dialogue.expects("ready\n")?.types("\x03")?.expects("caught\n")?;
    dialogue.ends()?.ends_with(0).map(drop)
}

/// While one thread waits for a message, another sends it one.
fn threads() -> Result<()> {
    let script = "import _thread, time\ngot = []\ndef work():\n  for n in range(5): got.append(hv.recv())\n\
                  _thread.start_new_thread(work, ())\nfor n in range(5):\n  time.sleep_ms(10)\n  hv.send(0, str(n))\n\
                  while len(got) < 5: time.sleep_ms(1)\nprint(got)";
    let expected = "[(1, b'0'), (1, b'1'), (1, b'2'), (1, b'3'), (1, b'4')]\n";
    run(&[vm("a", script).vcpus(2)])?.is(expected)?.ends_with(0).map(drop)
}
