//! `cargo xtask build`: the hypervisor's flat image and the guests, in one directory.

use crate::paths::{Products, Profile, root};
use crate::toolchain::{GUEST_TARGET, HYPERVISOR_TARGET, Toolchain, cargo};
use crate::{progress, setup};
use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Options of `build`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Build {
    /// Build what ships: optimised, without debug assertions
    #[arg(long)]
    release: bool,
}

const AFTER_HELP: &str = "\
The products are in TARGET/tinyvmm/debug or TARGET/tinyvmm/release, where TARGET is `target` or $CARGO_TARGET_DIR:
  tinyvmm.img      the hypervisor, a flat arm64 Image for QEMU's -kernel, U-Boot or a Raspberry Pi
  micropython.elf  the guest that runs Python
  *.elf, *.bin     other guests; a manifest can name each of them

MicroPython's source is fetched by `cargo xtask setup`; set MICROPYTHON_DIR to build another tree.

Examples:
  cargo xtask build             quick to build, with debug assertions
  cargo xtask build --release   as `run`, `test` and `bench` use it";

/// How much to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What a manifest of the user may name.
    Images,
    /// The guests of the tests and benchmarks as well.
    Everything,
}

/// Where demonstration guests in assembly are.
const DEMO_SOURCES: &str = "images/demo";
/// Puts a whole program where the `tiny` machine enters a flat image.
const FLAT_LAYOUT: &str = "SECTIONS { . = 0x10000; .text : { *(.text*) *(.rodata*) *(.data*) *(.bss*) } }";

impl Build {
    /// Builds everything and says how large it is.
    pub fn execute(&self) -> Result<u8> {
        setup::ensure(setup::Scope::Programs)?;
        let profile = if self.release { Profile::Release } else { Profile::Dev };
        let products = build(profile, Scope::Everything)?;
        println!("{}:", products.directory().display());
        for path in sorted_files(products.directory(), &["img", "elf", "bin"])? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            println!("{:>9} bytes  {name}", fs::metadata(&path)?.len());
        }
        Ok(0)
    }
}

/// Brings the products of `profile` up to date.
pub fn build(profile: Profile, scope: Scope) -> Result<Products> {
    let products = Products::of(profile)?;
    fs::create_dir_all(products.directory())
        .with_context(|| format!("cannot make {}", products.directory().display()))?;
    let toolchain = Toolchain::find()?;
    build_hypervisor(profile, &toolchain, &products)?;
    build_guests(profile, scope, &toolchain, &products)?;
    for source in sorted_files(&root().join(DEMO_SOURCES), &["S"])? {
        assemble(&source, &products.guest(&file_stem(&source)).with_extension("bin"), &toolchain)?;
    }
    Ok(products)
}

fn build_hypervisor(profile: Profile, toolchain: &Toolchain, products: &Products) -> Result<()> {
    let mut command = cargo_build(profile, HYPERVISOR_TARGET)?;
    command.args(["--package", "vmm"]);
    let made = made("building the hypervisor", &mut command)?;
    for elf in made.into_iter().filter_map(|message| message.executable) {
        refresh(&elf, &products.hypervisor(), |output| {
            objcopy(toolchain, &["--output-target=binary"], &elf, output)
        })?;
    }
    Ok(())
}

fn build_guests(profile: Profile, scope: Scope, toolchain: &Toolchain, products: &Products) -> Result<()> {
    let mut command = cargo_build(profile, GUEST_TARGET)?;
    command.args(["--package", "micropython-port", "--package", "guest-rt", "--bins", "--examples"]);
    if scope == Scope::Everything {
        command.args(["--package", "test-guests"]);
    }
    let made = made("building the guests", &mut command)?;
    for elf in made.iter().filter_map(|message| message.executable.as_ref()) {
        let product = products.guest(&format!("{}.elf", file_stem(elf)));
        refresh(elf, &product, |output| objcopy(toolchain, &["--strip-all"], elf, output))?;
    }
    // The port's build script makes it on the way.
    for compiler in made.iter().filter_map(|message| Some(message.out_dir.as_ref()?.join("bin/mpy-cross"))) {
        if compiler.is_file() {
            refresh(&compiler, &products.mpy_cross(), |output| Ok(fs::copy(&compiler, output).map(drop)?))?;
        }
    }
    Ok(())
}

