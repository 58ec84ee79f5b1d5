//! The monitor: a prompt at which a user sees and controls VMs while they go on running.

mod command;
mod network;
mod table;

pub use command::{Action, Command, HELP, Mistake, Target};
pub use network::{Card, HEAD as HEAD_OF_CARDS};
pub use table::{HEAD, Row};

#[cfg(target_os = "none")]
pub use execute::{Next, execute};

#[cfg(target_os = "none")]
mod execute {
    use super::{Action, Command, HEAD, HEAD_OF_CARDS, HELP, Target};
    use crate::{
        console::write_own,
        scheduler,
        vm::{self, VmId, fleet, receiving},
    };

    /// What follows a line.
    pub enum Next {
        /// The next line.
        Prompt,
        /// The user wants to leave.
        Leave,
        /// A bundle.
        Receive,
    }

    /// Carries out a line.
    pub fn execute(line: &str) -> Next {
        match Command::parse(line) {
            Ok(Command::Nothing) => {}
            Ok(Command::Help) => write_own(format_args!("{HELP}")),
            Ok(Command::List) => list(),
            Ok(Command::Network) => network(),
            Ok(Command::Quit) => return Next::Leave,
            Ok(Command::Receive) if receiving::open() => return Next::Receive,
            Ok(Command::Receive) => {}
            Ok(Command::Off) => fleet::leave(false),
            Ok(Command::Reboot) => fleet::leave(true),
            Ok(Command::Act(action, target)) => act(action, target),
            Err(mistake) => write_own(format_args!("{mistake}\n")),
        }
        Next::Prompt
    }

    fn list() {
        // Whoever runs shows what has been used when it comes.
        scheduler::kick_all();
        write_own(format_args!("{HEAD}\n"));
        // Row by row: fleet may want the console in between.
        vm::rows().for_each(|row| write_own(format_args!("{row}\n")));
    }

    fn network() {
        write_own(format_args!("{HEAD_OF_CARDS}\n"));
        vm::network::for_each_card(|card| write_own(format_args!("{card}\n")));
    }

    fn act(action: Action, target: Target<'_>) {
        let Some(VmId(index)) = fleet::find(target) else {
            return write_own(format_args!("{target}: no such VM; list shows them\n"));
        };
        if let Err(refusal) = fleet::act(VmId(index), action) {
            write_own(format_args!("{target}: {refusal}\n"));
        }
    }
}
