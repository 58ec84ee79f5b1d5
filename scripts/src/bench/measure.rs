//! Boots what is measured, and makes figures of what is printed.

use super::figure::{self, Figure, IDLE_VMS};
use super::output::{Clock, Counted, VmEnd, of_vm, system_memory};
use super::{linux, micropython, perf, virtio};
use crate::bundle::Draft;
use crate::paths::{Products, root};
use crate::qemu::{Board, Cpu, Machine};
use crate::session;
use crate::size::Size;
use crate::{build::assemble, toolchain::Toolchain};
use anyhow::{Context, Result, ensure};
use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One instruction takes 1 ns of virtual time, and nothing waits for the wall clock.
const INSTRUCTION_COUNT: [&str; 2] = ["-icount", "shift=0,sleep=off"];
/// Enough for a machine that is busy with other things.
pub(super) const TIMEOUT: Duration = Duration::from_secs(300);

const PYTHON_MEMORY: Size = Size::mib(4);
const PYTHON_SCRIPT: &str = "print('ready')\n";
/// The raw program that reads a UART's register, and its source.
const UART_GUEST: &str = "bench_uart.bin";
const UART_SOURCE: &str = "tests/guests/raw/bench_uart.S";

/// The program that reads an SD card without a hypervisor, and the size of the card.
const SD_SOURCE: &str = "tests/guests/raw/bench_sd.S";
const SD_SIZE: u64 = 32 << 20;

/// Values, by the names of their figures.
pub(super) type Values = Vec<(&'static str, u64)>;

/// Figures that are taken together.
struct Experiment {
    ids: &'static [&'static str],
    run: fn(&Subject) -> Result<Values>,
}

const EXPERIMENTS: &[Experiment] = &[
    Experiment { ids: &CALLS, run: Subject::calls },
    Experiment { ids: &["vm_overhead_bytes"], run: Subject::overhead },
    Experiment { ids: &["uart_read"], run: Subject::uart },
    Experiment { ids: &INTERRUPTS, run: Subject::interrupts },
    Experiment { ids: &["vcpu_switch"], run: Subject::turns },
    Experiment { ids: &["vm_create"], run: Subject::creation },
    Experiment { ids: &["boot_to_guest", "boot_to_python"], run: Subject::python },
    Experiment { ids: &["perf_bytecode"], run: |subject| python_speed(subject, "perf_bytecode", "bytecode") },
    Experiment { ids: &["perf_native"], run: |subject| python_speed(subject, "perf_native", "native") },
    Experiment { ids: &["virt_overhead"], run: perf::virt_overhead },
    Experiment { ids: &["viper_loop"], run: micropython::viper_loop },
    Experiment { ids: &["guest_to_output"], run: micropython::guest_to_output },
    Experiment { ids: &["min_memory"], run: micropython::min_memory },
    Experiment { ids: &["print_exits"], run: micropython::print_exits },
    Experiment { ids: &["serial_per_byte"], run: micropython::serial_per_byte },
    Experiment { ids: &["virtio_blk"], run: virtio::virtio_blk },
    Experiment { ids: &["virtio_net"], run: virtio::virtio_net },
    Experiment { ids: &["sd_read"], run: Subject::sd_card },
    Experiment { ids: &["linux_boot"], run: linux::boot },
    Experiment { ids: &["linux_cpu"], run: linux::cpu },
    Experiment { ids: &["system_memory_bytes"], run: Subject::idle },
    Experiment { ids: &SIZES, run: Subject::sizes },
];

const CALLS: [&str; 5] = ["null_hypercall", "puts_80", "psci_version", "gicd_read", "sgi_self"];
const INTERRUPTS: [&str; 3] = ["sgi_cross", "sgi_pingpong", "timer_latency"];
const SIZES: [&str; 5] = ["image_bytes", "micropython_bytes", "hello_rs_bytes", "vm1_bytes", "vm2_bytes"];
/// The guests whose sizes are told after the hypervisor's.
const IMAGES: [&str; 4] = ["micropython.elf", "hello-rs.elf", "vm1.bin", "vm2.bin"];

/// What is measured.
pub(super) struct Subject {
    products: Products,
    pub(super) cpu: Cpu,
    pub(super) machine: Machine,
    /// What the guest that times hypercalls has printed. All others are timed by its clock.
    calls: OnceCell<String>,
}

impl Subject {
    pub(super) fn new(products: Products, cpu: Cpu, machine: Machine) -> Self {
        Self { products, cpu, machine, calls: OnceCell::new() }
    }

