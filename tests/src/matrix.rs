//! The board of tests that say nothing of it: QEMU's own, and once more a Raspberry Pi 4.
//!
//! A test finds its board by the thread that it runs on.

use std::cell::Cell;
use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::qemu::{Board, Machine};

use crate::boot;
use crate::process::xtask;

thread_local! {
    static MACHINE: Cell<Machine> = const { Cell::new(Machine::Virt) };
}

/// The machine that tests here and now are for.
pub(crate) fn machine() -> Machine {
    MACHINE.get()
}

/// Does something for this machine.
pub(crate) fn on<T>(machine: Machine, act: impl FnOnce() -> T) -> T {
    let before = MACHINE.replace(machine);
    let result = act();
    MACHINE.set(before);
    result
}

/// The board, with so many cores if it is one that can have more or fewer.
///
/// The four of a Raspberry Pi take turns in one thread: where the developer's machine has much else to do, one with a
/// thread to itself may come up too late. Its time is counted in instructions, but passes while all of them wait.
pub(crate) fn board(smp: u8) -> Board {
    let extra: &[&str] = if machine() == Machine::Raspi4b { &["-icount", "shift=0"] } else { &[] };
    Board { extra: extra.iter().map(Into::into).collect(), ..Board::of(machine(), smp) }
}

/// The board with its time counted in instructions.
pub(crate) fn counting(smp: u8) -> Board {
    boot::counting(machine(), smp)
}

/// The board with a thread to each core, for much input: where they take turns, it takes ten times as long.
pub(crate) fn parallel(smp: u8) -> Board {
    Board::of(machine(), smp)
}

/// `cargo xtask run` with these arguments, on the board as it is.
pub(crate) fn xtask_run(arguments: &[&str]) -> Result<Command> {
    xtask(&[&["run", "--machine", machine().name()], arguments].concat())
}

/// What a test is called on the machine: on all but QEMU's own, that comes first.
pub(crate) fn name(test: &str) -> String {
    match machine() {
        Machine::Virt => test.to_owned(),
        machine => format!("{}::{test}", machine.name()),
    }
}

/// How the names of tests begin that a Raspberry Pi 4 cannot show, each with the reason.
const NOT_ON_A_PI: &[(&str, &str)] = &[
    ("cores::", "the number of cores cannot be changed"),
    ("features::time_of_day", "there is no clock of the time of day"),
    ("push::too_large", "the amount of memory cannot be changed"),
];

/// How the names of those begin that run there with `--long` only: they take long, or depend on the board no more than any
/// other.
const LONG_ON_A_PI: &[&str] = &[
    "bad_input::script_of_10_mb",
    "bundle::",
    "command::",
    "failure::",
    "fairness::a_lower_one_waits",
    "fairness::broken_off_turns_go_on",
    "fairness::equals_on_4_cores",
    "fairness::one_more_than_cores",
    "image::",
    "images::",
    "mpremote::",
    "push::",
    "python::",
    "repl::",
    "storm::",
];

/// These tests on a Raspberry Pi 4.
pub(crate) fn on_a_pi(tests: impl FnOnce() -> Vec<Trial>) -> Vec<Trial> {
    let prefix = format!("{}::", Machine::Raspi4b.name());
    let on_a_pi = |test: Trial| {
        let name = test.name().strip_prefix(&prefix)?;
        let possible = !NOT_ON_A_PI.iter().any(|(start, _)| name.starts_with(start));
        let long = test.has_ignored_flag() || LONG_ON_A_PI.iter().any(|start| name.starts_with(start));
        possible.then(|| test.with_ignored_flag(long))
    };
    on(Machine::Raspi4b, tests).into_iter().filter_map(on_a_pi).collect()
}
