//! Makes the bundle that the hypervisor boots: a tar archive of a manifest and the files it names.

use crate::bytecode::Compiler;
use crate::failure::Failure;
use crate::guest::linux::{self, Release};
use crate::paths::Products;
use crate::size::Size;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use vmm::bundle::manifest::{FILE_NAME, Manifest, ManifestError, VmConfig};

/// The guest that runs Python.
const PYTHON: &str = "micropython.elf";
/// Name of the user's script in the bundle; in the VM it keeps its own.
const SCRIPT: &str = "script.py";
/// The Linux that runs Python, and its command line.
const RELEASE: Release = Release::Debian13;
const LINUX_ARGS: [&str; 2] = ["console=ttyAMA0", "quiet"];
/// Longest name that a manifest allows a VM.
const LONGEST_NAME: usize = 31;

/// What the user wants to run, checked as far as it can be before anything is built.
#[derive(Debug)]
pub struct Draft {
    /// The manifest as messages call it.
    shown: String,
    text: String,
    manifest: Manifest,
    /// Where the user's files are looked for; nowhere if the manifest is not the user's.
    directory: Option<PathBuf>,
    /// Files that are elsewhere, by their name in the bundle.
    elsewhere: BTreeMap<String, PathBuf>,
}

impl Draft {
    /// One VM that runs a Python script with `args` after its name in `sys.argv`.
    /// `emit` is the manifest's key.
    pub fn script(path: &Path, args: &[String], memory: Size, emit: &str) -> Result<Self> {
        readable(path)?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut table = python(&vm_name(&file_name), memory, emit);
        let argv = std::iter::once(&file_name).chain(args).map(|arg| Value::from(arg.as_str()));
        table.insert("args".into(), Value::Array(argv.collect()));
        table.insert(
            "files".into(),
            Table::from_iter([(format!("/{file_name}"), Value::from(SCRIPT))]).into(),
        );
        let mut draft = Self::generated(&path.display().to_string(), table)?;
        draft.elsewhere.insert(SCRIPT.into(), path.into());
        Ok(draft)
    }

    /// One VM that runs a Python script in CPython on Linux, with `args` after its name in `sys.argv`.
    pub fn linux_script(path: &Path, args: &[String], memory: Size) -> Result<Self> {
        readable(path)?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut table = linux_vm(&vm_name(&file_name), memory);
        let words = args.iter().map(|arg| kernel_word(arg)).collect::<Result<Vec<_>, _>>()?;
        let line = LINUX_ARGS.into_iter().map(str::to_owned).chain(["--".to_owned()]).chain(words);
        table.insert("args".into(), Value::Array(line.map(Value::from).collect()));
        table.insert("files".into(), Table::from_iter([("/main.py".to_owned(), Value::from(SCRIPT))]).into());
        let mut draft = Self::generated(&path.display().to_string(), table)?;
        draft.elsewhere.insert(SCRIPT.into(), path.into());
        Ok(draft)
    }

    /// Makes the guests of a distribution that it names, if they are missing.
    pub fn ensure_guests(&self) -> Result<()> {
        linux::ensure_files(self.file_names().into_iter())
    }

    /// One VM that runs a program that the build makes.
    pub fn program(image: &str, memory: Size) -> Result<Self> {
        Self::generated(image, vm("program", image, memory))
    }

    /// One VM that reads Python from the console.
    pub fn repl(memory: Size, emit: &str) -> Result<Self> {
        Self::generated("REPL", python("python", memory, emit))
    }

    /// The VMs of a manifest. A file is looked for beside it; an image also among what the build makes.
    pub fn manifest(path: &Path) -> Result<Self> {
        readable(path)?;
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let draft = Self::parse(shown, text, Some(directory))?;
        let is_made = |name: &str| draft.is_image(name) || linux::file(name).is_some();
        draft.check(|name| is_made(name) || draft.user_file(name).is_some())?;
        Ok(draft)
    }

    fn generated(shown: &str, vm: Table) -> Result<Self> {
        let manifest = Table::from_iter([("vm".to_owned(), Value::Array(vec![vm.into()]))]);
        Self::parse(shown.to_owned(), manifest.to_string(), None)
    }

