//! From a manifest's entry to a VM that can run: memory, image, ROM, info page.

mod shared;

use super::{
    Board, Mailbox, Vcpu, VirtioDevice, Vm, VmConsole, VmId,
    virt::{self, DeviceTreeError, InitRamDisk, NoRoom, SEED_SIZE},
};
use crate::{
    arch::{
        context::{INITIAL_VECTORS, VcpuContext},
        gic, timer,
    },
    bundle::{
        Bundle,
        image::{GuestImage, GzipError, ImageError, Segment},
        manifest::{FileName, Machine, VmConfig},
        rom::RomError,
    },
    devices::{Bus, bus::BusError},
    disks::{
        Disk, Overlay,
        assignment::{Assigned, Assignment, NoDisk},
    },
    files::{self, FileSystem, Rom},
    memory::{
        frames::{FrameAllocator, FrameBlock, OutOfFrames, SharedBlock},
        guest::GuestMemory,
        heap::HEAP,
        page_table::{BLOCK_1G, BLOCK_2M, MapError, PAGE_SIZE},
        stage2::{Access, Stage2},
    },
    network::{self, NoUplink},
    random,
    scheduler::Affinity,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;
use shared::SharedPages;
use spin::Mutex;
use tinyvmm_abi::{
    ABI_VERSION, ARGS_SIZE, INFO_PAGE_BASE, InfoPage, RAM_BASE, ROM_BASE, STACK_SPACING, VECTORS_BASE,
    files::NAME_MAX,
    virt::{GICC_BASE, GICC_SIZE, GICD_BASE, MEMORY_BASE},
    vms::CAPABILITY_MESSAGES,
};

/// Why a VM could not be built.
#[derive(Debug)]
pub struct BuildError {
    vm: String,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Image(FileName, ImageError),
    Rom(RomError),
    Files(files::Error),
    Frames(OutOfFrames),
    Map(MapError),
    Bus(BusError),
    NoRoom(NoRoom),
    DeviceTree(DeviceTreeError),
    Misplaced,
    Disk(NoDisk),
    Network(NoUplink),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vm, reason } = self;
        match reason {
            Reason::Image(file, error) => {
                write!(
                    f,
                    "tinyvmm.toml:{}: vm '{vm}': image = \"{}\": {error}",
                    file.position.line, file.name
                )
            }
            Reason::Rom(error) => write!(f, "tinyvmm.toml: vm '{vm}': {error}"),
            Reason::Files(files::Error::NoSpace) => {
                write!(f, "tinyvmm.toml: vm '{vm}': files: not enough memory")
            }
            Reason::Files(_) => {
                write!(f, "tinyvmm.toml: vm '{vm}': files: a name has more than {NAME_MAX} bytes")
            }
            Reason::Frames(error) => write!(f, "tinyvmm.toml: vm '{vm}': memory: {error}"),
            Reason::Map(error) => write!(f, "tinyvmm.toml: vm '{vm}': {error}"),
            Reason::Bus(error) => write!(f, "tinyvmm.toml: vm '{vm}': {error}"),
            Reason::NoRoom(error) => write!(f, "tinyvmm.toml: vm '{vm}': memory: {error}"),
            Reason::DeviceTree(error) => write!(f, "tinyvmm.toml: vm '{vm}': args: {error}"),
            Reason::Disk(error) => {
                write!(f, "tinyvmm.toml:{}: vm '{vm}': {error}", error.name.position.line)
            }
            Reason::Network(error) => {
                write!(f, "tinyvmm.toml:{}: vm '{vm}': {error}", error.position.line)
            }
            Reason::Misplaced => write!(f, "tinyvmm.toml: vm '{vm}': memory: no room for the device tree"),
        }
    }
}

impl BuildError {
    /// Whether it is the VM's own misfortune: the others can do without what it lacks.
    #[must_use]
    pub fn is_of_one_vm(&self) -> bool {
        matches!(self.reason, Reason::Disk(_) | Reason::Network(_))
    }
}

/// Lets `?` make a [`Reason`] of what went wrong in a part.
macro_rules! reasons {
    ($($reason:ident($error:ty),)*) => {
        $(impl From<$error> for Reason {
            fn from(error: $error) -> Self {
                Self::$reason(error)
            }
        })*
    };
}

