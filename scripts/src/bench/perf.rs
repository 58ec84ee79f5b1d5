//! How fast Python is: upstream's benchmarks, against what Debian's MicroPython takes for them on Linux, and against
//! themselves without a hypervisor.

use super::measure::{Subject, Values};
use super::trace::Trace;
use crate::size::Size;
use crate::source_tree::MICROPYTHON;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Thousands of instructions of Debian's `micropython` 1.25 for arm64 under Debian's Linux 6.12, which runs on the same
/// emulated Cortex-A72 without a hypervisor. Heap and parameters are the same.
const DEBIAN: [(&str, u32); 18] = [
    ("bm_chaos", 581_017),
    ("bm_fannkuch", 655_741),
    ("bm_fft", 500_125),
    ("bm_float", 260_674),
    ("bm_hexiom", 167_054),
    ("bm_nqueens", 209_166),
    ("bm_pidigits", 154_883),
    ("bm_wordcount", 1_101_650),
    ("core_import_mpy_multi", 62_721),
    ("core_import_mpy_single", 756),
    ("core_locals", 1_530_889),
    ("core_qstr", 19_532),
    ("core_str", 203_550),
    ("core_yield_from", 112_347),
    ("misc_aes", 297_240),
    ("misc_mandel", 216_681),
    ("misc_pystone", 171_717),
    ("misc_raytrace", 171_607),
];

const INSTRUCTIONS_PER_MICROSECOND: u64 = 1000;

/// Where they are in upstream's tree, what runs one, and with which parameters.
const DIRECTORY: &str = "tests/perf_bench";
const RUNNER: &str = "benchrun.py";
const RUN: &str = "\nbm_run(1000, 1000)\n";
/// The heap has 64 MB, besides which the VM needs little.
const MEMORY: Size = Size::mib(64);

/// The benchmark that shows what the hypervisor adds.
const TRACED: &str = "misc_pystone";

/// The geometric mean of how much of Debian's instructions ours are, in thousandths.
pub(super) fn mean(subject: &Subject, emit: &str) -> Result<u64> {
    let mut logarithms = 0.0;
    for (name, debian) in DEBIAN {
        let taken = microseconds(&subject.script(&(definitions(name)? + RUN), MEMORY, emit, &[])?)?;
        let ratio = f64::from(taken) / f64::from(debian);
        println!("  {name:<24} {emit:<9} {taken:>9} thousand instructions, {ratio:.3} of Debian's");
        logarithms += ratio.ln();
    }
    thousandths((logarithms / f64::from(u32::try_from(DEBIAN.len())?)).exp())
}

/// What a benchmark takes, in thousandths of what it takes without the instructions at EL2.
pub(super) fn virt_overhead(subject: &Subject) -> Result<Values> {
    let traced = |program: &str| {
        let trace = Trace::start()?;
        let output = subject.script(program, MEMORY, "bytecode", &trace.arguments())?;
        anyhow::Ok((output, trace.count()?))
    };
    let definitions = definitions(TRACED)?;
    let (_, before) = traced(&definitions)?;
    let (output, all) = traced(&(definitions + RUN))?;
    let taken = INSTRUCTIONS_PER_MICROSECOND * u64::from(microseconds(&output)?);
    let at_el2 = all.checked_sub(before).filter(|count| *count < taken).context("no trace of EL2")?;
    println!("  {TRACED:<24} {taken:>9} instructions, {at_el2} of them at EL2");
    Ok(vec![("virt_overhead", (1000 * taken).div_ceil(taken - at_el2))])
}

/// The program of a benchmark, but for what runs it.
fn definitions(name: &str) -> Result<String> {
    let directory = MICROPYTHON.directory()?.join(DIRECTORY);
    Ok(read(&directory.join(name).with_extension("py"))? + &read(&directory.join(RUNNER))?)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The time that the runner prints in front of other things. A microsecond has a thousand instructions.
fn microseconds(output: &str) -> Result<u32> {
    let time = output.lines().find_map(|line| line.split_once(' ')?.0.parse().ok());
    time.with_context(|| format!("a benchmark does not tell its time:\n{output}"))
}

fn thousandths(ratio: f64) -> Result<u64> {
    format!("{:.0}", ratio * 1000.0).parse().context("no ratio")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time() {
        assert_eq!(microseconds("155098 50 123\n").unwrap(), 155_098);
        assert!(microseconds("-1 -1 SKIP: no matching params\n").is_err());
        assert!(microseconds("Traceback\n").is_err());
    }

    #[test]
    fn ratios_are_rounded() {
        assert_eq!(thousandths(0.4996).unwrap(), 500);
        assert_eq!(thousandths(0.4004).unwrap(), 400);
        assert!(thousandths(f64::NAN).is_err());
    }
}
