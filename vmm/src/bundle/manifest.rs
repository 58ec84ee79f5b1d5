//! The manifest of a bundle: which virtual machines to run, and with what.
//!
//! ```toml
//! loglevel = "info"           # optional: error, warn, info, debug or trace
//!
//! [[vm]]
//! name = "hello"
//! machine = "tiny"            # optional: tiny or virt
//! image = "micropython.elf"   # ELF, flat binary or arm64 Image, a file of the bundle
//! memory = "1MiB"
//! initrd = "initrd.gz"        # optional, virt: the initial RAM disk, a file of the bundle
//! vcpus = 1                   # optional, 1 to 8
//! entry = [0x10000]           # optional, tiny: where each vCPU starts, if not at the image's entry
//! args = ["hello.py"]         # optional; the first is the program's name
//! emit = "native"             # optional, tiny: what Python is compiled to: bytecode, native or viper
//! priority = 8                # optional, 0 to 255: higher runs first
//! affinity = [0, 1]           # optional: the cores it may run on
//! restart = "never"           # optional: never, on-failure or always
//! console = "uart"            # optional, virt: where its input goes: uart or virtio
//! storage = "1MiB"            # optional: room for the files that it writes
//! disk = "sd:2"               # optional: a block device, a partition of one, or a file as file:NAME or overlay:NAME,
//!                             # or an array of them
//! network = "vms"             # optional, virt: whom its network card reaches: vms, or uplink for the world as well
//! autostart = true            # optional: whether it starts by itself
//! capabilities = ["log"]      # optional: what it may do besides: board, control, log, messages
//! [vm.files]                  # optional
//! "/hello.py" = "hello.py"    # path in the VM = file of the bundle
//! ```
//!
//! The parsed table is walked by hand and not through `serde`: every message can then name line, VM, key
//! and value, and the code is a third of the size.

mod disk;
mod error;
mod section;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use log::LevelFilter;
use tinyvmm_abi as abi;
use toml::de::DeTable;

pub use disk::{DeviceName, DiskName, DiskSource};
pub use error::{ManifestError, Position, Problem};
use section::{Section, Value};

/// Name of the manifest in a bundle.
pub const FILE_NAME: &str = "tinyvmm.toml";

/// Longest manifest in bytes. The parser's tables take many times as much memory.
pub const MAX_LENGTH: usize = 64 << 10;

/// Priority of a VM whose manifest names none.
pub const DEFAULT_PRIORITY: u8 = 8;

/// Room for files of a VM whose manifest names none, in bytes. It takes memory as it is used.
pub const DEFAULT_STORAGE: u64 = 1 << 20;
/// Most room for files that a manifest can give, in bytes.
pub const STORAGE_MAX: u64 = 256 << 20;

const PAGE_SIZE: u64 = 4096;
const TOP_KEYS: &[&str] = &["loglevel", "vm"];
const VM_KEYS: &[&str] = &[
    "name",
    "machine",
    "image",
    "initrd",
    "memory",
    "vcpus",
    "entry",
    "args",
    "emit",
    "priority",
    "affinity",
    "restart",
    "console",
    "storage",
    "disk",
    "network",
    "autostart",
    "capabilities",
    "files",
];
/// Cores that a manifest can name.
const CORES: RangeInclusive<i64> = 0..=7;

