//! The port: which sources it takes from upstream, and how they are compiled.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{Program, SMALL_PROLOGUES, SourceFlags, flags, include};
use crate::upstream::Upstream;

/// Modules of upstream's `extmod/` that `mpconfigport.h` turns on.
const EXTMOD: &[&str] = &[
    "machine_mem",
    "machine_pinbase",
    "machine_signal",
    "machine_timer",
    "modasyncio",
    "modbinascii",
    "modcryptolib",
    "moddeflate",
    "modframebuf",
    "modhashlib",
    "modheapq",
    "modjson",
    "modmachine",
    "modmarshal",
    "modos",
    "modplatform",
    "modrandom",
    "modre",
    "modselect",
    "modtime",
    "modtls_mbedtls",
    "moductypes",
    "modvfs",
    "modwebsocket",
    "vfs",
    "vfs_blockdev",
    "vfs_fat",
    "vfs_fat_diskio",
    "vfs_fat_file",
    "vfs_lfs",
    "vfs_reader",
    "vfs_rom",
    "vfs_rom_file",
    "virtpin",
];

/// What upstream's ports share.
const SHARED: &[&str] = &[
    "libc/abort_",
    "libc/printf",
    "readline/readline",
    "runtime/gchelper_native",
    "runtime/interrupt_char",
    "runtime/pyexec",
    "runtime/softtimer",
    "runtime/stdout_helpers",
    "runtime/sys_stdio_mphal",
    "timeutils/timeutils",
];

/// Upstream's native emitter for debugging, whose names the port's own emitter has.
const REPLACED: &str = "emitndebug.c";

/// The interpreter's loop and the compiler, which the port's `interpreter.c` and `compiler.c` include.
const INCLUDED: [&str; 2] = ["vm.c", "compile.c"];

/// The file systems of upstream for block devices.
const LIBRARIES: &[&str] = &[
    "oofatfs/ff",
    "oofatfs/ffunicode",
    "littlefs/lfs1",
    "littlefs/lfs1_util",
    "littlefs/lfs2",
    "littlefs/lfs2_util",
];

/// Runs on every core of the boards. The interpreter is compiled for speed in all profiles, at last by the linker,
/// which sees all of it. Not `-ffreestanding`: with it clang 14 makes calls of what it could inline.
const GUEST_FLAGS: &[&str] = &[
    "--target=aarch64-none-elf",
    "-mcpu=cortex-a72",
    "-O3",
    "-flto",
    "-nostdlibinc",
    "-fno-stack-protector",
    "-fno-pic",
    "-ffunction-sections",
    "-fdata-sections",
    // mpthreadport.h has a use for it.
    "-ffixed-x28",
];

/// What the sources mean, whatever machine they are compiled for.
const MEANING: &[&str] = &[
    "-std=gnu99",
    "-fno-math-errno",
    "-DNDEBUG",
    // What upstream's makefiles tell the file systems.
    "-DLFS1_NO_MALLOC",
    "-DLFS1_NO_DEBUG",
    "-DLFS1_NO_WARN",
    "-DLFS1_NO_ERROR",
    "-DLFS1_NO_ASSERT",
    "-DLFS2_NO_MALLOC",
    "-DLFS2_NO_DEBUG",
    "-DLFS2_NO_WARN",
    "-DLFS2_NO_ERROR",
    "-DLFS2_NO_ASSERT",
    "-DFFCONF_H=\"lib/oofatfs/ffconf.h\"",
];

/// `float.c` stands between upstream's conversions of floating-point numbers and their callers.
const EXACT_FLOATS: &[SourceFlags] = &[
    ("py/formatfloat.c", &["-Dmp_format_float=upstream_format_float"]),
    ("py/parsenum.c", &["-Dmp_parse_num_decimal=upstream_parse_num_decimal"]),
    ("py/objfloat.c", &["-Dmp_format_float=port_format_repr"]),
    ("py/objcomplex.c", &["-Dmp_format_float=port_format_repr"]),
];

/// `recursion.c` stands between functions of upstream that call each other, and the stack's end.
const CHECKED_RECURSION: &[SourceFlags] = &[
    ("py/sequence.c", &["-Dmp_seq_cmp_objs=upstream_seq_cmp_objs"]),
    ("py/objdict.c", &["-Dmp_obj_equal=port_item_equal"]),
    ("py/objtuple.c", &["-Dmp_unary_op=port_item_unary_op"]),
    ("py/objtype.c", &["-Dmp_call_method_self_n_kw=port_call_instance"]),
];

