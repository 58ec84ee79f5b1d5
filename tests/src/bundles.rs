//! Bundles that are wrong: each is refused with a message and exit code 2, and no VM runs.

use anyhow::Result;
use libtest_mimic::Trial;

use crate::boot::{Vm, archive, built, bundle, run_bundle};
use crate::test;

/// What the VM prints that must not run.
const RAN: &str = "witness 1";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("bundle::truncated_archive", truncated_archive),
        test("bundle::damaged_archive", || refused(&[0x55; 4096], &["bundle: "])),
        test("bundle::link", link),
        test("bundle::no_manifest", || {
            refused(&archive(&[("a".into(), b"x".into())])?, &["no file 'tinyvmm.toml' in the archive"])
        }),
        test("bundle::manifest_is_not_toml", || {
            refused(&with_manifest("[[vm]\nname = 1\n")?, &["tinyvmm.toml:1: "])
        }),
        test("bundle::unknown_key", || {
            refused(
                &with_manifest("[[vm]]\nmemroy = \"1MiB\"\n")?,
                &["tinyvmm.toml:2: memroy: unknown key", "memory"],
            )
        }),
        test("bundle::missing_file", missing_file),
        test("bundle::duplicate_name", || {
            let bundle = bundle(&[Vm::new("a", "witness.elf"), Vm::new("a", "witness.elf")])?;
            refused(&bundle, &["tinyvmm.toml:", "name = \"a\"", "another VM has this name"])
        }),
        test("bundle::more_memory_than_the_board", || {
            let bundle =
                bundle(&[Vm::new("first", "witness.elf"), Vm::new("big", "witness.elf").memory("2GiB")])?;
            refused(&bundle, &["vm 'big'", "memory"])
        }),
        test("bundle::affinity_to_a_core_that_is_not_there", || {
            let vm = "[[vm]]\nname = \"a\"\nimage = \"witness.elf\"\nmemory = \"1MiB\"\naffinity = [0, 7]\n";
            let files = [("tinyvmm.toml".into(), vm.into()), ("witness.elf".into(), built("witness.elf")?)];
            refused(&archive(&files)?, &["tinyvmm.toml:5: vm 'a': affinity = 7"])
        }),
        test("image::larger_than_memory", || {
            refused(&with_image(&vec![0; 1 << 20])?, &["vm 'bad'", "too large"])
        }),
        test("image::empty", || refused(&with_image(b"")?, &["vm 'bad'", "empty"])),
        test("image::foreign_elf", foreign_elf),
        test("image::truncated_elf", truncated_elf),
        test("image::segment_outside_memory", segment_outside_memory),
    ]
}

fn refused(bundle: &[u8], messages: &[&str]) -> Result<()> {
    let console = run_bundle(bundle)?;
    console.ends_with(2)?.lacks(RAN)?.shows("[tinyvmm error]")?;
    messages.iter().try_for_each(|message| console.shows(message).map(drop))
}

fn with_manifest(text: &str) -> Result<Vec<u8>> {
    archive(&[("tinyvmm.toml".into(), text.into())])
}

/// A good VM, then one with `image`.
fn with_image(image: &[u8]) -> Result<Vec<u8>> {
    let vm =
        |name: &str, image: &str| format!("[[vm]]\nname = {name:?}\nimage = {image:?}\nmemory = \"1MiB\"\n");
    archive(&[
        ("tinyvmm.toml".into(), (vm("good", "witness.elf") + &vm("bad", "image")).into()),
        ("witness.elf".into(), built("witness.elf")?),
        ("image".into(), image.into()),
    ])
}

fn truncated_archive() -> Result<()> {
    let mut bundle = bundle(&[Vm::new("a", "witness.elf")])?;
    bundle.truncate(bundle.len() - 4096);
    refused(&bundle, &["bundle: entry 'witness.elf'", "beyond the archive"])
}

fn link() -> Result<()> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "tinyvmm.toml", "elsewhere")?;
    refused(&archive.into_inner()?, &["bundle: entry 'tinyvmm.toml' is not a plain file"])
}

fn missing_file() -> Result<()> {
    let manifest = "[[vm]]\nname = \"a\"\nimage = \"a.elf\"\nmemory = \"1MiB\"\n";
    refused(&with_manifest(manifest)?, &["tinyvmm.toml:3: vm 'a': image = \"a.elf\": no such file"])
}

fn foreign_elf() -> Result<()> {
    let mut image = built("witness.elf")?;
    // e_machine, a little-endian half word: 62 is x86-64.
    image[18..20].copy_from_slice(&[62, 0]);
    refused(&with_image(&image)?, &["vm 'bad'", "e_machine is 62 and not 183"])
}

fn truncated_elf() -> Result<()> {
    let image = built("witness.elf")?;
    refused(&with_image(&image[..image.len() / 2])?, &["vm 'bad'", "truncated ELF"])
}

fn segment_outside_memory() -> Result<()> {
    let mut image = built("witness.elf")?;
    // The p_paddr of the second program header: they have 56 bytes and follow the ELF header of 64.
    image[64 + 56 + 24..64 + 56 + 32].copy_from_slice(&0x4008_0000_u64.to_le_bytes());
    refused(&with_image(&image)?, &["vm 'bad'", "too large: it reaches up to 0x40"])
}