/// What a bundle is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The hypervisor's log level, if the manifest sets it.
    pub loglevel: Option<LevelFilter>,
    /// The virtual machines, in the order of the manifest; at least one.
    pub vms: Vec<VmConfig>,
}

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfig {
    /// Unique name: 1 to 31 letters, digits, dots, underscores and hyphens.
    pub name: String,
    /// What the guest finds around its CPU.
    pub machine: Machine,
    /// The program that the VM boots.
    pub image: FileName,
    /// The initial RAM disk that the program finds in memory.
    pub initrd: Option<FileName>,
    /// Size of RAM in bytes: one of the machine's [`memory_sizes`](Machine::memory_sizes), whole pages.
    pub memory: u64,
    /// Number of vCPUs: 1 to [`abi::VCPUS_MAX`].
    pub vcpus: u32,
    /// Where each of the vCPUs starts, inside RAM; empty when all start at the image's entry.
    pub entry: Vec<u64>,
    /// Arguments of the program, its own name first. They fit [`abi::ARGS_SIZE`] and hold no NUL.
    pub args: Vec<String>,
    /// What a language runtime compiles its programs to.
    pub emit: Emit,
    /// VMs of higher priority run first.
    pub priority: u8,
    /// The cores that it may run on, if not all.
    pub affinity: Option<Affinity>,
    /// When it is started again after it has ended.
    pub restart: Restart,
    /// The device through which it has its side of the console.
    pub console: Console,
    /// Room for the files that it writes, or for what it writes to overlays, each of which has as much, in bytes: whole
    /// pages, at most [`STORAGE_MAX`].
    pub storage: u64,
    /// The disks that it has, none of which another VM has.
    pub disks: Vec<DiskName>,
    /// Whom its network card reaches, if it has one.
    pub network: Option<Network>,
    /// Whether it starts by itself.
    pub autostart: bool,
    /// What it may do besides.
    pub capabilities: Capabilities,
    /// Files the guest can read, by their absolute, normalised path in the VM.
    pub files: BTreeMap<String, FileName>,
}

/// The name of a file of the bundle, and where the manifest says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// Name of the file in the bundle.
    pub name: String,
    /// Where the manifest names it.
    pub position: Position,
}

/// The kinds of virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Hypercalls only: for guests that need no board.
    Tiny,
    /// A board with interrupt controller, UART and clock, described by a device tree.
    Virt,
}

impl Machine {
    /// What the manifest calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Virt => "virt",
        }
    }

    /// Guest physical address of RAM.
    #[must_use]
    pub const fn memory_base(self) -> u64 {
        match self {
            Self::Tiny => abi::RAM_BASE,
            Self::Virt => abi::virt::MEMORY_BASE,
        }
    }

    /// Sizes that the RAM of a VM with this many vCPUs may have. On `tiny` there is room for what a flat image
    /// is loaded above, and for each vCPU's stack; on `virt` for an image and the device tree.
    #[must_use]
    pub fn memory_sizes(self, vcpus: u32) -> RangeInclusive<u64> {
        match self {
            Self::Tiny => abi::IMAGE_BASE + u64::from(vcpus) * abi::STACK_SPACING..=abi::RAM_MAX,
            Self::Virt => 1 << 20..=abi::virt::MEMORY_MAX,
        }
    }
}

/// What a language runtime compiles its programs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// What it usually does.
    Bytecode,
    /// Machine code that means the same.
    Native,
    /// Machine code with the types of the machine.
    Viper,
}

impl Emit {
    /// The number for [`abi::InfoPage::emit`].
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Bytecode => abi::EMIT_BYTECODE,
            Self::Native => abi::EMIT_NATIVE,
            Self::Viper => abi::EMIT_VIPER,
        }
    }
}

/// The device of a board through which a VM has its side of the console. What it sends is shown whichever it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// The UART.
    Uart,
    /// A virtio console, which takes a call for many bytes.
    Virtio,
}

/// The cores that a VM may run on, and where the manifest says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity {
    /// Bit `n` is core `n`; at least one is set.
    pub cores: u8,
    /// Where the manifest names them.
    pub position: Position,
}

/// The network card of a VM, and where the manifest gives it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Whom it reaches.
    pub reach: Reach,
    /// Where the manifest says it.
    pub position: Position,
}

/// Whom a VM reaches by its network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The other VMs that have one.
    Vms,
    /// These, and whoever is on the network of the board.
    Uplink,
}

