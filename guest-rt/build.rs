//! Puts the linker script and the C headers where the programs that link this library find them.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The single source of the ABI's numbers.
const ABI_SOURCES: [&str; 4] =
    ["../vmm/abi/src/lib.rs", "../vmm/abi/src/disks.rs", "../vmm/abi/src/files.rs", "../vmm/abi/src/vms.rs"];
/// The functions that C programs call.
const C_SOURCE: &str = "src/c/hypervisor.rs";

fn main() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    write_linker_script(&out)?;
    write_c_header(&out.join("include"))?;
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}

/// Every guest is linked with `-Tguest.ld`, which the linker looks up on its search path.
fn write_linker_script(out: &Path) -> Result<()> {
    println!("cargo:rerun-if-changed=guest.ld");
    println!("cargo:rustc-link-search={}", out.display());
    let layout = fs::read_to_string("guest.ld").context("cannot read guest.ld")?;
    let (image, code) = (tinyvmm_abi::IMAGE_BASE, tinyvmm_abi::CODE_BASE);
    let script = format!("IMAGE_BASE = {image:#x};\nCODE_BASE = {code:#x};\n\n{layout}");
    fs::write(out.join("guest.ld"), script).context("cannot write guest.ld")
}

/// Generates `tinyvmm.h`, so that no number of the ABI is written down a second time for C.
fn write_c_header(include: &Path) -> Result<()> {
    ABI_SOURCES.iter().for_each(|source| println!("cargo:rerun-if-changed={source}"));
    println!("cargo:rerun-if-changed={C_SOURCE}");
    println!("cargo:include={}", include.display());
    println!("cargo:libc-include={}", fs::canonicalize("include")?.display());
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        include_guard: Some("TINYVMM_H".into()),
        cpp_compat: false,
        ..Default::default()
    };
    config.export.prefix = Some("HV_".into());
    config.export.include = ["InfoPage", "Status", "Entry", "Space", "VmInfo"].map(String::from).to_vec();
    config.function.no_return = Some("__attribute__((noreturn))".into());
    let sources = ABI_SOURCES.into_iter().chain([C_SOURCE]);
    sources
        .fold(cbindgen::Builder::new().with_config(config), cbindgen::Builder::with_src)
        .generate()
        .context("cannot generate the C header")?
        .write_to_file(include.join("tinyvmm.h"));
    Ok(())
}
