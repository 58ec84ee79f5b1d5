//! What Python finds besides the language: threads, timers, the clock, chance, frozen modules.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::paths::root;

use crate::boot::{Vm, bundle, run, run_on};
use crate::dialogue::Dialogue;
use crate::matrix::{board, counting};
use crate::test;

const THREADS: &str = "\
import _thread, gc, time
lock = _thread.allocate_lock()
done = []
def work(n):
    total = 0
    for i in range(3000):
        total += len([i] * 10)
    with lock:
        done.append((n, total))
for n in range(20):
    while len(done) < n - 2:
        time.sleep_ms(1)
    _thread.start_new_thread(work, (n,))
while len(done) < 20:
    gc.collect()
print(sorted(done) == [(n, 30000) for n in range(20)])
lock.acquire()
for n in range(3):
    _thread.start_new_thread(work, (n,))
try:
    _thread.start_new_thread(work, (3,))
except OSError as error:
    print(error.errno)
lock.release()
while len(done) < 23:
    pass
def deep():
    deep()
def fail():
    try:
        deep()
    except RuntimeError:
        raise ValueError('in a thread')
_thread.start_new_thread(fail, ())
time.sleep_ms(1000)
print('end')
";

pub(crate) fn tests() -> Vec<Trial> {
    let threads = [1, 4]
        .into_iter()
        .map(|cores| test(format!("features::threads_on_{cores}_cores"), move || threads(cores)));
    let others = [
        test("features::no_thread_without_a_vcpu", no_thread),
        test("features::a_soft_reset_ends_threads", soft_reset),
        test("features::timers", timers),
        test("features::tls", tls),
        test("features::the_smallest_vm", the_smallest_vm),
        test("features::time_of_day", time_of_day),
        test("features::random_numbers", random_numbers),
        test("features::machine", machine),
        test("features::asyncio", asyncio),
        test("features::unittest", unittest),
        test("features::hashes_and_ciphers", hashes_and_ciphers),
        test("features::file_systems_on_block_devices", block_devices),
    ];
    threads.chain(others).collect()
}

fn threads(cores: u8) -> Result<()> {
    let board = board(cores);
    let console = run_on(&board, &bundle(&[Vm::python("a", THREADS).vcpus(4)])?, "")?;
    console.shows("True\n11\n")?.shows("ValueError: in a thread\nend\n")?.ends_with(0).map(drop)
}

fn no_thread() -> Result<()> {
    let script = "import _thread\n_thread.start_new_thread(print, ('never',))";
    run(&[Vm::python("a", script)])?.shows("EAGAIN")?.lacks("never")?.ends_with(1).map(drop)
}

/// Threads that run, sleep and wait for a lock: none of them is there afterwards.
fn soft_reset() -> Result<()> {
    let vm = Vm::new("a", "micropython.elf").memory("4MiB").vcpus(4);
    let mut dialogue = Dialogue::start(&[vm])?;
    dialogue.expects(">>> ")?.types("import _thread, time\r")?.expects(">>> ")?;
    for _ in 0..2 {
        dialogue.types("import _thread, time\r")?.expects(">>> ")?;
        dialogue.types("l = _thread.allocate_lock(); l.acquire()\r")?.expects(">>> ")?;
        dialogue.types("_thread.start_new_thread(l.acquire, ())\r")?.expects(">>> ")?;
        dialogue.types("_thread.start_new_thread(time.sleep, (1000,))\r")?.expects(">>> ")?;
        dialogue.types("_thread.start_new_thread(exec, ('while True: pass',))\r")?.expects(">>> ")?;
        dialogue.types("\x04")?.expects("soft reboot")?.expects(">>> ")?;
    }
    dialogue.types("6 * 7\r")?.expects("\n42\n").map(drop)
}

