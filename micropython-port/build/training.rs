//! What the interpreter does most: counted on the host, for the compiler (profile-guided optimisation).
//!
//! The interpreter is compiled for the host with counters in it, and runs upstream's benchmarks and `training/*.py`.
//! The counts belong to functions and to the shape of their source, so they hold for the guest as well. They
//! are kept for the next build in which nothing has changed that they depend on.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compile;
use crate::frozen::FROZEN;
use crate::port;
use crate::program::{COMPILER, Program, SMALL_PROLOGUES, flags};
use crate::upstream::output_of;

/// Names the directory where profiles are kept; cargo's own directory if it is not set.
const CACHE: &str = "TINYVMM_CACHE";
/// Upstream's benchmarks, and those of them that need native code.
const BENCHMARKS: &str = "tests/perf_bench";
const NATIVE_BENCHMARKS: &str = "viper_";
/// What runs a benchmark, and how long: a tenth of what is measured with.
const RUNNER: &str = "tests/perf_bench/benchrun.py";
const RUN: &str = "\nbm_run(100, 100)\n";

const HOST_FLAGS: &[&str] =
    &["-O1", "-fprofile-instr-generate", "-DPORT_TRAINING", "-DMICROPY_GCREGS_SETJMP=1"];
/// What only a VM has stays unresolved, and is never called.
const LINK: &[&str] = &["-fprofile-instr-generate", "-no-pie", "-Wl,--unresolved-symbols=ignore-all"];

/// The linker that optimises the whole makes a list of calls for the order of functions, and would find one that clang
/// has made. Clang makes none when it is to write for an assembler that is not its own.
const NO_CALL_GRAPH: &[&str] = &["-Xclang", "-no-integrated-as"];

/// Flags that tell the compiler the profile. Without one the interpreter is slower, and the build says so.
pub(crate) fn flags_for(guest: &Program) -> Vec<String> {
    println!("cargo:rerun-if-env-changed={CACHE}");
    match profile(guest) {
        Ok(path) => {
            [&[format!("-fprofile-use={}", path.display())], flags(NO_CALL_GRAPH).as_slice()].concat()
        }
        Err(error) => {
            let error = format!("{error:#}").replace('\n', " ");
            println!("cargo:warning=MicroPython is compiled without a profile and will be slower: {error}");
            Vec::new()
        }
    }
}

/// The profile, new or kept.
fn profile(guest: &Program) -> Result<PathBuf> {
    let program = program(guest)?;
    fs::create_dir_all(&program.build)?;
    let scripts = scripts(&program)?;
    let directory = match env::var_os(CACHE) {
        Some(directory) => PathBuf::from(directory),
        None => program.build.clone(),
    };
    let kept = directory.join(format!("micropython-{}.profdata", key(&program, &scripts)?));
    if !kept.exists() {
        fs::create_dir_all(&directory)?;
        let new = train(&program, &scripts)?;
        // Another build may do the same: the file appears whole.
        let whole = directory.join(format!("{}.new", std::process::id()));
        fs::copy(&new, &whole)?;
        fs::rename(&whole, &kept)?;
    }
    Ok(kept)
}

/// The interpreter for the host: without what is written for AArch64 or for a VM.
fn program<'a>(guest: &Program<'a>) -> Result<Program<'a>> {
    let port = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let upstream = guest.upstream;
    let mut flags = flags(HOST_FLAGS);
    flags.extend(port::common_flags(upstream, &guest.build, &port.join("src"))?);
    let is_for_host = |source: &&PathBuf| {
        let is_upstreams = source.ends_with("interpreter.c") || source.ends_with("compiler.c");
        let is_ports = source.starts_with(&port) && !is_upstreams;
        let is_guests = source.starts_with(upstream.path("lib/libm_dbl"));
        !is_ports && !is_guests && !source.ends_with("gchelper_native.c")
    };
    let mut sources: Vec<PathBuf> = guest.sources.iter().filter(is_for_host).cloned().collect();
    sources.push(upstream.path("shared/runtime/gchelper_generic.c"));
    sources.push(port.join("training/main.c"));
    let build = guest.path("training");
    Ok(Program { upstream, build, flags, sources, special: SMALL_PROLOGUES.to_vec() })
}

/// Writes the benchmarks with what runs them, and returns the paths of all programs to train with.
fn scripts(program: &Program) -> Result<Vec<PathBuf>> {
    let runner = fs::read_to_string(program.upstream.path(RUNNER))?;
    let mut scripts = Vec::new();
    for benchmark in python_files(&program.upstream.path(BENCHMARKS))? {
        let name = benchmark.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with(NATIVE_BENCHMARKS) || benchmark.ends_with(RUNNER) {
            continue;
        }
        let script = program.build.join(name);
        fs::write(&script, fs::read_to_string(&benchmark)? + &runner + RUN)?;
        scripts.push(script);
    }
    scripts.extend(python_files(&Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("training"))?);
    Ok(scripts)
}

fn python_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension() == Some(OsStr::new("py")));
    files.sort();
    Ok(files)
}

/// Identifies all that the counts depend on, wherever it lies. What is generated, and tells its place, comes from the rest.
fn key(program: &Program, scripts: &[PathBuf]) -> Result<String> {
    let port = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut files: Vec<PathBuf> =
        program.sources.iter().filter(|source| !source.ends_with(FROZEN)).cloned().collect();
    files.extend(
        ["src/mpconfigport.h", "src/quick.h", "src/tlsconfig.h", "manifest.py"].map(|file| port.join(file)),
    );
    files.extend(python_files(&port.join("modules"))?);
    files.extend(python_files(&program.upstream.path("extmod/asyncio"))?);
    files.extend_from_slice(scripts);
    let mut hash = Sha256::new();
    hash.update(output_of(Command::new(COMPILER).arg("--version"))?);
    program.flags.iter().filter(|flag| !flag.starts_with("-I")).for_each(|flag| hash.update(flag));
    for file in files {
        hash.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn train(program: &Program, scripts: &[PathBuf]) -> Result<PathBuf> {
    let trainee = program.build.join("trainee");
    compile::executable(program, &trainee, LINK)
        .context("install clang's profiling library (Debian: libclang-rt-dev)")?;
    let counts = program.build.join("counts.profraw");
    output_of(Command::new(&trainee).args(scripts).env("LLVM_PROFILE_FILE", &counts))?;
    let profile = program.build.join("counts.profdata");
    let mut merge = Command::new(profile_tool()?);
    output_of(merge.args(["merge", "-o"]).args([&profile, &counts]))?;
    Ok(profile)
}

/// The tool for profiles, of the compiler's own release: formats differ.
fn profile_tool() -> Result<String> {
    let path = output_of(Command::new(COMPILER).arg("-print-prog-name=llvm-profdata"))?;
    let path = path.trim();
    ensure!(Path::new(path).is_absolute(), "install llvm-profdata of clang's release (Debian: llvm)");
    Ok(path.to_owned())
}
