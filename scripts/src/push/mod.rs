//! `cargo xtask push`: sends a new bundle over the serial line to a hypervisor that runs.

mod link;
mod port;
mod sender;

pub use link::Link;
pub use sender::Sender;

use crate::failure::Failure;
use crate::paths::{Products, Profile};
use crate::program::Making;
use crate::{build, progress, setup};
use anyhow::{Context, Result};
use clap::Args;
use port::Port;

/// Options of `push`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Push {
    /// The serial line: a device, or socket://HOST:PORT
    #[arg(long, value_name = "PORT")]
    port: Port,
    /// Bits a second of a device
    #[arg(long, value_name = "RATE", default_value = "115200")]
    baud: u32,
    /// Send nothing; have the hypervisor forget what came of a bundle whose sending broke off
    #[arg(long, conflicts_with = "program")]
    abort: bool,
    #[command(flatten)]
    making: Making,
    /// What to run from now on, and for a script its arguments; without it: Python's interactive prompt
    #[arg(value_names = ["MANIFEST.toml | BUNDLE.tar | SCRIPT.py [ARGS]"])]
    program: Vec<String>,
}

const AFTER_HELP: &str = "\
The VMs that run go on until the hypervisor has all of the new bundle, has checked it and has built its VMs; only then do they
end, and the new ones start. What is refused, or breaks off, changes nothing. The same push started again goes on where
it broke off. Nobody else may use the line meanwhile: leave terminal programs before.

Examples:
  cargo xtask push --port /dev/ttyUSB0 images/demo.toml
  cargo xtask push --port socket://localhost:4000 images/hello.py    to cargo xtask run --serial tcp:4000 --escape

Exit codes: 0 when the new VMs start, 2 if the bundle is wrong or was refused, 1 if the line or the hypervisor fails.";

impl Push {
    /// Sends it.
    pub fn execute(&self) -> Result<u8> {
        let bundle = if self.abort { Vec::new() } else { self.bundle()? };
        let (reader, writer) =
            self.port.open(self.baud).with_context(|| format!("cannot open {}", self.port))?;
        let mut sender = Sender::open(Link::new(reader, writer))?;
        let result = if self.abort { sender.abort() } else { send(&mut sender, &bundle) };
        sender.close()?;
        result?;
        println!("{}", if self.abort { "forgotten" } else { "the new VMs start" });
        Ok(0)
    }

    fn bundle(&self) -> Result<Vec<u8>> {
        let program = self.making.program(&self.program)?;
        setup::ensure(setup::Scope::Programs)?;
        build::build(Profile::Release, build::Scope::Images)?;
        self.making.bundle(program, &Products::of(Profile::Release)?)
    }
}

fn send(sender: &mut Sender, bundle: &[u8]) -> Result<()> {
    let total = u64::try_from(bundle.len())?;
    let bar = progress::bytes("sending the bundle", total);
    let sent = sender.send(bundle, |done| bar.set_position(u64::try_from(done).unwrap_or(total)));
    bar.finish_and_clear();
    sent
}

/// The hypervisor does not want it.
fn refused(reason: &str) -> anyhow::Error {
    Failure::bad_input(format!("the hypervisor refuses, and goes on as it was: {reason}")).into()
}