/// Callbacks come in sleeps and in loops, and not after their timer has been stopped.
fn timers() -> Result<()> {
    let script = "import machine, time\nticks = []\n\
                  t = machine.Timer(period=10, callback=lambda t: ticks.append(1))\ntime.sleep_ms(105)\n\
                  print(len(ticks))\nstart = time.ticks_ms()\n\
                  while len(ticks) < 15: pass\nprint(time.ticks_diff(time.ticks_ms(), start) >= 40)\nt.deinit()\n\
                  t.init(mode=t.ONE_SHOT, period=20, callback=lambda t: print('once'))\n\
                  time.sleep_ms(100)\nprint(len(ticks))";
    let console = run_on(&counting(1), &bundle(&[Vm::python("a", script)])?, "")?;
    console.is("10\nTrue\nonce\n15\n")?.ends_with(0).map(drop)
}

/// The board has the host's clock.
fn time_of_day() -> Result<()> {
    let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let script = "import time, os\nprint(int(time.time()), time.gmtime()[0] >= 2024)\n\
                  open('/f', 'w').close()\nprint(0 <= time.time() - os.stat('/f')[8] < 60)";
    let console = run(&[Vm::python("a", script)])?;
    let after = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (seconds, _) = console.output.split_once(' ').context("no number")?;
    // The clock counts whole seconds.
    ensure!((before - 1..=after + 1).contains(&seconds.parse::<u64>()?), "{before} {seconds} {after}");
    console.shows("True\nTrue\n")?.ends_with(0).map(drop)
}

fn random_numbers() -> Result<()> {
    let script = "import os, random\nprint(os.urandom(20), len(os.urandom(10000)), len(os.urandom(0)))\n\
                  print(random.getrandbits(32))";
    let console = run(&[Vm::python("a", script), Vm::python("b", script)])?;
    console.ends_with(0)?;
    let lines: std::collections::BTreeSet<&str> =
        console.output.lines().filter_map(|line| line.split_once("] ")).map(|(_, text)| text).collect();
    ensure!(lines.len() == 4, "a line came twice: {}", console.output);
    Ok(())
}

fn machine() -> Result<()> {
    let script = "import machine\nprint(len(machine.unique_id()), machine.unique_id() == machine.unique_id())\n\
                  machine.idle()\nmachine.lightsleep(5)\n\
                  try: machine.freq(1)\nexcept ValueError: print('fixed', machine.freq() > 0)\n\
                  p = machine.PinBase\nx = bytearray(b'abcd')\nimport uctypes\n\
                  print(machine.mem8[uctypes.addressof(x)])";
    run(&[Vm::python("a", script)])?.is("8 True\nfixed True\n97\n")?.ends_with(0).map(drop)
}

fn asyncio() -> Result<()> {
    let script = "import asyncio\nasync def tick(n):\n  for i in range(2):\n    await asyncio.sleep_ms(20 * n)\n    \
                  print(n, i)\nasync def main():\n  await asyncio.gather(tick(1), tick(3))\nasyncio.run(main())";
    // On a busy machine a sleep may take longer than three.
    let board = counting(1);
    run_on(&board, &bundle(&[Vm::python("a", script)])?, "")?
        .is("1 0\n1 1\n3 0\n3 1\n")?
        .ends_with(0)
        .map(drop)
}

fn unittest() -> Result<()> {
    let script = "import unittest\nclass T(unittest.TestCase):\n  def setUp(self): self.x = 1\n  \
                  def test_good(self):\n    self.assertEqual(self.x, 1)\n    \
                  with self.assertRaises(KeyError): {}[1]\n  \
                  def test_bad(self): self.assertIn(1, [2])\n  \
                  def test_error(self): 1 / 0\n  \
                  @unittest.skip('why')\n  def test_skipped(self): 1 / 0\n  \
                  def test_sub(self):\n    for i in range(2):\n      with self.subTest(i=i): self.assertEqual(i, 0)\n\
                  unittest.main()";
    let console = run(&[Vm::python("a", script)])?;
    for line in [
        "test_good (T) ... ok\n",
        "test_bad (T) ... FAIL\n",
        "test_error (T) ... ERROR\n",
        "test_skipped (T) ... skipped: why\n",
        "test_sub (T) ... FAIL\n",
        "ZeroDivisionError",
        "AssertionError: 1 is not in [2]\n",
        "Ran 5 tests\n\nFAILED (failures=2, errors=1)\n",
    ] {
        console.shows(line)?;
    }
    console.ends_with(0).map(drop)
}

