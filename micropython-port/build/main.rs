//! Builds MicroPython from upstream's sources and this port's own, without upstream's makefiles.
//!
//! Upstream's Python scripts generate headers from all sources (`headers`), a host-built `mpy-cross`
//! compiles the Python modules that are part of the image (`frozen`), clang compiles the rest, for which it knows from
//! programs that ran on the host what is often done (`training`).

mod compile;
mod frozen;
mod headers;
mod mbedtls;
mod port;
mod program;
mod training;
mod upstream;

use anyhow::Result;
use std::env;
use std::fs;
use std::path::PathBuf;
use upstream::Upstream;

/// Has VMs share the code: `guest.ld` of guest-rt looks for it.
const SHARE_CODE: &str = "--defsym=SHARE_CODE=1";

fn main() -> Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let upstream = Upstream::find()?;
    let mpy_cross = frozen::mpy_cross(&upstream, &out.join("mpy-cross").join(upstream.version()))?;
    // Where the build tool finds it.
    let bin = out.join("bin");
    fs::create_dir_all(&bin)?;
    fs::copy(&mpy_cross, bin.join("mpy-cross"))?;
    let mut port = port::program(&upstream, &out.join("port"))?;
    headers::generate(&port)?;
    compile::into_guest(&mbedtls::program(&port, &out.join("mbedtls"))?)?;
    port.sources.push(frozen::content(&port, &mpy_cross)?);
    port.flags.extend(training::flags_for(&port));
    println!("cargo:rustc-link-arg-bins={SHARE_CODE}");
    compile::into_guest(&port)
}
