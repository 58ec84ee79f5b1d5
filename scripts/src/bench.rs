//! `cargo xtask bench`: the project's figures, counted in executed instructions. `docs/benchmarks.md` has the method.

use crate::bundle::Draft;
use crate::paths::{Products, Profile};
use crate::qemu::{Board, Cpu, Machine};
use crate::size::Size;
use crate::{build, session, setup};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Bench {
    /// The processor to emulate; both if not given
    #[arg(long, value_enum)]
    cpu: Option<Cpu>,
    /// The board to emulate
    #[arg(long, value_enum, default_value = "virt")]
    machine: Machine,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only figures whose names contain this
    filter: Option<String>,
}

const AFTER_HELP: &str = "\
Time is counted in instructions that QEMU executes, which is the same on every machine and in every run.
`reach` is what the project promises; a figure above it is marked `over`.

Examples:
  cargo xtask bench
  cargo xtask bench --cpu cortex-a72 boot
  cargo xtask bench --json figures.json";

/// One instruction takes 1 ns of virtual time, and nothing waits for the wall clock.
const INSTRUCTION_COUNT: [&str; 2] = ["-icount", "shift=0,sleep=off"];
const INSTRUCTIONS_PER_SECOND: u64 = 1_000_000_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// The guest that times hypercalls, and the memory that it gets.
const GUEST: &str = "bench.elf";
const GUEST_MEMORY: Size = Size::mib(1);
const PYTHON_MEMORY: Size = Size::mib(4);
const PYTHON_SCRIPT: &str = "print('ready')\n";

/// The guests whose sizes are told.
const IMAGES: [&str; 4] = ["micropython.elf", "hello-rs.elf", "vm1.bin", "vm2.bin"];

const INSTRUCTIONS: &str = "instructions";
const BYTES: &str = "bytes";

/// What each figure must not exceed.
const REACHES: [(&str, u64); 8] = [
    ("null_hypercall", 100),
    ("psci_version", 130),
    ("gicd_read", 250),
    ("sgi_self", 600),
    ("boot_to_guest", 1_000_000),
    ("boot_to_python", 1_500_000),
    ("image_bytes", 256 << 10),
    ("vm_overhead_bytes", 32 << 10),
];

/// One measured value.
#[derive(Debug, Serialize)]
struct Figure {
    id: String,
    value: u64,
    unit: &'static str,
    cpu: &'static str,
    machine: &'static str,
    reach: Option<u64>,
}

impl Figure {
    fn row(&self) -> String {
        let Self { id, value, unit, cpu, .. } = self;
        let (reach, verdict) = match self.reach {
            None => (String::new(), ""),
            Some(reach) if *value <= reach => (reach.to_string(), "ok"),
            Some(reach) => (reach.to_string(), "over"),
        };
        format!("{id:<20} {value:>10} {unit:<12} {cpu:<10} {reach:>9} {verdict}").trim_end().to_owned()
    }
}

impl Bench {
    /// Measures, and shows the figures.
    pub fn execute(&self) -> Result<u8> {
        setup::ensure()?;
        let products = build::build(Profile::Release, build::Scope::Everything)?;
        let cpus = self.cpu.map_or(vec![Cpu::CortexA72, Cpu::Max], |cpu| vec![cpu]);
        println!("{:<20} {:>10} {:<12} {:<10} {:>9}", "figure", "value", "unit", "cpu", "reach");
        let mut figures = Vec::new();
        for cpu in cpus {
            let measured = Subject { products: &products, cpu, machine: self.machine }.measure()?;
            let wanted =
                |figure: &Figure| self.filter.as_ref().is_none_or(|filter| figure.id.contains(filter));
            let measured: Vec<Figure> = measured.into_iter().filter(wanted).collect();
            measured.iter().for_each(|figure| println!("{}", figure.row()));
            figures.extend(measured);
        }
        match &self.json {
            Some(path) => write_json(path, &figures).map(|()| 0),
            None => Ok(0),
        }
    }
}

fn write_json(path: &Path, figures: &[Figure]) -> Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        figures: &'a [Figure],
    }
    let mut text = serde_json::to_string_pretty(&Report { figures })?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What is measured.
struct Subject<'a> {
    products: &'a Products,
    cpu: Cpu,
    machine: Machine,
}

