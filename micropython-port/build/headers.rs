//! Headers that upstream's scripts generate from the sources: interned strings, the table of modules,
//! root pointers of the garbage collector, the version.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::{COMPILER, Program};
use crate::upstream::output_of;

/// Generates all headers in `genhdr/`.
pub(crate) fn generate(program: &Program) -> Result<()> {
    let directory = program.path("genhdr");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    output_of(program.upstream.script("py/makeversionhdr.py").arg(directory.join("mpversion.h")))?;
    preprocess_all(program)?;
    strings(program)?;
    registered(program, "module", "makemoduledefs.py", "moduledefs.h")?;
    registered(program, "root_pointer", "make_root_pointers.py", "root_pointers.h")
}

/// Runs the preprocessor over all C sources, so that only what is configured is found in them.
fn preprocess_all(program: &Program) -> Result<()> {
    let mut script = program.upstream.script("py/makeqstrdefs.py");
    script.args(["pp", COMPILER, "-E", "output"]).arg(all_sources(program));
    script.arg("cflags").args(&program.flags).arg("-DNO_QSTR");
    script.arg("sources").args(program.sources.iter().filter(|source| may_register(source)));
    output_of(&mut script).map(drop)
}

/// The non-local jumps name no strings, and are not meant to be preprocessed alone.
fn may_register(source: &Path) -> bool {
    !source.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nlr"))
}

fn all_sources(program: &Program) -> PathBuf {
    program.path("genhdr/qstr.i.last")
}

/// Collects what the sources declare in one of the ways that upstream's script knows.
fn collect(program: &Program, mode: &str) -> Result<PathBuf> {
    let parts = program.path(&format!("genhdr/{mode}"));
    let collected = program.path(&format!("genhdr/{mode}.collected"));
    // Parts of sources that are gone would be collected too.
    if parts.exists() {
        fs::remove_dir_all(&parts)?;
    }
    let step = |name: &str| {
        let mut script = program.upstream.script("py/makeqstrdefs.py");
        script.args([name, mode]).arg(all_sources(program)).args([&parts, &collected]);
        output_of(&mut script)
    };
    step("split")?;
    step("cat")?;
    Ok(collected)
}

/// Makes a header of the declarations that a script turns into C.
fn registered(program: &Program, mode: &str, script: &str, header: &str) -> Result<()> {
    let collected = collect(program, mode)?;
    let text = output_of(program.upstream.script(&format!("py/{script}")).arg(collected))?;
    write(&program.path("genhdr").join(header), &text)
}

/// Makes the header of the interned strings.
fn strings(program: &Program) -> Result<()> {
    let core = read(&program.upstream.path("py/qstrdefs.h"))?;
    let port = read(&PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("src/qstrdefsport.h"))?;
    let collected = read(&collect(program, "qstr")?)?;
    // The first definition of a name counts.
    let preprocessed = preprocess_definitions(program, &format!("{core}\n{port}\n{collected}"))?;
    let path = program.path("genhdr/qstrdefs.preprocessed.h");
    write(&path, &preprocessed)?;
    let text = output_of(program.upstream.script("py/makeqstrdata.py").arg(path))?;
    write(&program.path("genhdr/qstrdefs.generated.h"), &text)
}

/// Evaluates the conditions around the definitions `Q(name)`. A definition stands in quotes meanwhile,
/// lest the preprocessor replaces its name.
fn preprocess_definitions(program: &Program, definitions: &str) -> Result<String> {
    let quoted = definitions.lines().map(|line| match line.starts_with("Q(") {
        true => format!("\"{line}\"\n"),
        false => format!("{line}\n"),
    });
    let text = filter(program.preprocessor().arg("-"), &quoted.collect::<String>())?;
    let unquoted =
        text.lines().map(|line| match line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(definition) => format!("{definition}\n"),
            None => format!("{line}\n"),
        });
    Ok(unquoted.collect())
}

/// Sends text through a command.
fn filter(command: &mut Command, text: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{COMPILER}`: install it with `cargo xtask setup`"))?;
    let mut input = child.stdin.take().context("no pipe to the preprocessor")?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("cannot write to the preprocessor")??;
    anyhow::ensure!(output.status.success(), "the preprocessor failed on the interned strings");
    Ok(String::from_utf8(output.stdout)?)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