    /// Takes the figures that are wanted.
    pub(super) fn measure(&self, wants: impl Fn(&str) -> bool) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        let wants = |id: &str| wants(id) && figure::find(id).is_some_and(|figure| figure.is_on(self.machine));
        for experiment in EXPERIMENTS.iter().filter(|experiment| experiment.ids.iter().any(|id| wants(id))) {
            let values = (experiment.run)(self)?;
            let wanted = values.into_iter().filter(|(id, _)| wants(id));
            let found = wanted.filter_map(|(id, value)| Some((figure::find(id)?, value)));
            figures.extend(found.map(|(figure, value)| figure.measured(value, self.cpu, self.machine)));
        }
        Ok(figures)
    }

    fn calls(&self) -> Result<Values> {
        self.all_of(&CALLS, self.calls_output()?)
    }

    fn overhead(&self) -> Result<Values> {
        Ok(vec![("vm_overhead_bytes", VmEnd::find(self.calls_output()?)?.overhead)])
    }

    fn uart(&self) -> Result<Values> {
        let directory = tempfile::tempdir()?;
        assemble(&root().join(UART_SOURCE), &directory.path().join(UART_GUEST), &Toolchain::find()?)?;
        let vm = Vm { machine: "virt", memory: Size::mib(4), ..Vm::new("uart", UART_GUEST) };
        self.all_of(&["uart_read"], &self.boot(&draft(&[vm], 1, directory.path())?, 1, "")?)
    }

    fn interrupts(&self) -> Result<Values> {
        let vm = Vm { vcpus: 2, ..Vm::new("interrupts", "bench_interrupts.elf") };
        self.all_of(&INTERRUPTS, &self.boot_vms(&[vm], 2, "")?)
    }

    /// Two VMs on one core. When one is away, the other is at work, but for two switches.
    fn turns(&self) -> Result<Values> {
        let vms = ["first", "second"].map(|name| Vm::new(name, "bench_turns.elf"));
        let output = self.boot_vms(&vms, 1, "")?;
        let away = Counted::find(&of_vm(&output, "first"), "away")?;
        let at_work = Counted::find(&of_vm(&output, "second"), "at_work")?;
        let ticks = away.ticks.checked_sub(at_work.ticks).context("a VM was at work while it was away")?;
        Ok(vec![("vcpu_switch", self.clock()?.each(Counted { ticks, count: 2 * away.count }))])
    }

    /// What two MiB more cost is zeroing, for both sizes are mapped in large blocks.
    fn creation(&self) -> Result<Values> {
        let create = |mib| {
            let vm = Vm { memory: Size::mib(mib), ..Vm::new("start", "bench_start.elf") };
            let output = self.boot_vms(&[vm], 1, "")?;
            anyhow::Ok(self.clock()?.each(Counted::find(&output, "vm_start")?))
        };
        let (one, two, four) = (create(1)?, create(2)?, create(4)?);
        let zeroing = four.saturating_sub(two) / 2;
        Ok(vec![("vm_create", one.saturating_sub(zeroing))])
    }

    fn python(&self) -> Result<Values> {
        let end = self.script_end(PYTHON_SCRIPT, PYTHON_MEMORY)?;
        let clock = self.clock()?;
        Ok(vec![
            ("boot_to_guest", clock.instructions(end.first_entered)),
            ("boot_to_python", clock.instructions(end.first_output)),
        ])
    }

    /// The same sectors, read by a VM and by a program in the hypervisor's place.
    fn sd_card(&self) -> Result<Values> {
        let directory = tempfile::tempdir()?;
        let [card, bare] = ["card.img", "bare.bin"].map(|name| directory.path().join(name));
        fs::File::create(&card)?.set_len(SD_SIZE).context("cannot make an SD card")?;
        assemble(&root().join(SD_SOURCE), &bare, &Toolchain::find()?)?;
        let board = Board { disks: vec![card], ..self.board(1) };
        let vm = Vm { disk: Some("sd"), ..Vm::new("disk", "bench_disk.elf") };
        let bundle = draft(&[vm], 1, directory.path())?.pack(&self.products)?;
        let read = self.boot_with(&board, &self.products.hypervisor(), &bundle, "")?;
        let plain = self.boot_with(&board, &bare, &bundle, "")?;
        let (read, plain) = (Counted::find(&read, "sd_read")?, Counted::find(&plain, "sd_bare")?);
        Ok(vec![("sd_read", (read.ticks * 1000).div_ceil(plain.ticks.max(1)))])
    }

    fn idle(&self) -> Result<Values> {
        let names: Vec<String> = (0..IDLE_VMS).map(|index| format!("idle{index}")).collect();
        let vms: Vec<Vm<'_>> = names.iter().map(|name| Vm::new(name, "bench_start.elf")).collect();
        Ok(vec![("system_memory_bytes", system_memory(&self.boot_vms(&vms, 1, "loglevel=debug")?)?)])
    }

    fn sizes(&self) -> Result<Values> {
        let guests = IMAGES.map(|image| self.products.guest(image));
        let files = std::iter::once(self.products.hypervisor()).chain(guests);
        SIZES.into_iter().zip(files).map(|(id, path)| Ok((id, size_of(&path)?))).collect()
    }

    /// What a guest has counted for each of these figures.
    fn all_of(&self, ids: &[&'static str], output: &str) -> Result<Values> {
        let clock = self.clock()?;
        ids.iter().map(|id| Ok((*id, clock.each(Counted::find(output, id)?)))).collect()
    }

    pub(super) fn clock(&self) -> Result<Clock> {
        Clock::find(self.calls_output()?)
    }

    fn calls_output(&self) -> Result<&str> {
        if let Some(output) = self.calls.get() {
            return Ok(output);
        }
        let output = self.boot_vms(&[Vm::new("calls", "bench.elf")], 1, "loglevel=info")?;
        Ok(self.calls.get_or_init(|| output))
    }

    fn boot_vms(&self, vms: &[Vm<'_>], cores: u8, bootargs: &str) -> Result<String> {
        let directory = tempfile::tempdir()?;
        self.boot(&draft(vms, cores, directory.path())?, cores, bootargs)
    }

    /// Runs a script in a VM of so much memory and returns what is printed.
    pub(super) fn script(&self, text: &str, memory: Size, emit: &str, extra: &[OsString]) -> Result<String> {
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("bench.py");
        fs::write(&script, text).context("cannot write the script")?;
        let mut board = self.board(1);
        board.extra.extend(extra.iter().cloned());
        let bundle = Draft::script(&script, &[], memory, emit)?.pack(&self.products)?;
        self.boot_with(&board, &self.products.hypervisor(), &bundle, "loglevel=info")
    }

    /// Runs a script and returns what the hypervisor tells of its VM.
    pub(super) fn script_end(&self, text: &str, memory: Size) -> Result<VmEnd> {
        VmEnd::find(&self.script(text, memory, "bytecode", &[])?)
    }

    /// Boots `draft` and returns what is printed.
    pub(super) fn boot(&self, draft: &Draft, cores: u8, bootargs: &str) -> Result<String> {
        let bundle = draft.pack(&self.products)?;
        self.boot_with(&self.board(cores), &self.products.hypervisor(), &bundle, bootargs)
    }

    /// Boots `draft` on such a board.
    pub(super) fn boot_on(&self, board: &Board, draft: &Draft) -> Result<String> {
        self.boot_with(board, &self.products.hypervisor(), &draft.pack(&self.products)?, "")
    }

    /// The board with so many cores.
    pub(super) fn board(&self, cores: u8) -> Board {
        let extra = INSTRUCTION_COUNT.map(Into::into).to_vec();
        Board { cpu: self.cpu, extra, ..Board::of(self.machine, cores) }
    }

    /// Boots an image with a bundle, and returns what is printed.
    fn boot_with(&self, board: &Board, image: &Path, bundle: &[u8], bootargs: &str) -> Result<String> {
        let mut file = tempfile::NamedTempFile::new()?;
        std::io::Write::write_all(&mut file, bundle).context("cannot write the bundle")?;
        let command = board.command(image, file.path(), bootargs)?;
        let captured = session::capture(command, &[], TIMEOUT)?;
        ensure!(captured.code == 0, "a VM ended with exit code {}:\n{}", captured.code, captured.output);
        Ok(captured.output)
    }
}

fn python_speed(subject: &Subject, id: &'static str, emit: &str) -> Result<Values> {
    Ok(vec![(id, perf::mean(subject, emit)?)])
}

/// A VM of the bundle.
struct Vm<'a> {
    name: &'a str,
    image: &'static str,
    machine: &'static str,
    memory: Size,
    vcpus: u32,
    disk: Option<&'static str>,
}