impl Subject<'_> {
    fn measure(&self) -> Result<Vec<Figure>> {
        let calls = self.boot(&Draft::program(GUEST, GUEST_MEMORY)?)?;
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("ready.py");
        fs::write(&script, PYTHON_SCRIPT).context("cannot write the script")?;
        let python = self.boot(&Draft::script(&script, &[], PYTHON_MEMORY, "bytecode")?)?;
        let clock = Clock::find(&calls)?;
        let (calls_end, python_end) = (VmEnd::find(&calls)?, VmEnd::find(&python)?);
        let mut figures = vec![
            self.figure("null_hypercall", clock.each(&calls, "null_hypercall")?, INSTRUCTIONS),
            self.figure("puts_80", clock.each(&calls, "puts_80")?, INSTRUCTIONS),
            self.figure("psci_version", clock.each(&calls, "psci_version")?, INSTRUCTIONS),
            self.figure("gicd_read", clock.each(&calls, "gicd_read")?, INSTRUCTIONS),
            self.figure("sgi_self", clock.each(&calls, "sgi_self")?, INSTRUCTIONS),
            self.figure("boot_to_guest", clock.instructions(python_end.first_entered), INSTRUCTIONS),
            self.figure("boot_to_python", clock.instructions(python_end.first_output), INSTRUCTIONS),
            self.figure("vm_overhead_bytes", calls_end.overhead, BYTES),
            self.figure("image_bytes", size_of(&self.products.hypervisor())?, BYTES),
        ];
        for image in IMAGES {
            let name = image.split('.').next().unwrap_or(image).replace('-', "_");
            figures.push(self.figure(&format!("{name}_bytes"), size_of(&self.products.guest(image))?, BYTES));
        }
        Ok(figures)
    }

    fn figure(&self, id: &str, value: u64, unit: &'static str) -> Figure {
        let reach = REACHES.iter().find(|(other, _)| *other == id).map(|(_, reach)| *reach);
        Figure { id: id.to_owned(), value, unit, cpu: self.cpu.name(), machine: self.machine.name(), reach }
    }

    /// Boots `draft` and returns what is printed.
    fn boot(&self, draft: &Draft) -> Result<String> {
        let mut bundle = tempfile::NamedTempFile::new()?;
        std::io::Write::write_all(&mut bundle, &draft.pack(self.products)?)
            .context("cannot write the bundle")?;
        let extra = INSTRUCTION_COUNT.map(Into::into).to_vec();
        let board = Board { machine: self.machine, cpu: self.cpu, extra, ..Board::default() };
        let command = board.command(&self.products.hypervisor(), bundle.path(), "loglevel=info")?;
        let captured = session::capture(command, &[], TIMEOUT)?;
        ensure!(captured.code == 0, "the VM ended with exit code {}:\n{}", captured.code, captured.output);
        Ok(captured.output)
    }
}

fn size_of(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len())
}

/// How the counter's ticks relate to instructions: it runs at 62.5 MHz on old processors and at 1 GHz on new ones.
#[derive(Debug, Clone, Copy)]
struct Clock {
    instructions_per_tick: u64,
}

impl Clock {
    /// Reads the line `counter HZ` of the guest.
    fn find(output: &str) -> Result<Self> {
        let frequency = output.lines().find_map(|line| line.strip_prefix("counter ")?.parse::<u64>().ok());
        let frequency = frequency.filter(|hz| *hz > 0 && INSTRUCTIONS_PER_SECOND.is_multiple_of(*hz));
        let frequency =
            frequency.with_context(|| format!("no usable frequency of the counter in:\n{output}"))?;
        Ok(Self { instructions_per_tick: INSTRUCTIONS_PER_SECOND / frequency })
    }

    fn instructions(self, ticks: u64) -> u64 {
        ticks * self.instructions_per_tick
    }

    /// Instructions for each of the calls in a line `figure NAME TICKS COUNT`, rounded up.
    fn each(self, output: &str, name: &str) -> Result<u64> {
        let numbers = output.lines().find_map(|line| {
            let (ticks, count) = line.strip_prefix("figure ")?.strip_prefix(name)?.trim().split_once(' ')?;
            Some((ticks.parse().ok()?, count.parse::<u64>().ok().filter(|count| *count > 0)?))
        });
        let (ticks, count) = numbers.with_context(|| format!("no figure {name} in:\n{output}"))?;
        Ok(self.instructions(ticks).div_ceil(count))
    }
}

/// What the hypervisor logs at the end of a VM, times in ticks since the start of the core.
#[derive(Debug, PartialEq, Eq)]
struct VmEnd {
    first_entered: u64,
    first_output: u64,
    overhead: u64,
}

impl VmEnd {
    fn find(output: &str) -> Result<Self> {
        let line = output.lines().find(|line| line.contains("] vm '") && line.contains("' ended: "));
        let number = |before: &str| -> Option<u64> {
            let rest = line?.split_once(before)?.1;
            rest.split(' ').next()?.parse().ok()
        };
        let end = || {
            Some(Self {
                first_entered: number("first entered at ")?,
                first_output: number("first output at ")?,
                overhead: number("overhead ")?,
            })
        };
        end().with_context(|| format!("the hypervisor does not tell how the VM ended:\n{output}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_guests_figures() {
        let output = "\ncounter 62500000\nfigure null_hypercall 24321 4096\nfigure puts_80 1000 64\n";
        let clock = Clock::find(output).unwrap();
        assert_eq!(clock.each(output, "null_hypercall").unwrap(), 96);
        assert_eq!(clock.each(output, "puts_80").unwrap(), 250);
        assert!(clock.each(output, "puts").is_err());
    }

    #[test]
    fn a_counter_that_fits_no_instructions_is_an_error() {
        for output in ["", "counter 0", "counter 19200000", "counter x"] {
            assert!(Clock::find(output).is_err(), "{output}");
        }
    }

    #[test]
    fn reads_the_end_of_a_vm() {
        let output = "ready\n[tinyvmm info] vm 'ready' ended: exit code 0, first entered at 50000 ticks, \
                      first output at 80000 ticks, 12 exits, overhead 20480 bytes\n";
        let end = VmEnd { first_entered: 50_000, first_output: 80_000, overhead: 20480 };
        assert_eq!(VmEnd::find(output).unwrap(), end);
        assert!(VmEnd::find("ready\n").is_err());
    }

    #[test]
    fn a_figure_above_its_reach_is_over() {
        let figure = |value, reach| Figure {
            id: "null_hypercall".into(),
            value,
            unit: INSTRUCTIONS,
            cpu: "max",
            machine: "virt",
            reach,
        };
        assert!(figure(100, Some(100)).row().ends_with(" ok"));
        assert!(figure(101, Some(100)).row().ends_with(" over"));
        assert!(figure(101, None).row().ends_with(" max"));
    }
}
