//! Compiling Python to MicroPython's bytecode before it is run (`run --mpy`).

use crate::failure::Failure;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

/// MicroPython's compiler, and where what it makes goes.
#[derive(Debug)]
pub struct Compiler<'a> {
    /// The program.
    pub program: &'a Path,
    /// The directory for the results.
    pub directory: &'a Path,
}

impl Compiler<'_> {
    /// Compiles a file, which tracebacks call by its path in the VM. Returns where the result is.
    fn compile(&self, source: &Path, path: &str) -> Result<PathBuf> {
        let result = self.directory.join(fs::read_dir(self.directory)?.count().to_string());
        let output = Command::new(self.program)
            .arg("-o")
            .arg(&result)
            .args(["-s", path])
            .arg(source)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::bad_input(format!("{}: {}", source.display(), reason.trim_end())).into());
        }
        Ok(result)
    }

    /// Compiles the Python files of a VM, a table of the manifest, and names the results there instead. `find` says
    /// where a file of the bundle is; `add` gets each new one with its name in the bundle.
    pub fn compile_vm(
        &self,
        vm: &mut Table,
        find: impl Fn(&str) -> Option<PathBuf>,
        mut add: impl FnMut(String, PathBuf),
    ) -> Result<()> {
        let Some(Value::Table(files)) = vm.get_mut("files") else { return Ok(()) };
        let mut compiled = Table::new();
        for (path, name) in std::mem::take(files) {
            let source = name.as_str().filter(|_| path.ends_with(".py")).and_then(&find);
            let (Some(source), Some(name)) = (source, name.as_str()) else {
                compiled.insert(path, name);
                continue;
            };
            let name = format!("{name}.mpy");
            add(name.clone(), self.compile(&source, &path)?);
            compiled.insert(bytecode_name(&path), name.into());
        }
        *files = compiled;
        rename_script(vm);
        Ok(())
    }
}

/// `.mpy` for `.py`.
fn bytecode_name(path: &str) -> String {
    path.strip_suffix(".py").map_or_else(|| path.to_owned(), |stem| format!("{stem}.mpy"))
}

/// The first argument is the script: it has another name now, if it was compiled.
fn rename_script(vm: &mut Table) {
    let is_file = |vm: &Table, path: &str| {
        vm.get("files").and_then(Value::as_table).is_some_and(|files| files.contains_key(path))
    };
    let script = vm.get("args").and_then(|args| args.get(0)?.as_str()).map(bytecode_name);
    let Some(script) = script.filter(|script| is_file(vm, &format!("/{}", script.trim_start_matches('/'))))
    else {
        return;
    };
    if let Some(first) = vm.get_mut("args").and_then(|args| args.get_mut(0)) {
        *first = script.into();
    }
}