impl<'a> Vm<'a> {
    fn new(name: &'a str, image: &'static str) -> Self {
        Self { name, image, machine: "tiny", memory: Size::mib(1), vcpus: 1, disk: None }
    }

    /// The VM's part of a manifest. A board may have more than the `cores` that are meant.
    fn section(&self, cores: u8) -> String {
        let Self { name, image, machine, memory, vcpus, disk } = self;
        let disk = disk.map(|disk| format!("disk = {disk:?}\n")).unwrap_or_default();
        format!(
            "[[vm]]\nname = {name:?}\nimage = {image:?}\nmachine = {machine:?}\nmemory = \"{memory}\"\nvcpus = {vcpus}\naffinity = {:?}\n{disk}",
            (0..cores).collect::<Vec<_>>()
        )
    }
}

/// The bundle of these VMs on so many cores, with images from `directory` or the build.
fn draft(vms: &[Vm<'_>], cores: u8, directory: &Path) -> Result<Draft> {
    let path = directory.join("bench.toml");
    fs::write(&path, vms.iter().map(|vm| vm.section(cores)).collect::<String>())
        .context("cannot write the manifest")?;
    Draft::manifest(&path)
}

fn size_of(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_one_experiment() {
        let mut taken: Vec<&str> =
            EXPERIMENTS.iter().flat_map(|experiment| experiment.ids).copied().collect();
        let mut defined: Vec<&str> = figure::FIGURES.iter().map(|definition| definition.id).collect();
        taken.sort_unstable();
        defined.sort_unstable();
        assert_eq!(taken, defined);
    }
}
