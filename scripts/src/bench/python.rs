//! How fast Python is: upstream's benchmarks, against what Debian's MicroPython takes for them on Linux.

use super::measure::Subject;
use crate::bundle::Draft;
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

/// Where they are in upstream's tree, what runs one, and with which parameters.
const DIRECTORY: &str = "tests/perf_bench";
const RUNNER: &str = "benchrun.py";
const RUN: &str = "\nbm_run(1000, 1000)\n";
/// The heap has 64 MB, besides which the VM needs little.
const MEMORY: Size = Size::mib(64);

/// The geometric mean of how much of Debian's instructions ours are, in thousandths.
pub(super) fn mean(subject: &Subject, emit: &str) -> Result<u64> {
    let directory = MICROPYTHON.directory()?.join(DIRECTORY);
    let runner = read(&directory.join(RUNNER))?;
    let mut logarithms = 0.0;
    for (name, debian) in DEBIAN {
        let program = read(&directory.join(name).with_extension("py"))? + &runner + RUN;
        let taken = run(subject, name, &program, emit)?;
        let ratio = f64::from(taken) / f64::from(debian);
        println!("  {name:<24} {emit:<9} {taken:>9} thousand instructions, {ratio:.3} of Debian's");
        logarithms += ratio.ln();
    }
    thousandths((logarithms / f64::from(u32::try_from(DEBIAN.len())?)).exp())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Runs one and returns the thousands of instructions that it took.
fn run(subject: &Subject, name: &str, program: &str, emit: &str) -> Result<u32> {
    let directory = tempfile::tempdir()?;
    let script = directory.path().join(format!("{name}.py"));
    fs::write(&script, program).context("cannot write the benchmark")?;
    let output = subject.boot(&Draft::script(&script, &[], MEMORY, emit)?, 1, "")?;
    microseconds(&output).with_context(|| format!("{name} does not tell its time:\n{output}"))
}

/// The time that the runner prints in front of other things. A microsecond has a thousand instructions.
fn microseconds(output: &str) -> Option<u32> {
    output.lines().find_map(|line| line.split_once(' ')?.0.parse().ok())
}

fn thousandths(ratio: f64) -> Result<u64> {
    format!("{:.0}", ratio * 1000.0).parse().context("no ratio")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time() {
        assert_eq!(microseconds("155098 50 123\n"), Some(155_098));
        assert_eq!(microseconds("-1 -1 SKIP: no matching params\n"), None);
        assert_eq!(microseconds("Traceback\n"), None);
    }

    #[test]
    fn ratios_are_rounded() {
        assert_eq!(thousandths(0.4996).unwrap(), 500);
        assert_eq!(thousandths(0.4004).unwrap(), 400);
        assert!(thousandths(f64::NAN).is_err());
    }
}