/// What a VM may do to others or see of them: bits of [`abi::vms`], `CAPABILITY_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Whether one of these bits is among them.
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// When a VM is started again after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// When it crashed, or its exit code is not zero.
    OnFailure,
    /// Whatever it ended with.
    Always,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_LENGTH {
            return Err(ManifestError::new(text, 0, Problem::TooLong));
        }
        if let Some(offset) = super::nesting::too_deep(text) {
            return Err(ManifestError::new(text, offset, Problem::TooDeep));
        }
        let document = DeTable::parse(text).map_err(|error| ManifestError::syntax(text, &error))?;
        let top = Section::top(text, document.get_ref());
        top.allow_only(TOP_KEYS)?;
        let loglevel = top.get("loglevel").map(|value| loglevel(&value)).transpose()?;
        Ok(Self { loglevel, vms: vms(&top)? })
    }

    /// Checks that there is a file for every name in the manifest.
    ///
    /// # Errors
    /// The first name for which `exists` is false.
    pub fn check_files(&self, exists: impl Fn(&str) -> bool) -> Result<(), ManifestError> {
        self.vms.iter().try_for_each(|vm| vm.check_files(&exists))
    }

    /// Checks that there is a core for every number in the manifest.
    ///
    /// # Errors
    /// The first number for which `exists` is false.
    pub fn check_cores(&self, exists: impl Fn(u8) -> bool) -> Result<(), ManifestError> {
        self.vms.iter().try_for_each(|vm| vm.check_cores(&exists))
    }
}

impl VmConfig {
    fn parse(table: &Section<'_>) -> Result<Self, ManifestError> {
        table.allow_only(VM_KEYS)?;
        let name = name(&table.require("name")?)?.into();
        let machine = table.get("machine").map_or(Ok(Machine::Tiny), |value| machine(&value))?;
        let image = file_name(&table.require("image")?)?;
        let vcpus = table.get("vcpus").map_or(Ok(1), |value| vcpus(&value))?;
        let memory = size_in(&table.require("memory")?, &machine.memory_sizes(vcpus))?;
        let only_on = |kind, key| table.get(key).map(|value| only_on(kind, machine, value)).transpose();
        let tiny_only = |key| only_on(Machine::Tiny, key);
        Ok(Self {
            name,
            machine,
            image,
            initrd: only_on(Machine::Virt, "initrd")?.map(|value| file_name(&value)).transpose()?,
            memory,
            vcpus,
            entry: tiny_only("entry")?.map_or(Ok(Vec::new()), |value| entry(&value, vcpus, memory))?,
            args: table.get("args").map_or(Ok(Vec::new()), |value| args(&value))?,
            emit: tiny_only("emit")?.map_or(Ok(Emit::Bytecode), |value| emit(&value))?,
            priority: table.get("priority").map_or(Ok(DEFAULT_PRIORITY), |value| priority(&value))?,
            affinity: table.get("affinity").map(|value| affinity(&value)).transpose()?,
            console: only_on(Machine::Virt, "console")?.map_or(Ok(Console::Uart), |value| console(&value))?,
            storage: table
                .get("storage")
                .map_or(Ok(DEFAULT_STORAGE), |value| size_in(&value, &(0..=STORAGE_MAX)))?,
            disks: table.get("disk").map_or(Ok(Vec::new()), |value| disk::disks(&value))?,
            network: only_on(Machine::Virt, "network")?.map(|value| network(&value)).transpose()?,
            autostart: table.get("autostart").map_or(Ok(true), |value| value.boolean())?,
            capabilities: table
                .get("capabilities")
                .map_or(Ok(Capabilities::default()), |value| capabilities(&value))?,
            restart: table.get("restart").map_or(Ok(Restart::Never), |value| restart(&value))?,
            files: table.get("files").map_or(Ok(BTreeMap::new()), |value| files(&value))?,
        })
    }

    /// The files of the bundle that it names, each with the key that it is the value of.
    pub fn bundle_files(&self) -> impl Iterator<Item = (&str, &FileName)> {
        let initrd = self.initrd.iter().map(|file| ("initrd", file));
        let files = self.files.iter().map(|(path, file)| (path.as_str(), file));
        let disks = self.disks.iter().filter_map(|disk| Some(("disk", disk.file()?)));
        core::iter::once(("image", &self.image)).chain(initrd).chain(disks).chain(files)
    }

