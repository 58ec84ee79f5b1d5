//! The hypercalls, with good and bad arguments.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::boot::{Vm, run};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("hypercall::results", results),
        test("hypercall::exit_code_is_a_byte", exit_code_is_a_byte),
        test("hypercall::first_exit_code_that_is_not_zero", first_exit_code_that_is_not_zero),
        test("hypercall::demonstration_guests", demonstration_guests),
        test("hypercall::text_and_bytes", text_and_bytes),
    ]
}

fn hypercalls() -> Vm {
    Vm::new("a", "hypercalls.elf").file("/rom", "read me")
}

fn results() -> Result<()> {
    let console = run(&[hypercalls()])?;
    console.lacks("FAIL")?.shows("checked\n")?.ends_with(0).map(drop)
}

fn exit_code_is_a_byte() -> Result<()> {
    run(&[Vm::python("a", "import hv\nhv.exit(0x1FE)")])?.ends_with(0xFE).map(drop)
}

/// In the order of the manifest, whoever ends first.
fn first_exit_code_that_is_not_zero() -> Result<()> {
    let slow = "import sys, time\ntime.sleep_ms(100)\nsys.exit(3)";
    let vms =
        [Vm::python("good", ""), Vm::python("slow", slow), Vm::python("quick", "import sys\nsys.exit(4)")];
    run(&vms)?.ends_with(3).map(drop)
}

fn demonstration_guests() -> Result<()> {
    let console = run(&[Vm::new("vm1", "vm1.bin"), Vm::new("vm2", "vm2.bin")])?;
    console.ends_with(0)?.of_vm_is("vm2", &["0 + 2 + 4 + 6 + 8 = 20"])?;
    let lines = ["Hello", "counter 0", "counter 1", "counter 2", "counter 3", "counter 4"];
    console.of_vm_is("vm1", &lines).map(drop)
}

/// PUTS and PUTCHAR write text, CONSOLE_WRITE bytes; all of it arrives in order.
fn text_and_bytes() -> Result<()> {
    let script = "import hv, sys\nhv.puts('a\\n')\nhv.putchar(10)\nsys.stdout.write('b\\n')\nhv.puts('c\\n')";
    run(&[Vm::python("a", script)])?.is("a\n\nb\nc\n")?.ends_with(0).map(drop)
}
