//! The device tree of a Raspberry Pi 4, which QEMU does not make: compiled from the sources that U-Boot carries, which are Linux' own.

use crate::cache;
use crate::failure::Failure;
use crate::paths::cache_dir;
use crate::progress;
use crate::source_archive::SourceArchive;
use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of the sources.
pub const VERSION: &str = "2025.01";
/// Names another device tree.
pub const FILE_VARIABLE: &str = "RPI4_DTB";

const ARCHIVE: SourceArchive = SourceArchive {
    title: "device trees",
    package: "u-boot",
    file: "u-boot_2025.01.orig.tar.bz2",
    sha256: "cdef7d507c93f1bbd9f015ea9bc21fa074268481405501945abc6f854d5b686f",
};
/// The directory of device trees in the archive.
const SOURCES: &str = "u-boot-2025.01/dts/upstream";
/// What of them is needed, below that.
const PARTS: [&str; 3] = ["include/dt-bindings", "src/arm/broadcom", "src/arm64/broadcom"];
const TREE: &str = "src/arm64/broadcom/bcm2711-rpi-4-b.dts";

/// The device tree, or where it will be.
pub fn device_tree() -> Result<PathBuf> {
    match env::var_os(FILE_VARIABLE) {
        Some(file) => {
            std::path::absolute(file).with_context(|| format!("{FILE_VARIABLE} is not a usable path"))
        }
        None => Ok(cache_dir()?.join(format!("bcm2711-rpi-4-b-{VERSION}.dtb"))),
    }
}

/// Whether it is there.
pub fn is_there() -> bool {
    device_tree().is_ok_and(|file| file.is_file())
}

/// Fetches the sources and compiles them.
pub fn fetch() -> Result<()> {
    if env::var_os(FILE_VARIABLE).is_some() {
        return Err(Failure::missing_tools(format!("{FILE_VARIABLE} names a file that is not there")).into());
    }
    cache::keep(&device_tree()?, |work| {
        let archive = ARCHIVE.fetch(work).map_err(|error| Failure::missing_tools(by_hand(&error)))?;
        let mut tar = Command::new("tar");
        tar.arg("xjf").arg(archive).args(PARTS.map(|part| format!("{SOURCES}/{part}"))).current_dir(work);
        progress::run("unpacking device trees", &mut tar)?;
        let compiled = work.join("compiled.dtb");
        compile(&work.join(SOURCES), &compiled)?;
        Ok(compiled)
    })
}

/// Compiles the tree, with the names that overlays refer to.
fn compile(sources: &Path, output: &Path) -> Result<()> {
    let expanded = output.with_extension("dts");
    let mut preprocessor = Command::new("clang");
    preprocessor.args(["-E", "-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp"]);
    preprocessor.arg("-I").arg(sources.join("include")).arg("-I").arg(sources.join("src"));
    preprocessor.arg(sources.join(TREE)).arg("-o").arg(&expanded);
    progress::run("reading the Raspberry Pi's device tree", &mut preprocessor)?;
    let mut compiler = Command::new("dtc");
    compiler.args(["-@", "-q", "-I", "dts", "-O", "dtb", "-o"]).arg(output).arg(&expanded);
    progress::run("compiling the Raspberry Pi's device tree", &mut compiler).map(drop)
}

fn by_hand(error: &anyhow::Error) -> String {
    format!(
        "cannot fetch the sources of the Raspberry Pi's device tree with apt: {error:#}\n\
         Take bcm2711-rpi-4-b.dtb from a Linux kernel for arm64, or from a Raspberry Pi's boot partition, and run:\n  \
         export {FILE_VARIABLE}=/path/to/bcm2711-rpi-4-b.dtb"
    )
}
