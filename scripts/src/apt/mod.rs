//! apt with a private state: suites that the machine does not use, without touching its configuration.

pub mod sources;

use crate::paths::cache_dir;
use crate::progress;
use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use sources::{Archives, Source};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian 12's QEMU is too old, so this suite's is taken.
const OLD_DEBIAN: &str = "bookworm";
const BACKPORTS: &str = "bookworm-backports";
/// QEMU's packages that must all come from one suite.
const QEMU_PACKAGES: [&str; 3] = ["qemu-system-arm", "qemu-system-common", "qemu-system-data"];

/// Makes apt tell on standard error how far it is.
const SHOW_PROGRESS: &str = "-oAPT::Status-Fd=2";

/// A distribution that uses apt.
#[derive(Debug)]
pub struct Distribution {
    /// `debian`, `ubuntu`, ...
    pub id: String,
    codename: String,
    archives: Archives,
}

impl Distribution {
    /// The distribution of this machine; `None` if it has no apt or apt knows no archive of the release.
    pub fn find() -> Option<Self> {
        find_program("apt-get")?;
        let release = fs::read_to_string("/etc/os-release").ok()?;
        let codename = os_release_value(&release, "VERSION_CODENAME")?;
        let archives = Archives::of_machine(&codename);
        archives.main(&codename)?;
        Some(Self { id: os_release_value(&release, "ID")?, codename, archives })
    }

    /// The same for who cannot do without.
    pub fn require() -> Result<Self> {
        Self::find().context("this machine has no apt with a known release")
    }

    /// apt with the machine's own archives, and those of Debian's backports where QEMU needs them.
    pub fn for_packages(&self) -> Result<Apt> {
        let backports =
            self.main().filter(|_| self.codename == OLD_DEBIAN).map(|main| main.with("deb", BACKPORTS));
        let sources: Vec<Source> = self.archives.all().iter().cloned().chain(backports).collect();
        Apt::new("packages", &sources)
    }

    /// apt with the source packages of `suite` (on Debian) or of the machine's own release (elsewhere).
    pub fn for_sources(&self, suite: &str) -> Result<Apt> {
        let suite = if self.id == "debian" { suite } else { self.codename.as_str() };
        let sources: Vec<Source> = self.main().map(|main| main.with("deb-src", suite)).into_iter().collect();
        Apt::new("sources", &sources)
    }

    /// apt with the ready-made packages of a part of `suite` (on Debian) or of the machine's own release (elsewhere).
    pub fn for_binaries(&self, suite: &str, component: &str) -> Result<Apt> {
        let suite = if self.id == "debian" { suite } else { self.codename.as_str() };
        let main = self.main().map(|main| main.with("deb", suite).with_component(component));
        let sources: Vec<Source> = main.into_iter().collect();
        Apt::new(component, &sources)
    }

    /// apt with the packages for arm64 of Debian's `suite`, as if nothing were installed. What it fetches goes to
    /// `archives` in the directory `work`.
    pub fn for_guest(&self, suite: &str, work: &Path) -> Result<Apt> {
        ensure!(self.id == "debian", "the packages are Debian's, and this machine's archives are not");
        let source = self.main().map(|main| main.with("deb", suite));
        let mut apt = Apt::new(&format!("arm64-{suite}"), &source.into_iter().collect::<Vec<_>>())?;
        let (archives, status) = (work.join("archives"), work.join("status"));
        fs::create_dir_all(archives.join("partial"))?;
        fs::write(&status, "")?;
        apt.options.extend(["-oAPT::Architecture=arm64", "-oAPT::Architectures=arm64"].map(OsString::from));
        apt.options
            .extend([option("Dir::Cache::archives", &archives), option("Dir::State::status", &status)]);
        Ok(apt)
    }

    /// What to call `package` for `apt-get install`.
    pub fn package_names(&self, package: &str) -> Vec<String> {
        match package {
            "qemu-system-arm" if self.codename == OLD_DEBIAN => {
                QEMU_PACKAGES.map(|name| format!("{name}/{BACKPORTS}")).to_vec()
            }
            package => vec![package.to_owned()],
        }
    }

    fn main(&self) -> Option<&Source> {
        self.archives.main(&self.codename)
    }
}

fn os_release_value(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// An apt that knows only some archives, and keeps what it knows about them to itself.
#[derive(Debug)]
pub struct Apt {
    options: Vec<OsString>,
}

impl Apt {
    fn new(name: &str, sources: &[Source]) -> Result<Self> {
        let directory = cache_dir()?.join("apt").join(name);
        let lists = directory.join("lists");
        fs::create_dir_all(lists.join("partial"))
            .with_context(|| format!("cannot make {}", lists.display()))?;
        let file = directory.join("tinyvmm.sources");
        let text: Vec<String> = sources.iter().map(ToString::to_string).collect();
        fs::write(&file, text.join("\n")).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self { options: options(&file, &lists) })
    }

    /// Runs `apt-get` in `directory` as a step called `title`, and returns what it prints.
    pub fn run(&self, title: &str, arguments: &[&str], directory: &Path) -> Result<Vec<u8>> {
        let mut command = Command::new("env");
        command.args(self.words(arguments)).arg(SHOW_PROGRESS).current_dir(directory);
        progress::run(title, &mut command)
    }

    /// The words of an `apt-get` command.
    pub fn words(&self, arguments: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        let arguments = arguments.iter().map(|argument| argument.as_ref().to_owned());
        std::iter::once("apt-get".into()).chain(self.options.iter().cloned()).chain(arguments).collect()
    }
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(format!("-o{name}="));
    option.push(path);
    option
}

fn options(sources: &Path, lists: &Path) -> Vec<OsString> {
    vec![
        option("Dir::Etc::sourcelist", sources),
        "-oDir::Etc::sourceparts=/dev/null".into(),
        option("Dir::State::Lists", lists),
        // The machine's cache would have to be rebuilt after it was filled from other archives.
        "-oDir::Cache::pkgcache=".into(),
        "-oDir::Cache::srcpkgcache=".into(),
        "-oAcquire::Languages=none".into(),
        // apt's own user cannot reach a cache below root's home directory.
        "-oAPT::Sandbox::User=root".into(),
    ]
}

/// How commands get root's rights here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// We have them.
    Root,
    /// `sudo` gives them, perhaps after asking for a password.
    Sudo,
    /// Not at all.
    None,
}

impl Rights {
    /// Finds out. Only `interactive` runs may wait for a password.
    pub fn find(interactive: bool) -> Self {
        match geteuid().is_root() {
            true => Self::Root,
            false if sudo_works(interactive) => Self::Sudo,
            false => Self::None,
        }
    }

    /// The apt command `words` with root's rights, as a step that shows its progress.
    pub fn command(self, words: &[OsString]) -> Command {
        let mut command = Command::new(if self == Self::Root { "env" } else { "sudo" });
        if self != Self::Root {
            command.arg("env");
        }
        command.arg("DEBIAN_FRONTEND=noninteractive").args(words).arg(SHOW_PROGRESS);
        command
    }
}

fn sudo_works(interactive: bool) -> bool {
    let mut sudo = Command::new("sudo");
    match interactive {
        true => sudo.arg("--validate"),
        false => sudo.args(["--non-interactive", "true"]).stderr(Stdio::null()),
    };
    sudo.status().is_ok_and(|status| status.success())
}

/// The path of a program on `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_os_release() {
        let text = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(os_release_value(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release_value(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release_value(text, "VERSION"), None);
    }
}
