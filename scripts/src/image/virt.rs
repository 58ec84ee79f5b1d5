//! A disk for U-Boot, which looks for `extlinux/extlinux.conf` in partitions that are marked active.

use super::{BUNDLE, Content, File, KERNEL};
use crate::setup;
use anyhow::Result;
use clap::Args;

/// Options of `image virt`.
#[derive(Debug, Args)]
pub(super) struct Virt {
    #[command(flatten)]
    content: Content,
}

impl Virt {
    pub(super) fn make(&self) -> Result<()> {
        let mut files = self.content.files(setup::Scope::Programs)?;
        files.push(File::new("extlinux/extlinux.conf", configuration(&self.content.bootargs)));
        self.content.write(files)
    }
}

/// Without a device tree named here, U-Boot passes on its own, which on QEMU is the board's.
fn configuration(bootargs: &str) -> String {
    let append = if bootargs.is_empty() { String::new() } else { format!("    append {bootargs}\n") };
    format!("default tinyvmm\nlabel tinyvmm\n    kernel /{KERNEL}\n    initrd /{BUNDLE}\n{append}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_appended_if_there_are_any() {
        assert!(configuration("").ends_with("initrd /bundle.tar\n"));
        assert!(configuration("loglevel=info").ends_with("    append loglevel=info\n"));
    }
}