    fn check_files(&self, exists: &impl Fn(&str) -> bool) -> Result<(), ManifestError> {
        match self.bundle_files().find(|(_, file)| !exists(&file.name)) {
            Some((key, file)) => Err(ManifestError::no_such_file(self, key, file)),
            None => Ok(()),
        }
    }

    fn check_cores(&self, exists: &impl Fn(u8) -> bool) -> Result<(), ManifestError> {
        let Some(Affinity { cores, position }) = self.affinity else { return Ok(()) };
        match (0..8).find(|core| cores >> core & 1 != 0 && !exists(*core)) {
            Some(core) => Err(ManifestError::no_such_core(self, core, position)),
            None => Ok(()),
        }
    }
}

fn vms(top: &Section<'_>) -> Result<Vec<VmConfig>, ManifestError> {
    let tables = top.get("vm").ok_or_else(|| top.error(Problem::NoVm))?;
    let mut vms: Vec<VmConfig> = Vec::new();
    for table in tables.array("an array of tables: write [[vm]] above each VM's keys")? {
        let table = table.section("a table: write [[vm]] above each VM's keys")?;
        let vm = VmConfig::parse(&table)?;
        if vms.iter().any(|other| other.name == vm.name) {
            return Err(table.require("name")?.error(Problem::DuplicateName));
        }
        vms.push(vm);
    }
    disk::check_owners(&vms)?;
    match vms.iter().any(|vm| vm.autostart) {
        true => Ok(vms),
        false if vms.is_empty() => Err(tables.error(Problem::NoVm)),
        false => Err(top.error(Problem::NoneStarts)),
    }
}

fn loglevel(value: &Value<'_>) -> Result<LevelFilter, ManifestError> {
    let level = match value.string()? {
        "error" => LevelFilter::Error,
        "warn" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        "trace" => LevelFilter::Trace,
        _ => return Err(value.error(Problem::LogLevel)),
    };
    Ok(level)
}

fn name<'a>(value: &Value<'a>) -> Result<&'a str, ManifestError> {
    let name = value.string()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=31).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(value.error(Problem::Name))
    }
}

fn machine(value: &Value<'_>) -> Result<Machine, ManifestError> {
    match value.string()? {
        "tiny" => Ok(Machine::Tiny),
        "virt" => Ok(Machine::Virt),
        _ => Err(value.error(Problem::Machine)),
    }
}

/// Refuses a key that means something on one kind of machine only, if this is another one.
fn only_on(kind: Machine, machine: Machine, value: Value<'_>) -> Result<Value<'_>, ManifestError> {
    if machine == kind { Ok(value) } else { Err(value.error(Problem::OnlyOn(kind))) }
}

fn file_name(value: &Value<'_>) -> Result<FileName, ManifestError> {
    match value.string()? {
        "" => Err(value.error(Problem::EmptyFileName)),
        name => Ok(FileName { name: name.into(), position: value.position() }),
    }
}

fn size_in(value: &Value<'_>, sizes: &RangeInclusive<u64>) -> Result<u64, ManifestError> {
    let size = size(value.string()?).ok_or_else(|| value.error(Problem::MemoryUnit))?;
    if sizes.contains(&size) && size % PAGE_SIZE == 0 {
        Ok(size)
    } else {
        Err(value.error(Problem::MemoryRange { least: *sizes.start(), most: *sizes.end() }))
    }
}

/// Reads a size with its unit, as in `64KiB`.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn vcpus(value: &Value<'_>) -> Result<u32, ManifestError> {
    match u32::try_from(value.integer()?) {
        Ok(count @ 1..=abi::VCPUS_MAX) => Ok(count),
        _ => Err(value.error(Problem::Vcpus)),
    }
}

fn entry(value: &Value<'_>, vcpus: u32, memory: u64) -> Result<Vec<u64>, ManifestError> {
    let items = value.array("an array of addresses, as in [0x10000, 0x20000]")?;
    let entry = items.map(|item| entry_of_one(&item, memory)).collect::<Result<Vec<_>, _>>()?;
    if u32::try_from(entry.len()) == Ok(vcpus) {
        Ok(entry)
    } else {
        Err(value.error(Problem::EntryCount { vcpus, found: entry.len() }))
    }
}

