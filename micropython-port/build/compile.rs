//! Compiling and linking a program.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{COMPILER, Program};
use crate::upstream::output_of;

/// Compiles the program for the guest; cargo links it with what is written in Rust.
pub(crate) fn into_guest(program: &Program) -> Result<()> {
    for object in objects(program, &env::var("TARGET")?)? {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
    Ok(())
}

/// Compiles the program for the host and links it.
pub(crate) fn executable(program: &Program, path: &Path) -> Result<()> {
    let objects = objects(program, &env::var("HOST")?)?;
    output_of(Command::new(COMPILER).arg("-o").arg(path).args(objects).arg("-lm")).map(drop)
}

/// Compiles all sources.
fn objects(program: &Program, target: &str) -> Result<Vec<PathBuf>> {
    let (jumps, others): (Vec<_>, Vec<_>) = program.sources.iter().partition(|source| is_jump(source));
    let mut objects = compile(program, target, &others, &[])?;
    // Non-local jumps rely on functions with the smallest prologue, as upstream's makefile ensures.
    objects.extend(compile(program, target, &jumps, &["-Os"])?);
    Ok(objects)
}

fn is_jump(source: &Path) -> bool {
    source.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nlr"))
}

fn compile(program: &Program, target: &str, sources: &[&PathBuf], more: &[&str]) -> Result<Vec<PathBuf>> {
    let mut build = cc::Build::new();
    build.compiler(COMPILER).target(target).no_default_flags(true).cargo_metadata(false);
    build.inherit_rustflags(false).warnings(false).out_dir(&program.build).files(sources);
    for flag in program.flags.iter().map(String::as_str).chain(more.iter().copied()) {
        build.flag(flag);
    }
    build
        .try_compile_intermediates()
        .context("cannot compile MicroPython: is clang installed? (`cargo xtask setup`)")
}
