//! What is typed at the monitor's prompt.

use core::fmt;

/// What the monitor can do.
pub const HELP: &str = "\
list              VMs: state, time on a core, exits by kind, memory, restarts; * has the input
network           network cards: addresses, and frames by what became of them
focus N or NAME   what is typed goes to that VM, once the monitor is left
pause N or NAME   keeps a VM from running
resume N or NAME  lets it run again
kill N or NAME    ends a VM with exit code 137
restart N or NAME ends a VM if it runs, and starts it anew
receive           takes another bundle over this line, from cargo xtask push
poweroff          ends all VMs and switches the machine off
reboot            ends all VMs and starts the machine anew
quit              back to the console (so does Ctrl-D)
";

/// A line, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing.
    Nothing,
    /// Say what there is.
    Help,
    /// Show all VMs.
    List,
    /// Show all network cards.
    Network,
    /// Leave.
    Quit,
    /// Take another bundle.
    Receive,
    /// End all VMs and switch the machine off.
    Off,
    /// End all VMs and start the machine anew.
    Reboot,
    /// Do something with one VM.
    Act(Action, Target<'a>),
}

/// What can be done with a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It gets the input.
    Focus,
    /// It is kept from running.
    Pause,
    /// It runs again.
    Resume,
    /// It ends.
    Kill,
    /// It starts anew.
    Restart,
}

/// How a VM was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Its place in the manifest, counted from 1.
    Number(usize),
    /// Its name.
    Name(&'a str),
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Why a line means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake<'a> {
    /// There is no such command.
    Unknown(&'a str),
    /// It must be said which VM.
    WhichVm(&'a str),
    /// A word too many.
    TooMuch(&'a str),
}

impl fmt::Display for Mistake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "{word}: no such command; help lists them"),
            Self::WhichVm(word) => {
                write!(f, "{word}: which VM? Its number or name is missing; list shows both")
            }
            Self::TooMuch(word) => write!(f, "{word}: that is a word too many"),
        }
    }
}

impl<'a> Command<'a> {
    /// Understands a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &'a str) -> Result<Self, Mistake<'a>> {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { return Ok(Self::Nothing) };
        let command = match word {
            "help" | "?" => Self::Help,
            "list" => Self::List,
            "network" => Self::Network,
            "quit" => Self::Quit,
            "receive" => Self::Receive,
            "poweroff" => Self::Off,
            "reboot" => Self::Reboot,
            "focus" => Self::Act(Action::Focus, target(word, words.next())?),
            "pause" => Self::Act(Action::Pause, target(word, words.next())?),
            "resume" => Self::Act(Action::Resume, target(word, words.next())?),
            "kill" => Self::Act(Action::Kill, target(word, words.next())?),
            "restart" => Self::Act(Action::Restart, target(word, words.next())?),
            _ => return Err(Mistake::Unknown(word)),
        };
        words.next().map_or(Ok(command), |word| Err(Mistake::TooMuch(word)))
    }
}

/// A VM whose name is a number goes by its place, as all others can.
fn target<'a>(command: &'a str, word: Option<&'a str>) -> Result<Target<'a>, Mistake<'a>> {
    let word = word.ok_or(Mistake::WhichVm(command))?;
    Ok(word.parse().map_or(Target::Name(word), Target::Number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn commands_are_understood() {
        for (line, command) in [
            ("", Command::Nothing),
            ("   ", Command::Nothing),
            ("help", Command::Help),
            (" ? ", Command::Help),
            ("list", Command::List),
            ("network", Command::Network),
            ("quit", Command::Quit),
            ("receive", Command::Receive),
            ("poweroff", Command::Off),
            ("reboot", Command::Reboot),
            ("focus 2", Command::Act(Action::Focus, Target::Number(2))),
            ("  pause   12 ", Command::Act(Action::Pause, Target::Number(12))),
            ("resume py", Command::Act(Action::Resume, Target::Name("py"))),
            ("kill -1", Command::Act(Action::Kill, Target::Name("-1"))),
            ("restart 3a", Command::Act(Action::Restart, Target::Name("3a"))),
        ] {
            assert_eq!(Command::parse(line), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (line, said) in [
            ("lsit", "lsit: no such command; help lists them"),
            ("kill", "kill: which VM? Its number or name is missing; list shows both"),
            ("kill 1 2", "2: that is a word too many"),
            ("list all", "all: that is a word too many"),
        ] {
            assert_eq!(Command::parse(line).unwrap_err().to_string(), said);
        }
    }

    proptest! {
        #[test]
        fn any_line_has_a_meaning_or_a_mistake(line in "[ -~]{0,80}") {
            let _ = Command::parse(&line).map_err(|mistake| mistake.to_string());
        }
    }
}
