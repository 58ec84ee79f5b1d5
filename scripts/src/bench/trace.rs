//! Counts the instructions that are executed at EL2: QEMU tells of each one in the hypervisor's image, and of no other.

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

/// Where the board's boot code puts the image, and more than it needs.
const IMAGE: &str = "0x40200000+0x200000";

/// A pipe that QEMU writes a line to for each instruction.
pub(super) struct Trace {
    directory: TempDir,
    lines: JoinHandle<Result<u64>>,
}

impl Trace {
    /// Makes the pipe. On `virt`, guests of the `tiny` machine have nothing at the addresses of the image.
    pub(super) fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let pipe = pipe_in(&directory);
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("cannot make a pipe")?;
        let lines = thread::spawn(move || count_lines(File::open(pipe).context("cannot open the pipe")?));
        Ok(Self { directory, lines })
    }

    /// Arguments that have QEMU write to the pipe. One translation is one instruction, and is looked up each time.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let fixed = ["-accel", "tcg,one-insn-per-tb=on", "-d", "exec,nochain", "-dfilter", IMAGE, "-D"];
        fixed.into_iter().map(OsString::from).chain([pipe_in(&self.directory).into()]).collect()
    }

    /// The number of instructions, once QEMU has ended.
    pub(super) fn count(self) -> Result<u64> {
        self.lines.join().map_err(|_| anyhow::anyhow!("cannot count instructions"))?
    }
}

fn pipe_in(directory: &TempDir) -> PathBuf {
    directory.path().join("trace")
}

/// QEMU also tells of blocks that it leaves before they begin.
fn count_lines(input: impl Read) -> Result<u64> {
    let (mut lines, mut line) = (0, Vec::new());
    let mut input = BufReader::with_capacity(1 << 16, input);
    while input.read_until(b'\n', &mut line)? > 0 {
        lines += u64::from(line.starts_with(b"Trace "));
        line.clear();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_executed() {
        let said = "Trace 0: 0x7f00 [00/40200000/00/ff] \nStopped execution of TB chain before 0x7f00 [40200004] \n\
                    Trace 0: 0x7f40 [00/40200004/00/ff] _start\n";
        assert_eq!(count_lines(said.as_bytes()).unwrap(), 2);
    }
}