    fn parse(shown: String, text: String, directory: Option<PathBuf>) -> Result<Self> {
        let manifest = Manifest::parse(&text).map_err(|error| wrong(&error, &shown))?;
        Ok(Self { shown, text, manifest, directory, elsewhere: BTreeMap::new() })
    }

    /// The same with all Python files compiled to bytecode.
    pub fn compiled(&self, compiler: &Compiler) -> Result<Self> {
        let mut table: Table = self.text.parse().context("the manifest was good before")?;
        let mut elsewhere = self.elsewhere.clone();
        let vms = table.get_mut("vm").and_then(Value::as_array_mut);
        for vm in vms.into_iter().flatten().filter_map(Value::as_table_mut) {
            let add = |name, path| drop(elsewhere.insert(name, path));
            compiler.compile_vm(vm, |name| self.user_file(name), add)?;
        }
        let draft = Self::parse(self.shown.clone(), table.to_string(), self.directory.clone())?;
        Ok(Self { elsewhere, ..draft })
    }

    /// The finished bundle, with images from `products` where the user has none of that name.
    pub fn pack(&self, products: &Products) -> Result<Vec<u8>> {
        let find = |name: &str| {
            let product = || Some(products.guest(name)).filter(|path| self.is_image(name) && path.is_file());
            let made = || linux::file(name).filter(|path| path.is_file());
            self.user_file(name).or_else(product).or_else(made)
        };
        self.check(|name| find(name).is_some())?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, FILE_NAME, self.text.as_bytes())?;
        for name in self.file_names() {
            let path = find(name).with_context(|| format!("{name}: no such file"))?;
            let data = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            append(&mut archive, name, &data)?;
        }
        archive.into_inner().context("cannot make the bundle")
    }

    fn check(&self, exists: impl Fn(&str) -> bool) -> Result<(), Failure> {
        self.manifest.check_files(exists).map_err(|error| wrong(&error, &self.shown))
    }

    fn is_image(&self, name: &str) -> bool {
        self.manifest.vms.iter().any(|vm| vm.image.name == name)
    }

    fn user_file(&self, name: &str) -> Option<PathBuf> {
        let beside = || Some(self.directory.as_ref()?.join(name));
        self.elsewhere.get(name).cloned().or_else(beside).filter(|path| path.is_file())
    }

    fn file_names(&self) -> BTreeSet<&str> {
        self.manifest
            .vms
            .iter()
            .flat_map(VmConfig::bundle_files)
            .map(|(_, file)| file.name.as_str())
            .collect()
    }
}

fn wrong(error: &ManifestError, shown: &str) -> Failure {
    Failure::bad_input(error.in_file(shown).to_string())
}

fn vm(name: &str, image: &str, memory: Size) -> Table {
    Table::from_iter([
        ("name".to_owned(), Value::from(name)),
        ("machine".to_owned(), Value::from("tiny")),
        ("image".to_owned(), Value::from(image)),
        ("memory".to_owned(), Value::from(memory.to_string())),
    ])
}

fn linux_vm(name: &str, memory: Size) -> Table {
    let mut table = vm(name, &RELEASE.image(), memory);
    table.insert("machine".to_owned(), Value::from("virt"));
    table.insert("initrd".to_owned(), Value::from(RELEASE.initrd()));
    table
}

/// A word of the kernel's command line: the kernel takes quotes for what has spaces, and nothing for a quote.
fn kernel_word(word: &str) -> Result<String, Failure> {
    if word.contains('"') {
        return Err(Failure::bad_input(format!(
            "'{word}': a script's arguments on Linux cannot have quotation marks"
        )));
    }
    let is_plain = !word.is_empty() && !word.contains(char::is_whitespace);
    Ok(if is_plain { word.to_owned() } else { format!("\"{word}\"") })
}

fn python(name: &str, memory: Size, emit: &str) -> Table {
    let mut table = vm(name, PYTHON, memory);
    table.insert("emit".to_owned(), Value::from(emit));
    table
}

/// A name for the VM that runs `script`, of the characters that a manifest allows.
fn vm_name(script: &str) -> String {
    let stem = script.strip_suffix(".py").unwrap_or(script);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = stem.chars().map(allowed).take(LONGEST_NAME).collect();
    if name.is_empty() { "python".into() } else { name }
}

