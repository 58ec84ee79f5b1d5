//! Compiling and linking a program.

use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{COMPILER, Program};
use crate::upstream::output_of;

/// Upstream's warnings are upstream's, but these are errors in later compilers, and are errors: clang 14 would
/// cut the pointer that a function without a declaration returns to 32 bits. They have no effect beside `-w`.
const WARNINGS: &[&str] = &[
    "-Wno-everything",
    "-Werror=implicit-function-declaration",
    "-Werror=incompatible-pointer-types",
    "-Werror=int-conversion",
];

/// Compiles the program for the guest; cargo links it with what is written in Rust.
pub(crate) fn into_guest(program: &Program) -> Result<()> {
    for object in objects(program, &env::var("TARGET")?)? {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
    Ok(())
}

/// Compiles the program for the host and links it, with these flags for the linker.
pub(crate) fn executable(program: &Program, path: &Path, link: &[&str]) -> Result<()> {
    let objects = objects(program, &env::var("HOST")?)?;
    let mut command = Command::new(COMPILER);
    output_of(command.arg("-o").arg(path).args(objects).args(link).arg("-lm")).map(drop)
}

/// Compiles all sources, those that need flags of their own apart from the others.
fn objects(program: &Program, target: &str) -> Result<Vec<PathBuf>> {
    let mut rest: Vec<&PathBuf> = program.sources.iter().collect();
    let mut objects = Vec::new();
    for (name, flags) in &program.special {
        let (special, others): (Vec<&PathBuf>, Vec<&PathBuf>) =
            rest.into_iter().partition(|source| source.ends_with(name));
        objects.extend(compile(program, target, &special, flags)?);
        rest = others;
    }
    objects.extend(compile(program, target, &rest, &[])?);
    Ok(objects)
}

fn compile(program: &Program, target: &str, sources: &[&PathBuf], more: &[&str]) -> Result<Vec<PathBuf>> {
    let mut build = cc::Build::new();
    build.compiler(COMPILER).target(target).no_default_flags(true).cargo_metadata(false);
    build.inherit_rustflags(false).out_dir(&program.build).files(sources);
    build.flags(WARNINGS).flags(&program.flags).flags(more);
    build
        .try_compile_intermediates()
        .context("cannot compile MicroPython: is clang installed? (`cargo xtask setup`)")
}