fn cargo_build(profile: Profile, target: &str) -> Result<Command> {
    let mut command = cargo("build")?;
    command.args(["--profile", profile.name(), "--target", target]);
    command.arg("--message-format=json-render-diagnostics");
    // Without a terminal cargo shows no progress unless told to; the step turns it into a bar.
    command.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")]);
    Ok(command)
}

/// How cargo passes on what the build script of Python's port wants people to know.
const PORT_WARNING: &str = "warning: micropython-port@";

/// What cargo says it has made: a program, or what a build script leaves in a directory.
#[derive(Deserialize)]
struct Made {
    executable: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

/// What `command`, a `cargo build`, says it made.
fn made(title: &str, command: &mut Command) -> Result<Vec<Made>> {
    let said = progress::succeed(title, command)?;
    let warnings = String::from_utf8_lossy(&said.stderr);
    warnings.lines().filter(|line| line.starts_with(PORT_WARNING)).for_each(|line| eprintln!("{line}"));
    let messages = said.stdout.split(|byte| *byte == b'\n');
    Ok(messages.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn objcopy(toolchain: &Toolchain, options: &[&str], input: &Path, output: &Path) -> Result<()> {
    let mut command = Command::new(toolchain.tool("llvm-objcopy"));
    progress::run("llvm-objcopy", command.args(options).arg(input).arg(output)).map(drop)
}

/// Assembles `source` to a flat binary for the load address of the `tiny` machine.
pub fn assemble(source: &Path, binary: &Path, toolchain: &Toolchain) -> Result<()> {
    refresh(source, binary, |output| {
        let object = output.with_extension("o");
        let mut clang = Command::new("clang");
        clang.args(["--target=aarch64-none-elf", "-c"]).arg(source).arg("-o").arg(&object);
        progress::run(&format!("assembling {}", source.display()), &mut clang)?;
        let layout = output.with_extension("ld");
        fs::write(&layout, FLAT_LAYOUT).context("cannot write the linker script")?;
        let mut lld = Command::new(toolchain.tool("rust-lld"));
        lld.args(["-flavor", "gnu", "--oformat=binary", "-T"])
            .arg(&layout)
            .arg(&object)
            .arg("-o")
            .arg(output);
        progress::run(&format!("linking {}", source.display()), &mut lld).map(drop)
    })
}

/// Has `make` write `product` unless it was made from just this `source`: it has the same time of modification then.
///
/// The product appears whole or not at all, because another run may be reading it.
fn refresh(source: &Path, product: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let changed = modified(source).with_context(|| format!("cannot read {}", source.display()))?;
    if modified(product).is_ok_and(|made| made == changed) {
        return Ok(());
    }
    let directory = tempfile::tempdir_in(product.parent().unwrap_or(Path::new(".")))?;
    let fresh = directory.path().join(product.file_name().unwrap_or_default());
    make(&fresh)?;
    fs::File::options().append(true).open(&fresh)?.set_modified(changed)?;
    fs::rename(&fresh, product).with_context(|| format!("cannot write {}", product.display()))
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// The files in `directory` with one of these extensions, by name. A directory that is not there has none.
fn sorted_files(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let paths: Result<Vec<PathBuf>, _> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
    let wanted =
        |path: &PathBuf| path.extension().and_then(OsStr::to_str).is_some_and(|e| extensions.contains(&e));
    let mut files: Vec<PathBuf> = paths?.into_iter().filter(wanted).collect();
    files.sort();
    Ok(files)
}

fn file_stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_made_once_for_each_change() {
        let directory = tempfile::tempdir().unwrap();
        let (source, product) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&source, "1").unwrap();
        let copy = |output: &Path| fs::write(output, fs::read(&source)?).map_err(Into::into);
        refresh(&source, &product, copy).unwrap();
        assert_eq!(fs::read(&product).unwrap(), b"1");
        refresh(&source, &product, |_| panic!("made again")).unwrap();
        let earlier = SystemTime::UNIX_EPOCH;
        fs::write(&source, "2").unwrap();
        fs::File::options().append(true).open(&source).unwrap().set_modified(earlier).unwrap();
        refresh(&source, &product, copy).unwrap();
        assert_eq!(fs::read(&product).unwrap(), b"2");
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_files() {
        assert!(sorted_files(Path::new("/no/such/directory"), &["S"]).unwrap().is_empty());
    }
}