reasons! {
    Rom(RomError),
    Frames(OutOfFrames),
    Map(MapError),
    Bus(BusError),
    NoRoom(NoRoom),
    DeviceTree(DeviceTreeError),
    Disk(NoDisk),
    Network(NoUplink),
}

/// Builds VMs from the files of a bundle.
pub struct Builder<'a> {
    bundle: &'a Bundle<'a>,
    frames: &'static FrameAllocator,
    shared: SharedPages<'a>,
    /// The disks of each VM of the manifest.
    disks: Vec<Assigned>,
    network: network::Plan,
}

impl<'a> Builder<'a> {
    /// A builder that has built nothing.
    #[must_use]
    pub fn new(bundle: &'a Bundle<'a>, frames: &'static FrameAllocator) -> Self {
        let (shared, network) = (SharedPages::new(bundle, frames), network::Plan::default());
        Self { bundle, frames, shared, disks: Vec::new(), network }
    }

    /// The same, with disks for the VMs of the manifest, in its order.
    #[must_use]
    pub fn with_disks(self, disks: Vec<Assigned>) -> Self {
        Self { disks, ..self }
    }

    /// The same, with this network for the VMs of the manifest.
    #[must_use]
    pub fn with_network(self, network: network::Plan) -> Self {
        Self { network, ..self }
    }

    /// Gives back what no VM uses any more.
    pub fn tidy(&mut self) {
        self.shared.tidy();
    }

    /// Builds a VM with these arguments, which then consists of its vCPUs.
    pub fn build(
        &mut self,
        id: VmId,
        config: &'a VmConfig,
        args: &[String],
    ) -> Result<Vec<Box<Vcpu>>, BuildError> {
        self.try_build(id, config, args).map_err(|reason| BuildError { vm: config.name.clone(), reason })
    }

    fn try_build(
        &mut self,
        id: VmId,
        config: &'a VmConfig,
        args: &[String],
    ) -> Result<Vec<Box<Vcpu>>, Reason> {
        // A VM's clock starts with its creation, so that it tells its guest how long that took.
        let created = timer::now();
        let used_before = HEAP.memory_used();
        let bytes = self.bundle.file(&config.image.name).unwrap_or_default();
        let disks = self.disks(id, config)?;
        let unusable = |error| Reason::Image(config.image.clone(), error);
        let image = GuestImage::parse(bytes, config.machine, config.memory).map_err(unusable)?;
        let vcpus = usize::try_from(config.vcpus).unwrap_or(1);
        let (memory, console, board) = match config.machine {
            Machine::Tiny => self.tiny(config, args, &image.shared)?,
            Machine::Virt => self.virt(id, config, &disks)?,
        };
        let files = self.files(config)?;
        let mailbox = self.mailbox(config)?;
        load(&memory, &image).map_err(|error| unusable(error.into()))?;
        let tree = match config.machine {
            Machine::Tiny => None,
            Machine::Virt => Some(self.equip(&memory, &image, &board, config, args)?),
        };
        let mut vm = Vm::new(id, config.name.clone(), memory, console, files, board, vcpus);
        vm.capabilities = config.capabilities;
        vm.mailbox = mailbox;
        vm.disks = disks;
        // The vCPUs, which come last, are counted before they are made: they keep the VM from being changed.
        let spent = HEAP.memory_used() + (size_of::<Vcpu>().next_power_of_two() * vcpus) as u64;
        vm.overhead = spent.saturating_sub(used_before + config.memory);
        Ok(vcpus_of(Arc::new(vm), config, &image, tree, created))
    }

    /// Puts the initial RAM disk and the device tree into the memory of a `virt` machine, which then is as its guest
    /// expects it: written back, for a guest that starts with its caches off. Returns the tree's address.
    fn equip(
        &self,
        memory: &GuestMemory,
        image: &GuestImage<'_>,
        board: &Board,
        config: &VmConfig,
        args: &[String],
    ) -> Result<u64, Reason> {
        let content = |file: &FileName| self.bundle.file(&file.name).unwrap_or_default();
        let files = config.files.iter().map(|(path, file)| (path.as_str(), content(file)));
        let initrd = InitRamDisk::new(config.initrd.as_ref().map(content), files);
        let placement = virt::Placement::new(image, config.memory, initrd.as_ref().map(InitRamDisk::size))?;
        if let (Some(range), Some(disk)) = (&placement.initrd, initrd) {
            let range = memory.check(range.start, disk.size()).map_err(|_| Reason::Misplaced)?;
            disk.write(memory.writer(range));
        }
        let tree = virt::DeviceTree {
            gic: gic::version(),
            vcpus: config.vcpus,
            memory: config.memory,
            args,
            virtio: board.virtio_slots(),
            initrd: placement.initrd,
            seed: seed(),
        };
        let tree = tree.to_bytes()?;
        let range = memory.check(placement.device_tree, tree.len() as u64).map_err(|_| Reason::Misplaced)?;
        memory.write(range, &tree);
        memory.clean_to_memory();
        Ok(placement.device_tree)
    }

