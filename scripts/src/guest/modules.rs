//! Drivers of a kernel's package for the initial RAM disk: modules, what they depend on, and the lists by which `modprobe`
//! finds them.

use crate::progress;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where modules are, in a directory for the kernel's version.
const DIRECTORY: &str = "usr/lib/modules";
/// The drivers. Those that a kernel has built in are in no file.
pub(super) const DRIVERS: [&str; 6] =
    ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "vmw_vsock_virtio_transport"];

/// Takes the drivers of the unpacked package in `kernel` over into `root`.
pub(super) fn install(kernel: &Path, root: &Path) -> Result<()> {
    let modules = kernel.join(DIRECTORY);
    let mut versions = fs::read_dir(&modules).with_context(|| format!("no {}", modules.display()))?;
    let version = versions.next().context("the kernel's package has no modules")??.file_name();
    let mut files = BTreeMap::new();
    find(&modules.join(&version), &mut files)?;
    let mut drivers = Drivers::default();
    DRIVERS.into_iter().try_for_each(|name| drivers.add(name, &files))?;
    drivers.write(&root.join(DIRECTORY).join(version))
}

/// Finds all modules below a directory, by their names.
fn find(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            // What is called with a hyphen in one place has an underscore in another.
            files.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

/// Modules by their names.
#[derive(Default)]
struct Drivers(BTreeMap<String, Vec<u8>>);

impl Drivers {
    /// Adds a module, if there is a file for it, and those that it depends on.
    fn add(&mut self, name: &str, files: &BTreeMap<String, PathBuf>) -> Result<()> {
        let Some(path) = files.get(name).filter(|_| !self.0.contains_key(name)) else { return Ok(()) };
        self.0.insert(name.to_owned(), content(path)?);
        self.needs(name).iter().try_for_each(|needed| self.add(needed, files))
    }

    /// What a module depends on.
    fn needs(&self, name: &str) -> Vec<String> {
        let lists = self.0.get(name).into_iter().flat_map(|content| values(content, "depends="));
        lists.flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// All that must be loaded before a module, what is last first.
    fn needs_of_all(&self, name: &str) -> Vec<String> {
        let needs = self.needs(name).into_iter().filter(|needed| self.0.contains_key(needed));
        needs.fold(Vec::new(), |mut all, needed| {
            let further = self.needs_of_all(&needed);
            all.retain(|other| *other != needed && !further.contains(other));
            all.push(needed);
            all.extend(further);
            all
        })
    }

    /// Writes them and their lists into a directory.
    fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        let (mut dependencies, mut aliases) = (String::new(), String::new());
        for (name, content) in &self.0 {
            fs::write(directory.join(file_name(name)), content)?;
            let needs: Vec<_> = self.needs_of_all(name).iter().map(|needed| file_name(needed)).collect();
            dependencies += &format!("{}: {}\n", file_name(name), needs.join(" "));
            aliases.extend(values(content, "alias=").map(|alias| format!("alias {alias} {name}\n")));
        }
        fs::write(directory.join("modules.dep"), dependencies)?;
        Ok(fs::write(directory.join("modules.alias"), aliases)?)
    }
}

fn file_name(module: &str) -> String {
    format!("{module}.ko")
}

/// A module as the kernel loads it.
fn content(path: &Path) -> Result<Vec<u8>> {
    match path.extension().is_some_and(|extension| extension == "xz") {
        true => progress::run("unpacking drivers", Command::new("xz").args(["-d", "-c"]).arg(path)),
        false => Ok(fs::read(path)?),
    }
}

/// What a module says of itself under this key: in a section of strings, each with a NUL at its end.
fn values<'a>(module: &'a [u8], key: &str) -> impl Iterator<Item = &'a str> {
    let texts = module.split(|byte| *byte == 0).filter_map(|text| text.strip_prefix(key.as_bytes()));
    texts.filter_map(|text| std::str::from_utf8(text).ok()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_come_with_what_they_depend_on() {
        let directory = tempfile::tempdir().unwrap();
        let [kernel, root] = ["kernel", "root"].map(|name| directory.path().join(name));
        let modules = kernel.join("usr/lib/modules/6.1/kernel");
        fs::create_dir_all(modules.join("net")).unwrap();
        let write =
            |name: &str, says: &str| fs::write(modules.join(name), format!("\x7fELF\0{says}\0")).unwrap();
        write("net/virtio_net.ko", "alias=virtio:d00000001v*\0depends=net_failover,built_in");
        write("net/net_failover.ko", "depends=failover");
        write("net/failover.ko", "depends=");
        write("virtio-rng.ko", "depends=");
        write("unwanted.ko", "depends=");
        install(&kernel, &root).unwrap();
        let installed = root.join("usr/lib/modules/6.1");
        let read = |name: &str| fs::read_to_string(installed.join(name)).unwrap();
        let dependencies = "failover.ko: \nnet_failover.ko: failover.ko\n\
                            virtio_net.ko: net_failover.ko failover.ko\nvirtio_rng.ko: \n";
        assert_eq!(read("modules.dep"), dependencies);
        assert_eq!(read("modules.alias"), "alias virtio:d00000001v* virtio_net\n");
        assert!(read("virtio_rng.ko").starts_with("\x7fELF"));
        assert!(!installed.join("unwanted.ko").exists());
    }
}
