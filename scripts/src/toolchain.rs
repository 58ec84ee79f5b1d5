//! The Rust toolchain that `rust-toolchain.toml` pins, and the tools that come with it.

use crate::paths::{cache_dir, root, target_dir};
use crate::source_tree::TREES;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;

/// Target of the hypervisor, which leaves the FP/SIMD registers to the guests.
pub const HYPERVISOR_TARGET: &str = "aarch64-unknown-none-softfloat";
/// Target of the guests.
pub const GUEST_TARGET: &str = "aarch64-unknown-none";

/// What `rust-toolchain.toml` asks for.
#[derive(Debug, Deserialize)]
pub struct Pinned {
    /// Version of the toolchain.
    pub channel: String,
    /// rustup's components.
    pub components: Vec<String>,
    /// Targets to compile for.
    pub targets: Vec<String>,
}

impl Pinned {
    /// Reads `rust-toolchain.toml`.
    pub fn read() -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            toolchain: Pinned,
        }
        let path = root().join("rust-toolchain.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(file.toolchain)
    }
}

/// Where the toolchain is installed.
#[derive(Debug)]
pub struct Toolchain {
    sysroot: PathBuf,
    host: String,
}

impl Toolchain {
    /// Asks `rustc`.
    pub fn find() -> Result<Self> {
        let said = rustc(&["--print", "sysroot", "--print", "host-tuple"])?;
        let mut lines = said.lines();
        let mut next = || lines.next().context("rustc does not tell its sysroot and host");
        Ok(Self { sysroot: PathBuf::from(next()?), host: next()?.to_owned() })
    }

    /// Whether the standard library for `target` is installed.
    pub fn has_target(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    /// Whether rustup's `component` is installed.
    pub fn has_component(&self, component: &str) -> bool {
        match component {
            "clippy" => self.sysroot.join("bin/cargo-clippy").is_file(),
            "llvm-tools" => self.tool("llvm-objcopy").is_file(),
            name => self.sysroot.join("bin").join(name).is_file(),
        }
    }

    /// The path of a program that is not on `PATH`, such as `rust-lld` or `llvm-objcopy`.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin").join(name)
    }
}

fn rustc(args: &[&str]) -> Result<String> {
    let output = Command::new("rustc").args(args).current_dir(root()).output().context("cannot run rustc")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rustc {} failed: {}", args.join(" "), said.trim_end());
    Ok(String::from_utf8(output.stdout)?)
}

/// `cargo` in the workspace, with the target directory that the products belong to and the sources of MicroPython.
pub fn cargo(subcommand: &str) -> Result<Command> {
    let mut command = Command::new("cargo");
    command.current_dir(root()).arg(subcommand);
    command.env("CARGO_TARGET_DIR", target_dir()?).env("TINYVMM_CACHE", cache_dir()?);
    for tree in TREES {
        command.env(tree.variable, tree.directory()?);
    }
    Ok(command)
}
