//! The VM's files, as Python programs use them.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use xtask::paths::root;

use crate::boot::{Vm, run};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("files::as_cpython", as_cpython),
        test("files::of_the_bundle_are_read_only", read_only),
        test("files::have_a_quota", quota),
        test("files::are_gone_after_the_end", gone),
        test("files::are_closed_by_the_collector", collected),
    ]
}

fn as_cpython() -> Result<()> {
    let script = std::fs::read_to_string(root().join("tests/python/files.py"))?;
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("main.py"), &script)?;
    let mut python = Command::new("python3");
    python.arg("main.py").current_dir(&directory).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1");
    let host = python.output().context("cannot run python3")?;
    ensure!(host.status.success(), "python3: {}", String::from_utf8_lossy(&host.stderr));
    // The VM's root has the ROM image besides.
    let expected = String::from_utf8(host.stdout)?.replace("'other', 'text'", "'other', 'rom', 'text'");
    let console = run(&[Vm::python("a", &script)])?;
    for (here, there) in console.output.replace("'rom', ", "").lines().zip(expected.lines()) {
        console.check(here == there, &format!("{here:?} here is {there:?} in CPython"))?;
    }
    console.ends_with(0)?;
    ensure!(console.output.lines().count() == expected.lines().count(), "{}", console.output);
    Ok(())
}

fn read_only() -> Result<()> {
    let script = "import os, deep.module\n\
                  def attempt(f, *args):\n  try: print(f(*args))\n  except OSError as e: print(e.errno, end=' ')\n\
                  attempt(open, '/main.py', 'w')\nattempt(os.remove, '/main.py')\n\
                  attempt(os.rename, '/deep/module.py', '/x')\nattempt(os.rmdir, '/deep')\n\
                  open('/deep/new', 'w').write('n')\n\
                  print(sorted(os.listdir('/deep')), deep.module.__file__, open('/rom/deep/module.py').read())\n";
    let vm = Vm::python("a", script).file("/deep/module.py", "x = 1");
    let expected = "30 30 30 30 ['module.py', 'new'] deep/module.py x = 1\n";
    run(&[vm])?.is(expected)?.ends_with(0).map(drop)
}

fn quota() -> Result<()> {
    let script = "import os\nopen('/kept', 'w').write('k' * 5000)\nfile = open('/big', 'wb')\n\
                  try:\n  while True: file.write(bytes(1000))\nexcept OSError as e: print(e.errno)\nfile.close()\n\
                  print(open('/kept').read() == 'k' * 5000, os.stat('/big')[6] > 40000, os.statvfs('/')[3])\n\
                  os.remove('/big')\nopen('/more', 'w').write('m' * 20000)\nprint(os.stat('/more')[6])\n";
    let vm = Vm::python("a", script).storage("64KiB");
    let none = Vm::python("b", "open('/x', 'w').write('x')").storage("0KiB");
    run(&[vm])?.is("28\nTrue True 0\n20000\n")?.ends_with(0)?;
    run(&[none])?.shows("OSError: [Errno 28] ENOSPC")?.ends_with(1).map(drop)
}

/// The next run of a VM finds what its manifest says, and what others have written is not there.
fn gone() -> Result<()> {
    let script = |name: &str| format!("import os\nprint(os.listdir('/'))\nopen('/{name}', 'w').write('x')\n");
    let again =
        "import os, machine\nprint('run', sorted(os.listdir('/')))\nopen('/x', 'w').close()\nmachine.reset()";
    let mut dialogue = crate::dialogue::Dialogue::start(&[Vm::python("a", again)])?;
    for _ in 0..2 {
        dialogue.expects("run ['main.py', 'rom']\n")?;
    }
    let console = run(&[Vm::python("a", &script("a")), Vm::python("b", &script("b"))])?;
    console.ends_with(0)?;
    for vm in ["a", "b"] {
        console.of_vm_is(vm, &["['rom', 'main.py']"])?;
    }
    Ok(())
}

fn collected() -> Result<()> {
    let script = "for n in range(200):\n  open('/f', 'w').write(str(n))\nprint(open('/f').read())\n\
                  files = []\ntry:\n  while True: files.append(open('/f'))\n\
                  except OSError as e: print(len(files) > 29, e.errno)\n";
    run(&[Vm::python("a", script)])?.is("199\nTrue 24\n")?.ends_with(0).map(drop)
}
