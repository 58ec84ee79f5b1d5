//! What can be wrong with a manifest, in words that say where and what would be right.

use alloc::format;
use alloc::string::String;
use core::fmt;

use tinyvmm_abi as abi;

use super::{DiskName, FileName, MAX_LENGTH, Machine, VmConfig};

/// A place in the manifest, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let newlines = before.bytes().filter(|byte| *byte == b'\n').count();
        Self { line: newlines + 1, column: last_line.chars().count() + 1 }
    }
}

/// Why a manifest cannot be used.
///
/// Displays as `tinyvmm.toml:5: vm 'hello': memory = "1MB": use KiB, MiB or GiB, as in "1MiB"`;
/// [`ManifestError::in_file`] displays it with another file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Where it is.
    pub position: Position,
    /// Name of the VM that it concerns; empty for none, or one without a name.
    pub vm: String,
    /// The key and value that are wrong, as they are written; empty if something is missing.
    pub entry: String,
    /// What is wrong.
    pub problem: Problem,
}

impl ManifestError {
    pub(super) fn new(text: &str, offset: usize, problem: Problem) -> Self {
        Self { position: Position::of(text, offset), vm: String::new(), entry: String::new(), problem }
    }

    pub(super) fn of_vm(self, vm: &str) -> Self {
        Self { vm: vm.into(), ..self }
    }

    pub(super) fn about(self, key: &str, value: &str) -> Self {
        Self { entry: entry(key, value), ..self }
    }

    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        Self::new(text, offset, Problem::Syntax(error.message().into()))
    }

    pub(super) fn no_such_file(vm: &VmConfig, key: &str, file: &FileName) -> Self {
        let (position, problem) = (file.position, Problem::NoSuchFile);
        let entry = format!("{} = {:?}", readable(key), file.name);
        Self { position, vm: vm.name.clone(), entry, problem }
    }

    pub(super) fn no_such_core(vm: &VmConfig, core: u8, position: Position) -> Self {
        let (entry, problem) = (format!("affinity = {core}"), Problem::NoSuchCore);
        Self { position, vm: vm.name.clone(), entry, problem }
    }

    pub(super) fn disk_taken(vm: &VmConfig, disk: &DiskName, owner: String) -> Self {
        let (position, problem) = (disk.position, Problem::DiskTaken(owner));
        Self { position, vm: vm.name.clone(), entry: format!("disk = \"{disk}\""), problem }
    }

    /// The message, with `file` as the name of the manifest.
    pub fn in_file(&self, file: impl fmt::Display) -> impl fmt::Display {
        let vm =
            if self.vm.is_empty() { String::new() } else { format!("vm '{}': ", self.vm.escape_debug()) };
        let entry = if self.entry.is_empty() { String::new() } else { format!("{}: ", self.entry) };
        format!("{file}:{}: {vm}{entry}{}", self.position.line, self.problem)
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.in_file(super::FILE_NAME).fmt(f)
    }
}

impl core::error::Error for ManifestError {}

/// `key = value` in one line of bearable length.
fn entry(key: &str, value: &str) -> String {
    const LONGEST: usize = 40;
    let key = readable(key);
    let line = value.lines().next().unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        _ if line.is_empty() => key,
        Some((end, _)) => format!("{key} = {}...", line.get(..end).unwrap_or_default()),
        None if line.len() < value.len() => format!("{key} = {line}..."),
        None => format!("{key} = {line}"),
    }
}

