//! `cargo xtask`: everything a developer does with TinyVMM.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::failure::exit_code;
use xtask::{bench, build, guest, image, push, run, setup, test};

/// Builds, runs, tests and measures TinyVMM
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

const AFTER_HELP: &str = "\
Start here:
  cargo xtask run images/hello.py    a Python script in a VM of its own
  cargo xtask run                    Python's interactive prompt; Ctrl-A X leaves
  cargo xtask help run               more about one command";

#[derive(Debug, Subcommand)]
enum Task {
    /// Check the tools this needs, and install what is missing
    Setup(setup::Setup),
    /// Build the hypervisor and its guests
    Build(build::Build),
    /// Boot a Python script, a manifest's VMs or a bundle in QEMU
    Run(run::Run),
    /// Make an SD card or a disk that boots by itself
    Image(image::Image),
    /// Make a guest of a distribution's packages
    Guest(guest::Guest),
    /// Send a new bundle over the serial line to a board that runs
    Push(push::Push),
    /// Run every check and test
    Test(test::Test),
    /// Measure the project's figures
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Setup(setup) => setup.execute(),
        Task::Build(build) => build.execute(),
        Task::Run(run) => run.execute(),
        Task::Image(image) => image.execute(),
        Task::Guest(guest) => guest.execute(),
        Task::Push(push) => push.execute(),
        Task::Test(test) => test.execute(),
        Task::Bench(bench) => bench.execute(),
    };
    let code = result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        exit_code(&error)
    });
    ExitCode::from(code)
}
