//! Python modules that are part of the image, as bytecode (`manifest.py` lists them).

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::compile;
use crate::headers;
use crate::program::{Program, SMALL_PROLOGUES, flags, include};
use crate::upstream::{Upstream, output_of};

/// Bits of a digit of a big integer: `MPZ_DIG_SIZE` in `mpconfigport.h`, which a constant in bytecode
/// has to fit. The generated C has an `#error` for the case that they differ.
const MPZ_DIGIT_BITS: u32 = 32;

/// The C source that holds the modules.
pub(crate) const FROZEN: &str = "frozen_content.c";

/// Flags of the host's compiler for `mpy-cross`.
const FLAGS: &[&str] = &["-std=gnu99", "-O1", "-DNDEBUG", "-DMICROPY_GCREGS_SETJMP=1"];

/// Builds upstream's compiler from Python to bytecode for the host.
pub(crate) fn mpy_cross(upstream: &Upstream, build: &Path) -> Result<PathBuf> {
    let executable = build.join("mpy-cross");
    if executable.exists() {
        return Ok(executable);
    }
    let mut flags = flags(FLAGS);
    flags.extend([include(&upstream.path("mpy-cross")), include(&upstream.path("")), include(build)]);
    let mut sources = upstream.c_files("py")?;
    sources.extend(upstream.c_files("mpy-cross")?);
    sources.push(upstream.path("shared/runtime/gchelper_generic.c"));
    let program =
        Program { upstream, build: build.into(), flags, sources, special: SMALL_PROLOGUES.to_vec() };
    headers::generate(&program)?;
    compile::executable(&program, &executable, &[])?;
    Ok(executable)
}

/// Compiles the modules and returns the C source that holds them.
pub(crate) fn content(port: &Program, mpy_cross: &Path) -> Result<PathBuf> {
    let port_dir = env::var("CARGO_MANIFEST_DIR")?;
    let content = port.path(FROZEN);
    // Upstream's script looks at the modules only; the file depends on the interned strings as well.
    if content.exists() {
        fs::remove_file(&content).with_context(|| format!("cannot remove {}", content.display()))?;
    }
    let mut script = port.upstream.script("tools/makemanifest.py");
    script.env("MICROPY_MPYCROSS", mpy_cross);
    script.arg("-o").arg(&content).arg("-b").arg(&port.build);
    script.arg(format!("--mpy-tool-flags=-mmpz-dig-size={MPZ_DIGIT_BITS}"));
    script.arg("-v").arg(format!("MPY_DIR={}", port.upstream.path("").display()));
    script.arg("-v").arg(format!("PORT_DIR={port_dir}"));
    // A library of further modules, which upstream's releases do not contain.
    script.args(["-v", "MPY_LIB_DIR="]);
    script.arg(Path::new(&port_dir).join("manifest.py"));
    output_of(&mut script)?;
    Ok(content)
}
