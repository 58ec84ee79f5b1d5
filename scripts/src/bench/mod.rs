//! `cargo xtask bench`: the project's figures, counted in executed instructions. `docs/benchmarks.md` has the method.

mod figure;
mod linux;
mod measure;
mod micropython;
mod output;
mod perf;
mod trace;
mod virtio;

use crate::paths::Profile;
use crate::qemu::{Cpu, Machine};
use crate::{build, setup};
use anyhow::{Context, Result};
use clap::Args;
use figure::{FIGURES, FIGURES_OF_MICROPYTHON, Figure, MICROPYTHON, SLOW};
use measure::Subject;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Bench {
    /// The processor to emulate; both if not given
    #[arg(long, value_enum)]
    cpu: Option<Cpu>,
    /// The board to emulate; virt if not given, and virt-gicv2 beside it on cortex-a72
    #[arg(long, value_enum)]
    machine: Option<Machine>,
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only figures whose names contain this
    filter: Option<String>,
}

const AFTER_HELP: &str = "\
Time is counted in instructions that QEMU executes, which is the same on every machine and in every run.
`reach` is what the project promises; a figure above it is marked `over`, with the boards on which it is.

Examples:
  cargo xtask bench
  cargo xtask bench --cpu cortex-a72 boot
  cargo xtask bench --cpu cortex-a72 --machine virt micropython    all of MicroPython: some minutes
  cargo xtask bench --json figures.json";

impl Bench {
    /// Measures, and shows the figures.
    pub fn execute(&self) -> Result<u8> {
        setup::ensure(self.machine.map_or(setup::Scope::Programs, Machine::scope))?;
        let products = build::build(Profile::Release, build::Scope::Everything)?;
        let mut figures = Vec::new();
        for cpu in self.cpu.map_or(vec![Cpu::CortexA72, Cpu::Max], |cpu| vec![cpu]) {
            let machines = self.machines(cpu);
            let subjects = machines.iter().map(|machine| Subject::new(products.clone(), cpu, *machine));
            let measured: Vec<Vec<Figure>> =
                subjects.map(|subject| subject.measure(|id| self.wants(id))).collect::<Result<_>>()?;
            let measured: Vec<Figure> = measured.into_iter().flatten().collect();
            table(cpu, &machines, &measured).iter().for_each(|line| println!("{line}"));
            figures.extend(measured);
        }
        match &self.json {
            Some(path) => write_json(path, &figures).map(|()| 0),
            None => Ok(0),
        }
    }

    fn machines(&self, cpu: Cpu) -> Vec<Machine> {
        match (self.machine, cpu) {
            (Some(machine), _) => vec![machine],
            (None, Cpu::CortexA72) => vec![Machine::Virt, Machine::VirtGicv2],
            (None, Cpu::Max) => vec![Machine::Virt],
        }
    }

    fn wants(&self, id: &str) -> bool {
        match &self.filter {
            Some(filter) => {
                id.contains(filter.as_str()) || filter == MICROPYTHON && FIGURES_OF_MICROPYTHON.contains(&id)
            }
            None => !SLOW.contains(&id),
        }
    }
}

/// The figures of one processor: a row for each, a column for each board.
fn table(cpu: Cpu, machines: &[Machine], figures: &[Figure]) -> Vec<String> {
    let columns: String = machines.iter().map(|machine| format!("{:>12}", machine.name())).collect();
    let head = format!("{:<20}{columns} {:<12} {:>9}", cpu.name(), "unit", "reach");
    let rows = FIGURES.iter().filter_map(|definition| {
        let row: Vec<&Figure> = figures.iter().filter(|figure| figure.id == definition.id).collect();
        (!row.is_empty()).then(|| definition.row(&row))
    });
    std::iter::once(head).chain(rows).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_stand_side_by_side() {
        let definition = figure::find("gicd_read").unwrap();
        let machines = [Machine::Virt, Machine::VirtGicv2];
        let figures = machines.map(|machine| definition.measured(250, Cpu::CortexA72, machine));
        let lines = table(Cpu::CortexA72, &machines, &figures);
        assert_eq!(lines[0], "cortex-a72                  virt  virt-gicv2 unit             reach");
        assert_eq!(lines[1], "gicd_read                    250         250 instructions       250 ok");
        assert_eq!(lines.len(), 2);
    }
}
