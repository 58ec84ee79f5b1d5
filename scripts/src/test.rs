//! `cargo xtask test`: every check and every test, with one summary.

use crate::paths::Profile;
use crate::toolchain::{GUEST_TARGET, HYPERVISOR_TARGET, cargo};
use crate::{build, progress, setup, suite};
use anyhow::Result;
use clap::Args;
use std::ops::AddAssign;
use std::process::{Command, Output};
use std::time::Instant;

/// Options of `test`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Test {
    /// Only the tests and checks whose names contain this
    filter: Option<String>,
    /// Also the tests that take minutes
    #[arg(long)]
    long: bool,
}

const AFTER_HELP: &str = "\
In this order: formatting, clippy, documentation, the build, unit tests on this machine, tests that boot the hypervisor
in QEMU, and MicroPython's own test suite on a VM. What passes is one line; what fails is shown whole. The last line is the sum; the exit code is 1 if
something failed.

Examples:
  cargo xtask test             everything
  cargo xtask test manifest    only tests with `manifest` in their names
  cargo xtask test clippy      only that check
  cargo xtask test micropython::            MicroPython's own tests
  cargo xtask test micropython::basics      one directory of them";

/// A check or a set of tests.
struct Step {
    name: &'static str,
    kind: Kind,
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Passes or fails as a whole.
    Check,
    /// Says how many tests passed and failed.
    Tests,
}

/// How many tests passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl From<suite::Counts> for Counts {
    fn from(counts: suite::Counts) -> Self {
        Self { passed: counts.passed, failed: counts.failed }
    }
}

impl Counts {
    const PASS: Self = Self { passed: 1, failed: 0 };
    const FAILURE: Self = Self { passed: 0, failed: 1 };

    /// Adds up what the test programs of one `cargo test` say: `test result: ok. 3 passed; 0 failed; ...`.
    fn of_tests(output: &str, success: bool) -> Self {
        let mut counts = Self::default();
        for line in output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
            let number = |what: &str| {
                line.split([';', '.']).find_map(|part| part.trim().strip_suffix(what)?.parse().ok())
            };
            counts += Self { passed: number(" passed").unwrap_or(0), failed: number(" failed").unwrap_or(0) };
        }
        // Not even compiled, or ended without a word.
        if !success && counts.failed == 0 {
            counts += Self::FAILURE;
        }
        counts
    }

    fn of(kind: Kind, output: &Output) -> Self {
        match (kind, output.status.success()) {
            (Kind::Check, true) => Self::PASS,
            (Kind::Check, false) => Self::FAILURE,
            (Kind::Tests, success) => Self::of_tests(&String::from_utf8_lossy(&output.stdout), success),
        }
    }
}

impl Test {
    /// Runs what the filter selects.
    pub fn execute(&self) -> Result<u8> {
        setup::ensure(setup::Scope::Tests)?;
        let mut total = Counts::default();
        for step in self.steps()? {
            total += step.run()?;
        }
        if Self::build() {
            total += self.qemu_tests()?;
            total += suite::run(self.filter.as_deref(), self.long)?.into();
        } else {
            total += Counts::FAILURE;
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        Ok(u8::from(total.failed > 0))
    }

    /// The steps that need no product of the build.
    fn steps(&self) -> Result<Vec<Step>> {
        let mut steps = checks()?;
        steps.retain(|step| self.filter.as_ref().is_none_or(|filter| step.name.contains(filter)));
        let packages = ["-p", "vmm", "-p", "tinyvmm-abi", "-p", "xtask"];
        let mut unit = Step::new("unit tests", Kind::Tests, "test", &packages)?;
        unit.command.args(self.harness_arguments());
        steps.push(unit);
        Ok(steps)
    }

    /// Builds what tests boot. Returns whether it could.
    fn build() -> bool {
        let built = build::build(Profile::Release, build::Scope::Everything);
        if let Err(error) = &built {
            println!("{error:#}\nFAILED build");
        }
        built.is_ok()
    }

    fn qemu_tests(&self) -> Result<Counts> {
        let arguments = ["-p", "tinyvmm-tests", "--test", "qemu"];
        let mut step = Step::new("tests in QEMU", Kind::Tests, "test", &arguments)?;
        step.command.args(self.harness_arguments());
        step.run()
    }

    /// Arguments for the test programs themselves.
    fn harness_arguments(&self) -> Vec<&str> {
        let long = self.long.then_some("--include-ignored");
        std::iter::once("--").chain(long).chain(self.filter.as_deref()).collect()
    }
}

fn checks() -> Result<Vec<Step>> {
    let host = ["-p", "vmm", "-p", "tinyvmm-abi", "-p", "xtask", "-p", "tinyvmm-tests"];
    let hypervisor = ["-p", "vmm", "--target", HYPERVISOR_TARGET];
    let guests = ["-p", "guest-rt", "-p", "micropython-port", "-p", "test-guests", "--target", GUEST_TARGET];
    let deny = ["--", "-D", "warnings"];
    let clippy = |name, what: &[&str], targets: &[&str]| {
        Step::new(name, Kind::Check, "clippy", &[what, targets, &deny].concat())
    };
    let doc = |name, what: &[&str]| {
        let mut step = Step::new(name, Kind::Check, "doc", &[&["--no-deps"], what].concat())?;
        step.command.env("RUSTDOCFLAGS", "-D warnings");
        anyhow::Ok(step)
    };
    Ok(vec![
        Step::new("formatting", Kind::Check, "fmt", &["--all", "--check"])?,
        clippy("clippy for this machine", &host, &["--all-targets"])?,
        clippy("clippy for the hypervisor", &hypervisor, &["--lib", "--bins"])?,
        clippy("clippy for guests", &guests, &["--lib", "--bins", "--examples"])?,
        doc("documentation for this machine", &host)?,
        doc("documentation of the hypervisor", &hypervisor)?,
        doc("documentation of guests", &guests)?,
    ])
}

impl Step {
    fn new(name: &'static str, kind: Kind, subcommand: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = cargo(subcommand)?;
        command.args(arguments);
        Ok(Self { name, kind, command })
    }

    /// Runs it and says how it went.
    fn run(mut self) -> Result<Counts> {
        let start = Instant::now();
        let output = progress::observe(self.name, &mut self.command)?;
        let counts = Counts::of(self.kind, &output);
        let seconds = start.elapsed().as_secs_f32();
        if counts.failed > 0 {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            print!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let verdict = if counts.failed > 0 { "FAILED" } else { "ok    " };
        match self.kind {
            Kind::Check => println!("{verdict} {} ({seconds:.1} s)", self.name),
            Kind::Tests => println!(
                "{verdict} {}: {} passed, {} failed ({seconds:.1} s)",
                self.name, counts.passed, counts.failed
            ),
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_results_of_all_programs() {
        let output = "\
running 2 tests
test a ... ok
test result: ok. 31 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";
        assert_eq!(Counts::of_tests(output, false), Counts { passed: 35, failed: 2 });
    }

    #[test]
    fn a_program_that_does_not_compile_is_a_failure() {
        assert_eq!(Counts::of_tests("error: could not compile", false), Counts::FAILURE);
        assert_eq!(Counts::of_tests("", true), Counts::default());
    }
}