fn entry_of_one(value: &Value<'_>, memory: u64) -> Result<u64, ManifestError> {
    const INSTRUCTION_SIZE: u64 = 4;
    match value.address()? {
        address if address < memory && address % INSTRUCTION_SIZE == 0 => Ok(address),
        _ => Err(value.error(Problem::Entry { memory })),
    }
}

fn priority(value: &Value<'_>) -> Result<u8, ManifestError> {
    u8::try_from(value.integer()?).map_err(|_| value.error(Problem::Priority))
}

fn affinity(value: &Value<'_>) -> Result<Affinity, ManifestError> {
    let mut cores = 0;
    for item in value.array("an array of core numbers, as in [0, 1]")? {
        match item.integer()? {
            core if CORES.contains(&core) => cores |= 1 << core,
            _ => return Err(item.error(Problem::Core)),
        }
    }
    if cores == 0 {
        Err(value.error(Problem::NoCore))
    } else {
        Ok(Affinity { cores, position: value.position() })
    }
}

fn restart(value: &Value<'_>) -> Result<Restart, ManifestError> {
    match value.string()? {
        "never" => Ok(Restart::Never),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err(value.error(Problem::Restart)),
    }
}

fn network(value: &Value<'_>) -> Result<Network, ManifestError> {
    let reach = match value.string()? {
        "vms" => Reach::Vms,
        "uplink" => Reach::Uplink,
        _ => return Err(value.error(Problem::Network)),
    };
    Ok(Network { reach, position: value.position() })
}

fn console(value: &Value<'_>) -> Result<Console, ManifestError> {
    match value.string()? {
        "uart" => Ok(Console::Uart),
        "virtio" => Ok(Console::Virtio),
        _ => Err(value.error(Problem::Console)),
    }
}

fn capabilities(value: &Value<'_>) -> Result<Capabilities, ManifestError> {
    let mut bits = 0;
    for item in value.array("an array of strings, as in [\"log\"]")? {
        bits |= match item.string()? {
            "board" => abi::board::CAPABILITY_BOARD,
            "control" => abi::vms::CAPABILITY_CONTROL,
            "log" => abi::vms::CAPABILITY_LOG,
            "messages" => abi::vms::CAPABILITY_MESSAGES,
            _ => return Err(item.error(Problem::Capability)),
        };
    }
    Ok(Capabilities(bits))
}

fn emit(value: &Value<'_>) -> Result<Emit, ManifestError> {
    match value.string()? {
        "bytecode" => Ok(Emit::Bytecode),
        "native" => Ok(Emit::Native),
        "viper" => Ok(Emit::Viper),
        _ => Err(value.error(Problem::Emit)),
    }
}

fn args(value: &Value<'_>) -> Result<Vec<String>, ManifestError> {
    let mut args = Vec::new();
    let mut length: usize = 0;
    for item in value.array("an array of strings, as in [\"hello.py\"]")? {
        let arg = item.string()?;
        if arg.contains('\0') {
            return Err(item.error(Problem::ArgWithNul));
        }
        length = length.saturating_add(arg.len()).saturating_add(1);
        args.push(String::from(arg));
    }
    if length > abi::ARGS_SIZE { Err(value.error(Problem::ArgsTooLong { length })) } else { Ok(args) }
}

fn files(value: &Value<'_>) -> Result<BTreeMap<String, FileName>, ManifestError> {
    let table = value.section("a table of \"/path/in/the/vm\" = \"file\"")?;
    let mut files = BTreeMap::new();
    for name in table.values() {
        if !is_normal_path(name.key) {
            return Err(name.error(Problem::GuestPath));
        }
        if parents(name.key).any(|parent| table.get(parent).is_some()) {
            return Err(name.error(Problem::FileAsDirectory));
        }
        files.insert(name.key.into(), file_name(&name)?);
    }
    Ok(files)
}

/// Whether `path` is absolute and the only way to write what it means.
fn is_normal_path(path: &str) -> bool {
    let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(good))
}

/// The directories above an absolute path, without the root, the highest first.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end)).filter(|parent| !parent.is_empty())
}