/// With the examples of RFC 1321, RFC 3174 and FIPS 197.
fn hashes_and_ciphers() -> Result<()> {
    let script = "import binascii, cryptolib, hashlib\nshow = lambda b: print(binascii.hexlify(b).decode())\n\
                  show(hashlib.md5(b'abc').digest())\nshow(hashlib.sha1(b'abc').digest())\n\
                  text = binascii.unhexlify('00112233445566778899aabbccddeeff')\n\
                  for size in 16, 32:\n  key = bytes(range(size))\n  \
                  show(cryptolib.aes(key, cryptolib.MODE_ECB).encrypt(text))\n  \
                  for mode in cryptolib.MODE_CBC, cryptolib.MODE_CTR:\n    \
                  secret = cryptolib.aes(key, mode, bytes(16)).encrypt(text * 3)\n    \
                  print(secret != text * 3, cryptolib.aes(key, mode, bytes(16)).decrypt(secret) == text * 3)";
    let both = "True True\nTrue True\n";
    let expected = format!(
        "900150983cd24fb0d6963f7d28e17f72\na9993e364706816aba3e25717850c26c9cd0d89d\n\
         69c4e0d86a7b0430d8cdb78070b4c55a\n{both}8ea2b7ca516745bfeafc49904b496089\n{both}"
    );
    run(&[Vm::python("a", script)])?.is(&expected)?.ends_with(0).map(drop)
}

fn tls() -> Result<()> {
    let script = std::fs::read_to_string(root().join("tests/python/tls.py"))?;
    let expected = "The certificate validity starts in the future\n\
                    b'hello' b'welcome' TLSv1.2\n\
                    The certificate validity has expired\n\
                    The certificate Common Name (CN) does not match with the expected CN\n\
                    (-30336, 'MBEDTLS_ERR_SSL_CA_CHAIN_REQUIRED')\n\
                    True True\n";
    run(&[Vm::python("a", &script).memory("1MiB")])?.is(expected)?.ends_with(0).map(drop)
}

/// The interpreter's code is in memory that VMs share, so it takes none of theirs.
fn the_smallest_vm() -> Result<()> {
    let vms = ["a", "b"].map(|name| Vm::python(name, "print('hi')").memory("320KiB"));
    let console = run(&vms)?;
    console.shows("[a] hi\n")?.shows("[b] hi\n")?.ends_with(0).map(drop)
}

fn block_devices() -> Result<()> {
    let script = "import os, vfs\nclass Disk:\n  def __init__(self): self.data = bytearray(64 * 512)\n  \
                  def readblocks(self, n, b, o=0): b[:] = self.data[n * 512 + o:n * 512 + o + len(b)]\n  \
                  def writeblocks(self, n, b, o=0): self.data[n * 512 + o:n * 512 + o + len(b)] = b\n  \
                  def ioctl(self, op, arg): return {4: 64, 5: 512}.get(op, 0)\n\
                  for kind in (vfs.VfsFat, vfs.VfsLfs2):\n  disk = Disk()\n  kind.mkfs(disk)\n  \
                  vfs.mount(disk if kind is vfs.VfsFat else kind(disk), '/disk')\n  \
                  with open('/disk/file', 'w') as f: f.write('text')\n  print(open('/disk/file').read(), os.listdir('/disk'))\n  \
                  vfs.umount('/disk')";
    let line = "text ['file']\n";
    run(&[Vm::python("a", script)])?.is(&line.repeat(2))?.ends_with(0).map(drop)
}
