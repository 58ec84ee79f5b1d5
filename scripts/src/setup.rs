//! `cargo xtask setup`: checks what the machine has, and installs what is missing.

use crate::apt::{Distribution, Rights};
use crate::failure::{Failure, MISSING_TOOLS};
use crate::guest::linux::Release;
use crate::source_tree::{SourceTree, TREES};
use crate::toolchain::{Pinned, Toolchain};
use crate::tools::{DEVICE_TREE_TOOLS, TEST_TOOLS, TOOLS, Tool};
use crate::{firmware, progress, python, raspberry_pi};
use anyhow::{Context, Result};
use clap::Args;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::process::Command;

/// Options of `setup`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Setup {
    /// Only report: exit code 0 if everything is there, 3 if not
    #[arg(long)]
    check: bool,
    /// Install without asking
    #[arg(long, short)]
    yes: bool,
}

const AFTER_HELP: &str = "\
Programs are installed with apt, where it is there and root or sudo may use it; Rust's parts with rustup;
the sources of MicroPython and the Raspberry Pi's device tree go to ~/.cache/tinyvmm, and so do the Python packages (fetched with pip) and the boot
loaders that tests use. Suites that the machine does not use (Debian 12 has too old a QEMU) are
read by an apt with a state of its own: the machine's configuration stays as it is. Where nothing may be installed, the
commands to run are printed. `build`, `run`, `test` and `bench` do the same by themselves.

Examples:
  cargo xtask setup            ask, then install what is missing
  cargo xtask setup --check    only report
  MICROPYTHON_DIR=~/micropython cargo xtask build    use another copy of MicroPython's source";

const BY_HAND: &str = "\
The packages of this release do not bring it: install it by hand so that it comes first on PATH, or use a newer release \
(Debian 12 and later have all of it).";

impl Setup {
    /// Reports, and installs unless told only to check.
    pub fn execute(&self) -> Result<u8> {
        let needs = Need::all(Scope::Tests)?;
        for need in &needs {
            println!("{}", need.row());
        }
        let missing: Vec<Need> = needs.into_iter().filter(Need::is_missing).collect();
        match (missing.is_empty(), self.check) {
            (true, _) => Ok(0),
            (false, true) => Ok(MISSING_TOOLS),
            (false, false) => install_all(&missing, Scope::Tests, self.yes).map(|()| 0),
        }
    }
}

/// What the tools are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Building and running.
    Programs,
    /// Running on a Raspberry Pi 4 as well.
    RaspberryPi,
    /// Tests as well, on all boards.
    Tests,
}

/// Installs what is missing, and says nothing if that is nothing.
pub fn ensure(scope: Scope) -> Result<()> {
    let missing: Vec<Need> = Need::all(scope)?.into_iter().filter(Need::is_missing).collect();
    if !missing.is_empty() {
        install_all(&missing, scope, false)?;
    }
    match scope {
        Scope::Tests => {
            python::ensure()?;
            firmware::ensure()?;
            Release::ALL.into_iter().try_for_each(Release::ensure)
        }
        Scope::Programs | Scope::RaspberryPi => Ok(()),
    }
}

/// Something that the project needs, and what is known about it here.
#[derive(Debug)]
struct Need {
    kind: Kind,
    needed: String,
    /// What was found, if it will do; else why not.
    found: Result<String, String>,
    purpose: &'static str,
}