/// A key as a manifest would write it.
fn readable(key: &str) -> String {
    let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-\"'".contains(&byte));
    if bare { key.into() } else { format!("{key:?}") }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// More text than [`MAX_LENGTH`].
    TooLong,
    /// Not TOML.
    Syntax(String),
    /// Nested beyond anything a manifest can mean.
    TooDeep,
    /// A key that is not one of these.
    UnknownKey(&'static [&'static str]),
    /// This key must be there.
    MissingKey(&'static str),
    /// The value is not of this type.
    WrongType(&'static str),
    /// Not a log level.
    LogLevel,
    /// There is no `[[vm]]`.
    NoVm,
    /// All VMs wait for another one to start them.
    NoneStarts,
    /// Not a good name for a VM.
    Name,
    /// Two VMs of one name.
    DuplicateName,
    /// Not a kind of machine.
    Machine,
    /// A key that only this kind of machine has.
    OnlyOn(Machine),
    /// A size without a known unit.
    MemoryUnit,
    /// Too little or too much memory, or no whole pages.
    MemoryRange {
        /// The least in bytes.
        least: u64,
        /// The most in bytes.
        most: u64,
    },
    /// Too few or too many vCPUs.
    Vcpus,
    /// Not an address.
    Address,
    /// An address that no vCPU can start at.
    Entry {
        /// Size of RAM in bytes.
        memory: u64,
    },
    /// Not as many entries as vCPUs.
    EntryCount {
        /// The number of vCPUs.
        vcpus: u32,
        /// The number of entries.
        found: usize,
    },
    /// The arguments do not fit the info page.
    ArgsTooLong {
        /// Bytes that they need, each with its NUL.
        length: usize,
    },
    /// An argument with a NUL inside.
    ArgWithNul,
    /// Not a way to compile.
    Emit,
    /// Not a priority.
    Priority,
    /// Not a core number.
    Core,
    /// No core to run on.
    NoCore,
    /// A core that the board does not have.
    NoSuchCore,
    /// Not a restart policy.
    Restart,
    /// Not a device for the console.
    Console,
    /// Not the name of a disk.
    Disk,
    /// More disks than a VM can have.
    TooManyDisks,
    /// A disk that this VM has, or a part of it.
    DiskTaken(String),
    /// Not what a network card can reach.
    Network,
    /// Not a capability.
    Capability,
    /// A path in the VM that is relative or not normalised.
    GuestPath,
    /// A path in the VM that leads through a file.
    FileAsDirectory,
    /// An empty file name.
    EmptyFileName,
    /// A file that is not there.
    NoSuchFile,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "more than {}KiB of manifest", MAX_LENGTH >> 10),
            Self::Syntax(message) => f.write_str(message),
            Self::TooDeep => f.write_str("nested deeper than anything in a manifest"),
            Self::UnknownKey(known) => write!(f, "unknown key: the keys here are {}", known.join(", ")),
            Self::MissingKey(key) => write!(f, "the key `{key}` is missing"),
            Self::WrongType(expected) => write!(f, "must be {expected}"),
            Self::LogLevel => f.write_str("must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\""),
            Self::NoVm => f.write_str("no virtual machine: write [[vm]] and its keys for each one"),
            Self::NoneStarts => {
                f.write_str("no virtual machine starts by itself: all have autostart = false")
            }
            Self::Name => f.write_str("must be 1 to 31 letters, digits, dots, underscores or hyphens"),
            Self::DuplicateName => f.write_str("another VM has this name already"),
            Self::Machine => f.write_str("must be \"tiny\" or \"virt\""),
            Self::OnlyOn(kind) => write!(f, "only a \"{}\" machine has this key", kind.name()),
            Self::MemoryUnit => f.write_str("use KiB, MiB or GiB, as in \"1MiB\""),
            Self::MemoryRange { least, most } => {
                let (most, unit) = if *most >> 30 > 0 { (most >> 30, "GiB") } else { (most >> 20, "MiB") };
                write!(f, "must be from {}KiB to {most}{unit}, in steps of 4KiB", least >> 10)
            }
            Self::Vcpus => write!(f, "must be from 1 to {}", abi::VCPUS_MAX),
            Self::Address => f.write_str("must be an address, as in 0x10000"),
            Self::Entry { memory } => {
                write!(f, "must be a multiple of 4 below {memory:#x}, the end of memory")
            }
            Self::EntryCount { vcpus, found } => {
                write!(f, "{found} addresses for {vcpus} vCPUs: write one for each")
            }
            Self::ArgsTooLong { length } => {
                write!(
                    f,
                    "{length} bytes of arguments: at most {} fit, one more for each included",
                    abi::ARGS_SIZE
                )
            }
            Self::ArgWithNul => f.write_str("an argument cannot have a NUL inside"),
            Self::Emit => f.write_str("must be \"bytecode\", \"native\" or \"viper\""),
            Self::Priority => f.write_str("must be from 0 to 255"),
            Self::Core => f.write_str("must be a core number from 0 to 7"),
            Self::NoCore => f.write_str("must name a core"),
            Self::NoSuchCore => f.write_str("no such core is running"),
            Self::Restart => f.write_str("must be \"never\", \"on-failure\" or \"always\""),
            Self::Console => f.write_str("must be \"uart\" or \"virtio\""),
            Self::Disk => f.write_str(
                "must be sd or virtio0 to virtio7, with a partition from 1 to 4 or without, as in \"sd:2\", or a file \
                 of the bundle as in \"file:root.img\" or \"overlay:root.img\"",
            ),
            Self::TooManyDisks => write!(f, "a VM has at most {} disks", abi::disks::DISKS_MAX),
            Self::DiskTaken(owner) => write!(f, "belongs to vm '{owner}' already, or a part of it does"),
            Self::Network => f.write_str("must be \"vms\" or \"uplink\""),
            Self::Capability => f.write_str("must be \"board\", \"control\", \"log\" or \"messages\""),
            Self::GuestPath => {
                f.write_str("a path in the VM starts with \"/\" and has no empty, \".\" or \"..\" part")
            }
            Self::FileAsDirectory => f.write_str("the path leads through another file of the VM"),
            Self::EmptyFileName => f.write_str("must name a file"),
            Self::NoSuchFile => f.write_str("no such file"),
        }
    }
}
