//! Tests that boot the real hypervisor in QEMU, or run the command as a user does: one test a boot.
//!
//! `cargo xtask test` builds what they boot and runs them. Each test prints, if it fails, all of the
//! console that it saw.

mod bad_input;
mod boot;
mod bundles;
mod card;
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
mod matrix;
mod messages;
mod monitor;
mod mpremote;
mod native;
mod network;
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
mod transfer;
mod virtio;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Emulators that run at a time: each wants a core.
const PARALLEL: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL);
    let groups = [
        on_every_board(),
        matrix::on_a_pi(on_every_board),
        command::without_board(),
        disk_images::tests(),
        disks::tests(),
        interrupts::tests(),
        linux::tests(),
        machine::on_boards(),
        messages::on_boards(),
        network::tests(),
        power::on_boards(),
        push::on_boards(),
        raspi4b::tests(),
        supervision::on_boards(),
        transfer::tests(),
        virtio::tests(),
    ];
    libtest_mimic::run(&arguments, groups.into_iter().flatten().collect()).exit_code()
}

/// Tests that say nothing of the board that they are for.
fn on_every_board() -> Vec<Trial> {
    let groups = [
        bad_input::tests(),
        bundles::tests(),
        command::tests(),
        failure::tests(),
        faults::tests(),
        features::tests(),
        files::tests(),
        hv::tests(),
        hypercalls::tests(),
        images::tests(),
        isolation::tests(),
        lifecycle::tests(),
        machine::tests(),
        messages::tests(),
        mpremote::tests(),
        native::tests(),
        power::tests(),
        push::tests(),
        python::tests(),
        repl::tests(),
        scale::tests(),
        serial::tests(),
        storms::tests(),
        supervision::tests(),
    ];
    groups.into_iter().flatten().collect()
}

/// A test that fails with the error of `run`.
fn test(name: impl Into<String>, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let machine = matrix::machine();
    let run = move || matrix::on(machine, run).map_err(|error| format!("{error:#}").into());
    Trial::test(matrix::name(&name.into()), run)
}