#[derive(Debug)]
enum Kind {
    Program(&'static Tool),
    Target(String),
    Component(String),
    Source(&'static SourceTree),
    DeviceTree,
}

impl Need {
    fn all(scope: Scope) -> Result<Vec<Self>> {
        let toolchain = Toolchain::find()?;
        let pinned = Pinned::read()?;
        let for_tests = TEST_TOOLS.iter().filter(|_| scope == Scope::Tests);
        let for_tree = DEVICE_TREE_TOOLS.iter().filter(|_| scope != Scope::Programs);
        let mut needs: Vec<Self> = TOOLS.iter().chain(for_tree).chain(for_tests).map(Self::program).collect();
        needs.extend(pinned.components.iter().map(|name| {
            Self::rust(
                Kind::Component(name.clone()),
                &pinned,
                toolchain.has_component(name),
                "is part of Rust",
            )
        }));
        needs.extend(pinned.targets.iter().map(|name| {
            Self::rust(
                Kind::Target(name.clone()),
                &pinned,
                toolchain.has_target(name),
                "is Rust for bare metal",
            )
        }));
        for tree in TREES {
            needs.push(Self::source(tree)?);
        }
        if scope != Scope::Programs {
            needs.push(Self::device_tree()?);
        }
        Ok(needs)
    }

    fn program(tool: &'static Tool) -> Self {
        let found = match tool.installed() {
            None => Err("missing".into()),
            Some(version) if version < tool.minimum => Err(format!("{version} is too old")),
            Some(version) => Ok(version.to_string()),
        };
        Self { kind: Kind::Program(tool), needed: tool.needed(), found, purpose: tool.purpose }
    }

    fn rust(kind: Kind, pinned: &Pinned, there: bool, purpose: &'static str) -> Self {
        let needed = pinned.channel.clone();
        let found = if there { Ok(needed.clone()) } else { Err("missing".into()) };
        Self { kind, needed, found, purpose }
    }

    fn source(tree: &'static SourceTree) -> Result<Self> {
        let directory = tree.directory()?.display().to_string();
        let found = if tree.is_there() { Ok(directory) } else { Err("missing".into()) };
        Ok(Self { kind: Kind::Source(tree), needed: tree.version.to_owned(), found, purpose: tree.purpose })
    }

    fn device_tree() -> Result<Self> {
        let file = raspberry_pi::device_tree()?.display().to_string();
        let found = if raspberry_pi::is_there() { Ok(file) } else { Err("missing".into()) };
        let needed = raspberry_pi::VERSION.to_owned();
        Ok(Self { kind: Kind::DeviceTree, needed, found, purpose: "is what QEMU's Raspberry Pi is told by" })
    }

    fn is_missing(&self) -> bool {
        self.found.is_err()
    }

    fn name(&self) -> &str {
        match &self.kind {
            Kind::Program(tool) => tool.name(),
            Kind::Target(name) | Kind::Component(name) => name,
            Kind::Source(tree) => tree.name,
            Kind::DeviceTree => "Raspberry Pi 4's device tree",
        }
    }

    fn row(&self) -> String {
        let (mark, found) = match &self.found {
            Ok(found) => ("ok", found),
            Err(problem) => ("--", problem),
        };
        format!("{mark} {:<31} {:<8} {found} ({})", self.name(), self.needed, self.purpose)
    }

    /// The problem in one line.
    fn complaint(&self) -> String {
        let problem = self.found.as_ref().err().map_or("missing", String::as_str);
        format!("{} ({}, needed: {}): {}", self.name(), self.purpose, self.needed, problem)
    }
}

/// What to do about what is missing.
struct Plan {
    distribution: Option<Distribution>,
    packages: Vec<String>,
    rustup: Vec<Vec<String>>,
    sources: Vec<&'static SourceTree>,
    device_tree: bool,
}

impl Plan {
    fn of(missing: &[Need]) -> Result<Self> {
        let channel = Pinned::read()?.channel;
        let distribution = Distribution::find();
        let mut plan = Self {
            distribution,
            packages: Vec::new(),
            rustup: Vec::new(),
            sources: Vec::new(),
            device_tree: false,
        };
        for need in missing {
            match &need.kind {
                Kind::Program(tool) => plan.add_packages(tool),
                Kind::Target(name) => plan.rustup.push(rustup("target", &channel, name)),
                Kind::Component(name) => plan.rustup.push(rustup("component", &channel, name)),
                Kind::Source(tree) => plan.sources.push(tree),
                Kind::DeviceTree => plan.device_tree = true,
            }
        }
        Ok(plan)
    }

    fn add_packages(&mut self, tool: &Tool) {
        let names = |package: &&str| match &self.distribution {
            Some(distribution) => distribution.package_names(package),
            None => vec![(*package).to_owned()],
        };
        let packages: Vec<String> = tool.packages.iter().flat_map(names).collect();
        self.packages.extend(packages);
    }

    /// The apt commands, which need root's rights.
    fn apt_commands(&self) -> Result<Vec<(&'static str, Vec<OsString>)>> {
        let Some(distribution) = self.distribution.as_ref().filter(|_| !self.packages.is_empty()) else {
            return Ok(Vec::new());
        };
        let apt = distribution.for_packages()?;
        let options = ["install", "--no-install-recommends", "--yes"];
        let install: Vec<&str> =
            options.into_iter().chain(self.packages.iter().map(String::as_str)).collect();
        Ok(vec![
            ("reading apt's lists of packages", apt.words(&["update"])),
            ("installing packages", apt.words(&install)),
        ])
    }

    fn run(&self, interactive: bool) -> Result<()> {
        if !self.packages.is_empty() {
            self.install_packages(interactive)?;
        }
        for words in &self.rustup {
            let title = format!("installing Rust's {}", words.last().map_or("", String::as_str));
            let failed =
                || Failure::missing_tools(format!("cannot run this; please do: {}", words.join(" ")));
            progress::run(&title, Command::new("rustup").args(&words[1..])).with_context(failed)?;
        }
        for tree in &self.sources {
            tree.fetch()?;
        }
        if self.device_tree { raspberry_pi::fetch() } else { Ok(()) }
    }

    fn install_packages(&self, interactive: bool) -> Result<()> {
        let commands = self.apt_commands()?;
        if commands.is_empty() {
            return Err(Failure::missing_tools(self.by_hand()).into());
        }
        let rights = Rights::find(interactive);
        if rights == Rights::None {
            return Err(Failure::missing_tools(to_run_as_root(&commands)).into());
        }
        commands
            .iter()
            .try_for_each(|(title, words)| progress::run(title, &mut rights.command(words)).map(drop))
    }

    /// For machines whose package manager is not known here.
    fn by_hand(&self) -> String {
        format!(
            "this machine has no apt with a known release: install the programs above with its own package manager \
             (Debian calls the packages {})",
            self.packages.join(", ")
        )
    }
}

fn rustup(kind: &str, channel: &str, name: &str) -> Vec<String> {
    ["rustup", kind, "add", "--toolchain", channel, name].map(str::to_owned).to_vec()
}

fn to_run_as_root(commands: &[(&str, Vec<OsString>)]) -> String {
    let line =
        |words: &[OsString]| words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = commands.iter().map(|(_, words)| format!("\n  sudo {}", line(words))).collect();
    format!("installing packages needs root's rights; please run:{}", lines.concat())
}

fn install_all(missing: &[Need], scope: Scope, yes: bool) -> Result<()> {
    eprintln!("TinyVMM needs:");
    missing.iter().for_each(|need| eprintln!("  {}", need.complaint()));
    let plan = Plan::of(missing)?;
    let interactive = stdin().is_terminal() && stderr().is_terminal();
    if interactive && !yes && !confirmed(&plan)? {
        return Err(Failure::missing_tools("nothing was installed").into());
    }
    plan.run(interactive)?;
    let left: Vec<String> =
        Need::all(scope)?.iter().filter(|need| need.is_missing()).map(Need::complaint).collect();
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("this is still not there:\n  {}\n{BY_HAND}", left.join("\n  "));
    Err(Failure::missing_tools(message).into())
}

/// Asks whether to go ahead.
fn confirmed(plan: &Plan) -> Result<bool> {
    if !plan.packages.is_empty() {
        eprintln!("Packages to install with apt: {}", plan.packages.join(" "));
    }
    eprint!("Install this now? [Y/n] ");
    stderr().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes") && !answer.is_empty())
}
