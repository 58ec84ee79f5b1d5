//! Tests that boot the real hypervisor in QEMU, or run the command as a user does: one test a boot.
//!
//! `cargo xtask test` builds what they boot and runs them. Each test prints, if it fails, all of the
//! console that it saw.

mod bad_input;
mod boot;
mod bundles;
mod command;
mod console;
mod dialogue;
mod disk_images;
mod disks;
mod failure;
mod faults;
mod features;
mod files;
mod hv;
mod hypercalls;
mod images;
mod interrupts;
mod isolation;
mod lifecycle;
mod linux;
mod machine;
mod messages;
mod mpremote;
mod native;
mod power;
mod process;
mod push;
mod python;
mod raspi4b;
mod repl;
mod scale;
mod serial;
mod storms;
mod supervision;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Emulators that run at a time: each wants a core.
const PARALLEL: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL);
    let groups = [
        bad_input::tests(),
        bundles::tests(),
        command::tests(),
        disk_images::tests(),
        disks::tests(),
        failure::tests(),
        faults::tests(),
        features::tests(),
        files::tests(),
        hv::tests(),
        hypercalls::tests(),
        images::tests(),
        interrupts::tests(),
        isolation::tests(),
        lifecycle::tests(),
        linux::tests(),
        machine::tests(),
        messages::tests(),
        mpremote::tests(),
        native::tests(),
        power::tests(),
        push::tests(),
        python::tests(),
        raspi4b::tests(),
        repl::tests(),
        scale::tests(),
        serial::tests(),
        storms::tests(),
        supervision::tests(),
    ];
    libtest_mimic::run(&arguments, groups.into_iter().flatten().collect()).exit_code()
}

/// A test that fails with the error of `run`.
fn test(name: impl Into<String>, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, || run().map_err(|error| format!("{error:#}").into()))
}
