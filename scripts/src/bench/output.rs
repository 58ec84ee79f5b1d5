//! What the guests print and the hypervisor logs.

use anyhow::{Context, Result};

const INSTRUCTIONS_PER_SECOND: u64 = 1_000_000_000;

/// How the counter's ticks relate to instructions: it runs at 62.5 MHz on old processors and at 1 GHz on new ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instructions_per_tick: u64,
}

impl Clock {
    /// Reads the line `counter HZ` of a guest.
    pub(super) fn find(output: &str) -> Result<Self> {
        let frequency = output.lines().find_map(|line| line.strip_prefix("counter ")?.parse::<u64>().ok());
        let frequency = frequency.filter(|hz| *hz > 0 && INSTRUCTIONS_PER_SECOND.is_multiple_of(*hz));
        let frequency =
            frequency.with_context(|| format!("no usable frequency of the counter in:\n{output}"))?;
        Ok(Self { instructions_per_tick: INSTRUCTIONS_PER_SECOND / frequency })
    }

    pub(super) fn instructions(self, ticks: u64) -> u64 {
        ticks * self.instructions_per_tick
    }

    /// Instructions for each of what a guest has counted, rounded up.
    pub(super) fn each(self, counted: Counted) -> u64 {
        self.instructions(counted.ticks).div_ceil(counted.count)
    }
}

/// What a guest says in a line `figure NAME TICKS COUNT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) ticks: u64,
    pub(super) count: u64,
}

impl Counted {
    /// Reads the line about `name`.
    pub(super) fn find(output: &str, name: &str) -> Result<Self> {
        let counted = output.lines().find_map(|line| {
            let (ticks, count) = line.strip_prefix("figure ")?.strip_prefix(name)?.trim().split_once(' ')?;
            let (ticks, count) = (ticks.parse().ok()?, count.parse().ok()?);
            (count > 0).then_some(Self { ticks, count })
        });
        counted.with_context(|| format!("no figure {name} in:\n{output}"))
    }
}

/// What one VM of several has printed: the console puts its name in front.
pub(super) fn of_vm(output: &str, vm: &str) -> String {
    let prefix = format!("[{vm}] ");
    output.lines().filter_map(|line| line.strip_prefix(&prefix)).flat_map(|line| [line, "\n"]).collect()
}

/// What the hypervisor logs at the end of a VM, times in ticks since the start of the core.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VmEnd {
    pub(super) first_entered: u64,
    pub(super) first_output: u64,
    pub(super) exits: u64,
    pub(super) overhead: u64,
}

impl VmEnd {
    pub(super) fn find(output: &str) -> Result<Self> {
        let line = output.lines().find(|line| line.contains("] vm '") && line.contains("' ended: "));
        let end = || {
            Some(Self {
                first_entered: number(line?, "first entered at ")?,
                first_output: number(line?, "first output at ")?,
                exits: number(line?, "ticks on a core, ")?,
                overhead: number(line?, "overhead ")?,
            })
        };
        end().with_context(|| format!("the hypervisor does not tell how the VM ended:\n{output}"))
    }
}

/// What the hypervisor logs before the VMs run: the memory it holds besides theirs, in bytes.
pub(super) fn system_memory(output: &str) -> Result<u64> {
    let bytes = output.lines().find_map(|line| number(line, "memory besides the VMs' RAM: "));
    bytes.with_context(|| format!("the hypervisor does not tell its memory:\n{output}"))
}

/// The number after these words.
fn number(line: &str, before: &str) -> Option<u64> {
    line.split_once(before)?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_guests_figures() {
        let output = "\ncounter 62500000\nfigure null_hypercall 24321 4096\nfigure puts_80   1000 64\n";
        let clock = Clock::find(output).unwrap();
        let each = |name| Counted::find(output, name).map(|counted| clock.each(counted));
        assert_eq!(each("null_hypercall").unwrap(), 96);
        assert_eq!(each("puts_80").unwrap(), 250);
        assert!(each("puts").is_err());
        assert!(Counted::find("figure a 1 0\n", "a").is_err());
    }

    #[test]
    fn a_counter_that_fits_no_instructions_is_an_error() {
        for output in ["", "counter 0", "counter 19200000", "counter x"] {
            assert!(Clock::find(output).is_err(), "{output}");
        }
    }

    #[test]
    fn tells_vms_apart() {
        let output = "[a] figure x 1 2\n[b] figure x 3 4\n";
        let counted = |vm| Counted::find(&of_vm(output, vm), "x").unwrap();
        assert_eq!((counted("a").ticks, counted("b").ticks), (1, 3));
    }

    #[test]
    fn reads_the_end_of_a_vm() {
        let output = "ready\n[tinyvmm info] vm 'ready' ended: exit code 0, first entered at 50000 ticks, \
                      first output at 80000 ticks, 700 ticks on a core, 12 exits, overhead 20480 bytes\n";
        let end = VmEnd { first_entered: 50_000, first_output: 80_000, exits: 12, overhead: 20480 };
        assert_eq!(VmEnd::find(output).unwrap(), end);
        assert!(VmEnd::find("ready\n").is_err());
    }

    #[test]
    fn reads_the_memory() {
        let output = "[tinyvmm debug] memory besides the VMs' RAM: 4711 bytes: image 12, allocated 34\n";
        assert_eq!(system_memory(output).unwrap(), 4711);
        assert!(system_memory("").is_err());
    }
}
