//! Figures of MicroPython in a VM, beside those of upstream's benchmarks.

use super::measure::{Subject, Values};
use super::output::{Clock, Counted, VmEnd};
use super::trace::Trace;
use crate::device::Device;
use crate::size::Size;
use crate::{progress, python};
use anyhow::{Context, Result, ensure};
use std::env;
use std::fs;
use std::process::Command;

/// Enough for everything that does not ask for memory.
const MEMORY: Size = Size::mib(4);
/// Leaves a heap of 2 MiB beside image and stack.
const MEMORY_WITH_2_MIB_OF_HEAP: Size = Size::mib(3);
/// A VM's memory is a multiple of this many KiB.
const PAGE_KIB: u64 = 4;

/// What adds up 100,000 numbers.
const VIPER: &str = "\
import machine, micropython, time
@micropython.viper
def work(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total
start = time.ticks_cpu()
work(100000)
print('figure viper_loop', time.ticks_diff(time.ticks_cpu(), start), 1)
print('counter', machine.freq())
";

pub(super) fn viper_loop(subject: &Subject) -> Result<Values> {
    let output = subject.script(VIPER, MEMORY, "bytecode", &[])?;
    Ok(vec![("viper_loop", Clock::find(&output)?.each(Counted::find(&output, "viper_loop")?))])
}

/// From the VM's first instruction to the first byte that its script prints.
pub(super) fn guest_to_output(subject: &Subject) -> Result<Values> {
    let VmEnd { first_entered, first_output, .. } =
        subject.script_end("print('ready')\n", MEMORY_WITH_2_MIB_OF_HEAP)?;
    let ticks = first_output.checked_sub(first_entered).context("output before the first instruction")?;
    Ok(vec![("guest_to_output", subject.clock()?.instructions(ticks))])
}

/// The smallest memory of a VM that prints something: halves what is possible until one page is left.
pub(super) fn min_memory(subject: &Subject) -> Result<Values> {
    let size = |pages| Size::kib(pages * PAGE_KIB);
    let works = |pages| subject.script("print('hi')\n", size(pages), "bytecode", &[]).is_ok();
    let (mut too_small, mut enough) = (0, MEMORY.bytes() / size(1).bytes());
    ensure!(works(enough), "a VM of {MEMORY} prints nothing");
    while enough - too_small > 1 {
        let middle = too_small.midpoint(enough);
        if works(middle) { enough = middle } else { too_small = middle }
    }
    Ok(vec![("min_memory", size(enough).bytes())])
}

/// What a thousand lines more cost, each of 80 characters.
pub(super) fn print_exits(subject: &Subject) -> Result<Values> {
    const MORE: u64 = 1000;
    let exits = |lines: u64| {
        let script = format!("for _ in range({lines}): print('x' * 80)\n");
        anyhow::Ok(subject.script_end(&script, MEMORY)?.exits)
    };
    Ok(vec![("print_exits", (exits(1 + MORE)? - exits(1)?).div_ceil(MORE))])
}

/// Files that a tool copies to the VM, in bytes: what the larger one costs more is divided by what it has more.
const FILES: (usize, usize) = (32 << 10, 160 << 10);

/// Instructions at EL2 for each byte of text that `mpremote fs cp` sends.
pub(super) fn serial_per_byte(subject: &Subject) -> Result<Values> {
    python::ensure()?;
    let (small, large) = FILES;
    let more = copy(subject, large)?.saturating_sub(copy(subject, small)?);
    Ok(vec![("serial_per_byte", more.div_ceil(u64::try_from(large - small)?))])
}

/// Copies a file of this size; returns the instructions at EL2, those of the boot included.
fn copy(subject: &Subject, size: usize) -> Result<u64> {
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("text"), "text ".repeat(size / 5 + 1).split_at(size).0)?;
    let trace = Trace::start()?;
    let mut run = Command::new(env::current_exe()?);
    run.args(["run", "--serial", "tcp:0", "--cpu", subject.cpu.name(), "--machine", subject.machine.name()]);
    for argument in trace.arguments() {
        run.arg("--qemu-arg").arg(argument);
    }
    let device = Device::start(run)?;
    let mut mpremote = Command::new(python::program("mpremote")?);
    mpremote.args(["connect", device.name(), "fs", "cp", "text", ":"]).current_dir(&directory);
    progress::run("copying a file to the VM", &mut mpremote)?;
    drop(device);
    trace.count()
}