    /// Memory and devices of a `tiny` machine.
    fn tiny(
        &mut self,
        config: &'a VmConfig,
        args: &[String],
        code: &[Segment<'_>],
    ) -> Result<(GuestMemory, VmConsole, Board), Reason> {
        let rom = self.shared.rom(config)?;
        let info = self.info_page(config, args, rom.as_deref())?;
        let mut stage2 = Stage2::new(self.frames)?;
        map_blocks(&mut stage2, RAM_BASE, self.blocks(config.memory)?, Access::ReadWriteExecute)?;
        stage2.map(INFO_PAGE_BASE, info.clone(), Access::ReadOnly)?;
        stage2.map_static(VECTORS_BASE, &INITIAL_VECTORS, Access::ReadExecute)?;
        for segment in code {
            map_blocks(
                &mut stage2,
                segment.address,
                self.shared.code(config, segment)?,
                Access::ReadExecute,
            )?;
        }
        if let Some(rom) = rom {
            map_blocks(&mut stage2, ROM_BASE, rom.blocks.clone(), Access::ReadOnly)?;
        }
        let mut bus = Bus::new();
        // A larger RAM is where the interrupt controller would be.
        if config.memory <= GICD_BASE {
            virt::add_interrupt_controller(&mut bus, gic::version(), config.vcpus)?;
            map_cpu_interface(&mut stage2)?;
        }
        let memory = GuestMemory::new(stage2, RAM_BASE..RAM_BASE + config.memory);
        Ok((memory, VmConsole::new(Some(info)), Board::tiny(bus)))
    }

    /// Memory and devices of a `virt` machine.
    fn virt(
        &self,
        id: VmId,
        config: &VmConfig,
        disks: &[Disk],
    ) -> Result<(GuestMemory, VmConsole, Board), Reason> {
        let card = config.network.map(|network| self.network.address(id.0, network)).transpose()?;
        let mut stage2 = Stage2::new(self.frames)?;
        map_blocks(&mut stage2, MEMORY_BASE, self.blocks(config.memory)?, Access::ReadWriteExecute)?;
        map_cpu_interface(&mut stage2)?;
        let memory = GuestMemory::new(stage2, MEMORY_BASE..MEMORY_BASE + config.memory);
        let board = Board::virt(config.vcpus, VirtioDevice::all(id, config, disks, card))?;
        Ok((memory, VmConsole::new(None), board))
    }

    /// Zeroed blocks that together hold `size` bytes, as large as the tables can map them.
    fn blocks(&self, size: u64) -> Result<Vec<SharedBlock>, Reason> {
        let largest = if size >= BLOCK_1G { BLOCK_1G } else { BLOCK_2M };
        let mut blocks = Vec::new();
        FrameBlock::zeroed_blocks(self.frames, size, largest, |block| blocks.push(Arc::new(block)))?;
        Ok(blocks)
    }

    /// The file system of a VM: what it was given, and room for what it writes.
    fn files(&mut self, config: &'a VmConfig) -> Result<FileSystem, Reason> {
        if config.machine == Machine::Virt {
            // They are in its initial RAM disk.
            return FileSystem::new(self.frames, config.storage, None, core::iter::empty())
                .map_err(Reason::Files);
        }
        let rom = self.shared.rom(config)?;
        let size = |file: &FileName| self.bundle.file(&file.name).unwrap_or_default().len() as u64;
        let files = config.files.iter().map(|(path, file)| (path.as_str(), size(file)));
        FileSystem::new(self.frames, config.storage, rom, files).map_err(Reason::Files)
    }

    fn disks(&self, VmId(index): VmId, config: &VmConfig) -> Result<Vec<Disk>, NoDisk> {
        let disk = |assignment: &Assignment| match assignment {
            Assignment::Disk(disk) => disk.clone(),
            Assignment::Overlay(base) => Disk::overlay(Overlay::new(base, self.frames, config.storage)),
        };
        match self.disks.get(index) {
            Some(Ok(assigned)) => Ok(assigned.iter().map(disk).collect()),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(Vec::new()),
        }
    }

    /// A mailbox, for a VM that may have one.
    fn mailbox(&self, config: &VmConfig) -> Result<Option<Mutex<Mailbox>>, Reason> {
        let wanted = config.capabilities.has(CAPABILITY_MESSAGES).then(|| Mailbox::new(self.frames));
        Ok(wanted.transpose()?.map(Mutex::new))
    }

    fn info_page(
        &self,
        config: &VmConfig,
        arguments: &[String],
        rom: Option<&Rom>,
    ) -> Result<SharedBlock, Reason> {
        let mut block = FrameBlock::zeroed(self.frames, PAGE_SIZE)?;
        // SAFETY: the block is a page, aligned as a page and used by nothing else. All zeros are an info page.
        let page = unsafe { &mut *block.as_mut_slice().as_mut_ptr().cast::<InfoPage>() };
        page.abi_version = ABI_VERSION;
        page.vcpu_count = config.vcpus;
        page.ram_size = config.memory;
        page.arg_count = u32::try_from(arguments.len()).unwrap_or(0);
        page.rom_address = rom.map_or(0, |_| ROM_BASE);
        page.rom_length = rom.map_or(0, |rom| rom.length);
        page.args_length = put_arguments(&mut page.args, arguments);
        page.emit = config.emit.number();
        Ok(Arc::new(block))
    }
}

/// Puts the argument strings one after another into bytes that are zero, each with its NUL. Returns their length. It has
/// been checked that they fit.
fn put_arguments(bytes: &mut [u8; ARGS_SIZE], args: &[String]) -> u32 {
    let mut length = 0;
    for arg in args {
        if let Some(room) = bytes.get_mut(length..length + arg.len()) {
            room.copy_from_slice(arg.as_bytes());
        }
        length += arg.len() + 1;
    }
    u32::try_from(length).unwrap_or(0)
}

fn map_blocks(
    stage2: &mut Stage2,
    start: u64,
    blocks: Vec<SharedBlock>,
    access: Access,
) -> Result<(), MapError> {
    let mut ipa = start;
    for block in blocks {
        let size = block.size();
        stage2.map(ipa, block, access)?;
        ipa += size;
    }
    Ok(())
}

/// Puts an image into the VM's memory, which is zero, and makes its code visible to instruction fetches.
fn load(memory: &GuestMemory, image: &GuestImage<'_>) -> Result<(), GzipError> {
    // The image has been checked against the size of RAM.
    for segment in &image.segments {
        let Ok(range) = memory.check(segment.address, segment.data.len() as u64) else { continue };
        memory.write(range, segment.data);
        if segment.executable {
            memory.publish_code(range);
        }
    }
    if let Some(packed) = &image.packed
        && let Ok(range) = memory.check(image.entry, packed.size())
    {
        packed.unpack(memory.writer(range))?;
        memory.publish_code(range);
    }
    Ok(())
}

/// Maps the virtual CPU interface of a GICv2 for the guest; a GICv3 has system registers.
fn map_cpu_interface(stage2: &mut Stage2) -> Result<(), MapError> {
    match gic::guest_cpu_interface() {
        Some(interface) => stage2.map_device(GICC_BASE, interface, GICC_SIZE),
        None => Ok(()),
    }
}

/// What a guest starts its own random numbers from.
fn seed() -> [u8; SEED_SIZE] {
    let mut seed = [0; SEED_SIZE];
    random::generator().fill(&mut seed);
    seed
}

/// The vCPUs of a VM. On the `tiny` machine all of them start; on a board the first one, with the address
/// of the device tree, and PSCI starts the others. Their clock is 0 at `created`.
fn vcpus_of(
    vm: Arc<Vm>,
    config: &VmConfig,
    image: &GuestImage<'_>,
    tree: Option<u64>,
    created: u64,
) -> Vec<Box<Vcpu>> {
    let affinity = config.affinity.as_ref().map_or(Affinity::ANY, |affinity| Affinity(affinity.cores));
    let vcpu = |index: u8| {
        let mut context = match tree {
            None => {
                tiny_context(&vm, index, config.entry.get(usize::from(index)).copied().unwrap_or(image.entry))
            }
            Some(_) => VcpuContext::of_board(index),
        };
        context.start_clock(created);
        Box::new(Vcpu::new(vm.clone(), index, config.priority, affinity, context))
    };
    let mut vcpus: Vec<_> = (0..).take(vm.links.len()).map(vcpu).collect();
    if let (Some(tree), Some(first)) = (tree, vcpus.first_mut()) {
        first.context.reset(virt::entry_registers(image.entry, tree));
        vm.off.lock().extend(vcpus.drain(1..));
    }
    vcpus
}

/// The registers of a vCPU of the `tiny` machine.
fn tiny_context(vm: &Vm, index: u8, entry: u64) -> VcpuContext {
    let stack = vm.memory.ram_size() - STACK_SPACING * u64::from(index);
    let mut context = VcpuContext::new(index, entry, stack, VECTORS_BASE);
    context.registers.x[0] = INFO_PAGE_BASE;
    context.registers.x[1] = vm.memory.ram_size();
    context.registers.x[2] = u64::from(index);
    context
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundle::{
            image::{
                gzip::tests::compressed,
                tests::{CODE, Load, program},
            },
            manifest::Manifest,
        },
        memory::frames::tests::frames,
    };
    use alloc::{format, string::ToString, vec};
    use core::mem::offset_of;
    use tinyvmm_abi::{CODE_BASE, EMIT_NATIVE};

    fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, data) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, *data).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn build_all<'a>(
        bundle: &'a Bundle<'a>,
        configs: &'a [VmConfig],
        frames: &'static FrameAllocator,
    ) -> Result<Vec<Box<Vcpu>>, BuildError> {
        let mut builder = Builder::new(bundle, frames);
        let vms =
            configs.iter().enumerate().map(|(id, config)| builder.build(VmId(id), config, &config.args));
        Ok(vms.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    fn vm(name: &str, image: &str) -> String {
        format!(
            "[[vm]]\nname = \"{name}\"\nimage = \"{image}\"\nmemory = \"1MiB\"\nargs = [\"main\", \"a b\"]\nemit = \"native\"\nfiles.\"/f\" = \"f\"\n"
        )
    }

    #[test]
    fn a_built_vm_has_its_image_info_page_and_rom() {
        let frames = frames(2048);
        let bytes = bundle(&[("prog", b"CODE"), ("f", b"file content")]);
        let bundle = Bundle::parse(&bytes).unwrap();
        let manifest = Manifest::parse(&(vm("a", "prog") + &vm("b", "prog"))).unwrap();
        let vcpus = build_all(&bundle, &manifest.vms, frames).unwrap();
        assert_eq!(vcpus.len(), 2);
        let vcpu = &vcpus[0];
        let registers = &vcpu.context.registers;
        assert_eq!(
            (registers.pc, registers.x[0], registers.x[1], registers.x[2]),
            (0x1_0000, 0x8000_0000, 1 << 20, 0)
        );
        assert!(registers.x[3..].iter().all(|x| *x == 0));

        let memory = &vcpu.vm.memory;
        let mut code = [0; 8];
        memory.read(memory.check(0x1_0000, 8).unwrap(), &mut code);
        assert_eq!(&code, b"CODE\0\0\0\0");

        let (info, writable) = memory.stage2().lookup(INFO_PAGE_BASE).unwrap();
        assert!(!writable);
        // SAFETY: the info page of a VM that is alive.
        let page = unsafe {
            &*core::ptr::with_exposed_provenance::<InfoPage>(usize::try_from(info.address).unwrap())
        };
        assert_eq!((page.arg_count, page.args_length, &page.args[..9]), (2, 9, &b"main\0a b\0"[..]));
        assert_eq!(offset_of!(InfoPage, args) + ARGS_SIZE, 4096);
        assert_eq!((page.rom_address, page.ram_size, page.emit), (ROM_BASE, 1 << 20, EMIT_NATIVE));

        let rom = |index: usize| vcpus[index].vm.memory.stage2().lookup(ROM_BASE).unwrap().0.address;
        assert_eq!(rom(0), rom(1), "the same files share the same pages");
        drop(vcpus);
        assert_eq!(frames.used(), 0);
    }

    #[test]
    fn vms_with_the_same_image_share_its_code() {
        let frames = frames(2048);
        let code = Load { address: CODE_BASE, ..CODE };
        let bytes = bundle(&[("prog", &program(&[CODE, code])), ("f", b"")]);
        let bundle = Bundle::parse(&bytes).unwrap();
        let manifest = Manifest::parse(&(vm("a", "prog") + &vm("b", "prog"))).unwrap();
        let mut builder = Builder::new(&bundle, frames);
        let vms = manifest.vms.iter().enumerate();
        let vcpus: Vec<_> =
            vms.flat_map(|(id, config)| builder.build(VmId(id), config, &[]).unwrap()).collect();
        let stage2 = |index: usize| vcpus[index].vm.memory.stage2();
        let (first, writable) = stage2(0).lookup(CODE_BASE).unwrap();
        assert!(!writable && stage2(0).is_executable(CODE_BASE));
        assert_eq!(first.address, stage2(1).lookup(CODE_BASE).unwrap().0.address);
        // SAFETY: the code of VMs that are alive.
        let written = unsafe {
            *core::ptr::with_exposed_provenance::<[u8; 17]>(usize::try_from(first.address).unwrap())
        };
        assert_eq!((written[..16].to_vec(), written[16]), (vec![0xAA; 16], 0));
        builder.tidy();
        assert_eq!(stage2(1).lookup(CODE_BASE).unwrap().0, first, "it is used");
        drop(vcpus);
        assert!(frames.used() > 0, "the next VM may use it");
        builder.tidy();
        assert_eq!(frames.used(), 0);
    }

    #[test]
    fn a_compressed_kernel_is_unpacked_where_it_runs() {
        let frames = frames(2048);
        let mut kernel: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        kernel[16..24].copy_from_slice(&(1_u64 << 20).to_le_bytes());
        kernel[24..32].fill(0);
        kernel[8..16].fill(0);
        kernel[56..60].copy_from_slice(b"ARM\x64");
        let good = compressed(&kernel);
        let bad = [&good[..good.len() - 8], &[0; 4], &good[good.len() - 4..]].concat();
        let bytes = bundle(&[("good", &good), ("bad", &bad)]);
        let bundle = Bundle::parse(&bytes).unwrap();
        let config = |image: &str| {
            let text = "[[vm]]\nname = \"a\"\nmachine = \"virt\"\nmemory = \"4MiB\"\n";
            Manifest::parse(&format!("{text}image = \"{image}\"\n")).unwrap()
        };
        let (good, bad) = (config("good"), config("bad"));
        let vcpus = build_all(&bundle, &good.vms, frames).unwrap();
        let (memory, mut loaded) = (&vcpus[0].vm.memory, vec![0; kernel.len() + 1]);
        memory.read(memory.check(MEMORY_BASE, loaded.len() as u64).unwrap(), &mut loaded);
        assert!(loaded[..kernel.len()] == kernel && loaded[kernel.len()] == 0);
        drop(vcpus);
        let error = build_all(&bundle, &bad.vms, frames).err().unwrap().to_string();
        let start = "tinyvmm.toml:5: vm 'a': image = \"bad\": compressed by gzip, but its checksum ";
        assert!(error.starts_with(start), "{error}");
        assert_eq!(frames.used(), 0);
    }

    #[test]
    fn errors_name_the_vm_and_the_key_and_leak_nothing() {
        let frames = frames(400);
        let big = vec![1; 2 << 20];
        let bytes = bundle(&[("prog", b"CODE"), ("big", &big), ("f", b"x")]);
        let bundle = Bundle::parse(&bytes).unwrap();
        let manifest = Manifest::parse(&(vm("good", "prog") + &vm("large", "big"))).unwrap();
        let error = build_all(&bundle, &manifest.vms, frames).err().unwrap().to_string();
        assert!(error.starts_with("tinyvmm.toml:10: vm 'large': image = \"big\": "), "{error}");
        let manifest = Manifest::parse(&(vm("one", "prog") + &vm("two", "prog"))).unwrap();
        let error = build_all(&bundle, &manifest.vms, frames).err().unwrap().to_string();
        assert_eq!(error, "tinyvmm.toml: vm 'two': memory: not enough free memory for 1024 KiB");
        assert_eq!(frames.used(), 0);
    }
}