/// The emitter of native code: it is large, and what is fast is the code that it makes.
const SMALL: &[SourceFlags] = &[
    ("native/asm_arithmetic.c", &["-Os"]),
    ("native/asm_branch.c", &["-Os"]),
    ("native/asm_memory.c", &["-Os"]),
    ("native/asm_window.c", &["-Os"]),
    ("native/emit_arm64.c", &["-Os"]),
];

/// Not part of what the linker optimises as a whole: the interpreter's loop expects by itself that a call returns
/// twice, and is faster if the compiler does not; a thread's first function has to call others that look how far they
/// are from its frame.
const APART: &[SourceFlags] = &[("src/interpreter.c", &["-fno-lto"]), ("py/modthread.c", &["-fno-lto"])];

/// Programs that poll a TLS stream call its `ioctl`, which upstream has in a build for its tests alone.
const STREAM_CONTROL: SourceFlags = ("extmod/modtls_mbedtls.c", &["-DMICROPY_UNIX_COVERAGE=1"]);

/// `console.c` gives the line editor its characters.
const LINE_EDITOR: SourceFlags = ("readline/readline.c", &["-Dmp_hal_stdin_rx_chr=port_readline_chr"]);

/// Describes the port.
pub(crate) fn program<'a>(upstream: &'a Upstream, build: &Path) -> Result<Program<'a>> {
    let port = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for input in ["src", "build", "modules", "training", "manifest.py"] {
        println!("cargo:rerun-if-changed={}", port.join(input).display());
    }
    Ok(Program {
        upstream,
        build: build.into(),
        flags: all_flags(upstream, build, &port.join("src"))?,
        sources: sources(upstream, &port.join("src"))?,
        special: [
            SMALL_PROLOGUES,
            EXACT_FLOATS,
            CHECKED_RECURSION,
            SMALL,
            APART,
            &[LINE_EDITOR, STREAM_CONTROL],
        ]
        .concat(),
    })
}

fn all_flags(upstream: &Upstream, build: &Path, src: &Path) -> Result<Vec<String>> {
    let mut flags = flags(GUEST_FLAGS);
    flags.extend(common_flags(upstream, build, src)?);
    flags.push(headers("DEP_GUEST_RT_LIBC_INCLUDE")?);
    Ok(flags)
}

/// The flags for any machine.
pub(crate) fn common_flags(upstream: &Upstream, build: &Path, src: &Path) -> Result<Vec<String>> {
    let mut flags = flags(MEANING);
    flags.extend(upstream.mbedtls.flags());
    flags.extend([include(src), include(&upstream.path("")), include(build)]);
    flags.push(headers("DEP_GUEST_RT_INCLUDE")?);
    Ok(flags)
}

/// The flag for headers of guest-rt.
fn headers(variable: &str) -> Result<String> {
    let directory = env::var(variable).with_context(|| format!("guest-rt did not set {variable}"))?;
    println!("cargo:rerun-if-changed={directory}");
    Ok(include(Path::new(&directory)))
}

fn sources(upstream: &Upstream, src: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = upstream.c_files("py")?;
    sources.retain(|file| !file.ends_with(REPLACED) && !INCLUDED.iter().any(|name| file.ends_with(name)));
    sources.extend(EXTMOD.iter().map(|name| upstream.path(format!("extmod/{name}.c"))));
    sources.extend(SHARED.iter().map(|name| upstream.path(format!("shared/{name}.c"))));
    sources.extend(LIBRARIES.iter().map(|name| upstream.path(format!("lib/{name}.c"))));
    sources.extend(libm(upstream)?);
    sources.extend(port_files(src)?);
    sources.extend(port_files(&src.join("native"))?);
    Ok(sources)
}

/// The mathematical functions for doubles, but for a file in Thumb code, and a logarithm that is off by
/// a digit for powers of ten: guest-rt has a better one.
fn libm(upstream: &Upstream) -> Result<Vec<PathBuf>> {
    let mut files = upstream.c_files("lib/libm_dbl")?;
    files.retain(|file| !file.ends_with("thumb_vfp_sqrt.c") && !file.ends_with("log10.c"));
    Ok(files)
}

/// The port's own C and assembly.
fn port_files(src: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(src)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| matches!(file.extension(), Some(extension) if extension == "c" || extension == "S"));
    files.sort();
    Ok(files)
}