/// Adds a file in the ustar format, the same bytes every time.
fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    let bad_name =
        |error| Failure::bad_input(format!("a bundle cannot hold a file called '{name}': {error}"));
    header.set_path(name).map_err(bad_name)?;
    header.set_size(u64::try_from(data.len())?);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    archive.append(&header, data).with_context(|| format!("cannot add {name} to the bundle"))
}

/// Checks that `path` is a file that can be opened.
pub fn readable(path: &Path) -> Result<(), Failure> {
    let metadata = fs::File::open(path).and_then(|file| file.metadata());
    match metadata {
        Ok(metadata) if metadata.is_dir() => {
            Err(Failure::bad_input(format!("{}: is a directory", path.display())))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => error.to_string(),
    };
    Failure::bad_input(format!("{}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{BAD_INPUT, exit_code};
    use vmm::bundle::manifest::Emit;

    /// A directory with some files, and what was built.
    fn workspace(files: &[(&str, &str)]) -> (tempfile::TempDir, Products) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let products = directory.path().join("products");
        fs::create_dir(&products).unwrap();
        fs::write(products.join(PYTHON), "an ELF").unwrap();
        let products = Products::at(products);
        (directory, products)
    }

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        let error = result.unwrap_err();
        assert_eq!(exit_code(&error), BAD_INPUT, "{error}");
        error.to_string()
    }

    #[test]
    fn a_script_becomes_one_vm() {
        let (directory, products) = workspace(&[("it's \"a\".py", "print(1)")]);
        let args = ["-x".to_owned(), "a\nb\u{7f}".to_owned()];
        let draft =
            Draft::script(&directory.path().join("it's \"a\".py"), &args, Size::mib(4), "native").unwrap();
        let bytes = draft.pack(&products).unwrap();
        let bundle = vmm::bundle::Bundle::parse(&bytes).unwrap();
        let manifest = bundle.manifest().unwrap();
        let vm = &manifest.vms[0];
        assert_eq!(vm.name, "it_s__a_");
        assert_eq!(vm.args, ["it's \"a\".py", "-x", "a\nb\u{7f}"]);
        assert_eq!((vm.memory, vm.emit), (4 << 20, Emit::Native));
        assert_eq!(bundle.file(&vm.files["/it's \"a\".py"].name), Some(&b"print(1)"[..]));
        assert_eq!(bundle.file(PYTHON), Some(&b"an ELF"[..]));
    }

    #[test]
    fn the_repl_has_no_arguments() {
        let (_directory, products) = workspace(&[]);
        let bytes = Draft::repl(Size::mib(16), "bytecode").unwrap().pack(&products).unwrap();
        let manifest = vmm::bundle::Bundle::parse(&bytes).unwrap().manifest().unwrap();
        assert!(manifest.vms[0].args.is_empty());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (directory, products) = workspace(&[
            ("a.toml", "[[vm]]\nname = \"a\"\nimage = \"no.elf\"\nmemory = \"1MiB\"\n"),
            (
                "b.toml",
                "[[vm]]\nname = \"b\"\nimage = \"micropython.elf\"\nmemory = \"1MiB\"\nfiles = {\"/x\" = \"y.py\"}\n",
            ),
        ]);
        let path = |name| directory.path().join(name);
        assert!(
            message(Draft::script(&path("no.py"), &[], Size::mib(1), "bytecode"))
                .ends_with("no.py: no such file")
        );
        assert!(message(Draft::manifest(&path("no.toml"))).ends_with("no.toml: no such file"));
        assert!(message(Draft::manifest(directory.path())).ends_with("is a directory"));
        let unbuilt = message(Draft::manifest(&path("a.toml")).unwrap().pack(&products));
        assert!(unbuilt.contains("a.toml:3: ") && unbuilt.ends_with("no such file"), "{unbuilt}");
        let missing = message(Draft::manifest(&path("b.toml")));
        assert!(missing.contains("b.toml:5: ") && missing.ends_with("\"y.py\": no such file"), "{missing}");
    }

    #[test]
    fn a_wrong_manifest_is_named_with_its_line() {
        let (directory, _) = workspace(&[("c.toml", "[[vm]]\nnam = \"a\"\n")]);
        let error = message(Draft::manifest(&directory.path().join("c.toml")));
        assert!(error.contains("c.toml:2: "), "{error}");
    }
}
