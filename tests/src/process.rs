//! Runs the command as a user does, and tells what came of it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::paths::root;

use crate::console::Console;

/// Longest time that a command may take; it may have to build first.
const TIMEOUT: Duration = Duration::from_secs(120);

/// `cargo xtask` with these arguments, without building it: cargo has put it beside this program.
pub(crate) fn xtask(args: &[&str]) -> Result<Command> {
    let tests = std::env::current_exe()?;
    let profile = tests.parent().and_then(|deps| deps.parent()).context("no directory of programs")?;
    let program = profile.join("xtask");
    if !program.is_file() {
        bail!("{}: no such file: run `cargo xtask test`", program.display());
    }
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    Ok(command)
}

/// A file with `text`, in a directory that lives as long as the first value.
pub(crate) fn file(name: &str, text: impl AsRef<[u8]>) -> Result<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    std::fs::write(&path, text)?;
    Ok((directory, path))
}

/// Runs a command to its end, without input; standard error is part of the output.
pub(crate) fn run(mut command: Command) -> Result<Console> {
    command.stdin(Stdio::null());
    run_to_end(command)
}

/// The same with `input` in a file.
pub(crate) fn run_with_input(mut command: Command, input: &str) -> Result<Console> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    command.stdin(file);
    run_to_end(command)
}

fn run_to_end(mut command: Command) -> Result<Console> {
    let mut output = tempfile::tempfile()?;
    command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{command:?} did not end; its output:\n{}", read(&mut output)?);
        }
        sleep(Duration::from_millis(10));
    };
    let output = read(&mut output)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Console { code: code.with_context(|| format!("{command:?}: {status}\n{output}"))?, output })
}

fn read(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
