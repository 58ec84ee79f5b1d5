use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;

const MANIFEST: &str = "[[vm]]\nname = \"a\"\nimage = \"a.bin\"\nmemory = \"1MiB\"\n";

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        builder.append(&header(name, EntryType::Regular, data.len()), *data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A header with `name` as it is: the `tar` crate's own function would tidy it up.
fn header(name: &str, kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size.try_into().unwrap());
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    header
}

fn error(bytes: &[u8]) -> String {
    Bundle::parse(bytes).unwrap_err().to_string()
}

#[test]
fn finds_files_by_name() {
    let bytes = archive(&[("a", b"1"), ("./dir/b", &[7; 513]), ("empty", b"")]);
    let bundle = Bundle::parse(&bytes).unwrap();
    assert_eq!(bundle.file("a"), Some(&b"1"[..]));
    assert_eq!(bundle.file("dir/b"), Some(&[7; 513][..]));
    assert_eq!(bundle.file("./dir/b"), bundle.file("dir/b"));
    assert_eq!(bundle.file("empty"), Some(&b""[..]));
    assert_eq!(bundle.file("b"), None);
}

#[test]
fn the_later_file_of_one_name_counts() {
    let bytes = archive(&[("a", b"old"), ("./a", b"new")]);
    assert_eq!(Bundle::parse(&bytes).unwrap().file("a"), Some(&b"new"[..]));
}

#[test]
fn joins_the_two_parts_of_a_long_name() {
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(90));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_ustar();
    header.set_path(&name).unwrap();
    header.set_size(2);
    header.set_cksum();
    builder.append(&header, &b"ok"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    assert_eq!(Bundle::parse(&bytes).unwrap().file(&name), Some(&b"ok"[..]));
}

#[test]
fn skips_directories_and_padding() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header("./", EntryType::Directory, 0), &b""[..]).unwrap();
    builder.append(&header("./a", EntryType::Regular, 1), &b"x"[..]).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.resize(bytes.len() + 1000, 0);
    let bundle = Bundle::parse(&bytes).unwrap();
    assert_eq!(bundle.files.len(), 1);
    assert_eq!(bundle.file("a"), Some(&b"x"[..]));
}

#[test]
fn truncation_names_the_entry() {
    let bytes = archive(&[("first", &[1; 600]), ("second", &[2; 600])]);
    for length in [2048, 2100, 3000, 3071] {
        assert_eq!(
            error(&bytes[..length]),
            "bundle: entry 'second': payload described by header at block 3 extends beyond the archive",
            "{length} bytes"
        );
    }
    assert!(error(&bytes[..3072]).contains("two zero blocks"));
    assert!(error(&bytes[..1535]).contains("'first'"));
    assert!(error(&[]).contains("not a tar archive"));
}

#[test]
fn damage_names_the_entry() {
    let mut bytes = archive(&[("first", b"1"), ("second", b"2")]);
    bytes[1024 + 110] ^= 1;
    assert_eq!(error(&bytes), "bundle: entry 'second': header at block 2 has an invalid checksum");
    assert_eq!(error(&[0x7F; 4096]), "bundle: not a tar archive, or a compressed one");
}

#[test]
fn kinds_of_other_formats_are_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header("././@LongLink", EntryType::GNULongName, 4), &b"name"[..]).unwrap();
    let message = error(&builder.into_inner().unwrap());
    assert!(
        message.starts_with("bundle: entry '././@LongLink' is of an unknown kind: make the"),
        "{message}"
    );
}

#[test]
fn links_are_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header("link", EntryType::Symlink, 0), &b""[..]).unwrap();
    let message = error(&builder.into_inner().unwrap());
    assert!(message.starts_with("bundle: entry 'link' is not a plain file"), "{message}");
}

#[test]
fn odd_names_are_escaped_in_messages() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = header("x", EntryType::Regular, 0);
    header.as_old_mut().name[..3].copy_from_slice(b"\x1B[\xFF");
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let message = error(&builder.into_inner().unwrap());
    assert_eq!(message, "bundle: entry '\\x1b[\\xff': its name is not UTF-8");
}

#[test]
fn the_manifest_needs_its_files() {
    let bytes = archive(&[("tinyvmm.toml", MANIFEST.as_bytes()), ("a.bin", b"code")]);
    assert_eq!(Bundle::parse(&bytes).unwrap().manifest().unwrap().vms.len(), 1);
    let bytes = archive(&[("tinyvmm.toml", MANIFEST.as_bytes())]);
    let message = Bundle::parse(&bytes).unwrap().manifest().unwrap_err().to_string();
    assert_eq!(message, "tinyvmm.toml:3: vm 'a': image = \"a.bin\": no such file");
}

#[test]
fn the_manifest_must_be_there_and_text() {
    let bytes = archive(&[("a.bin", b"code")]);
    let message = Bundle::parse(&bytes).unwrap().manifest().unwrap_err().to_string();
    assert_eq!(message, "bundle: no file 'tinyvmm.toml' in the archive");
    let bytes = archive(&[("tinyvmm.toml", b"a = \xFF")]);
    let message = Bundle::parse(&bytes).unwrap().manifest().unwrap_err().to_string();
    assert_eq!(message, "tinyvmm.toml: byte 4 is not UTF-8 text");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = Bundle::parse(&bytes);
    }

    #[test]
    fn any_damage_is_survived(at in 0..4096_usize, to: u8, fix_checksum: bool) {
        let mut bytes = archive(&[("tinyvmm.toml", MANIFEST.as_bytes()), ("a.bin", &[1; 700])]);
        let at = at % bytes.len();
        bytes[at] = to;
        if fix_checksum && (at / 512).is_multiple_of(2) {
            let block = at / 512 * 512;
            let mut header = Header::from_byte_slice(&bytes[block..block + 512]).clone();
            header.set_cksum();
            bytes[block..block + 512].copy_from_slice(header.as_bytes());
        }
        if let Ok(bundle) = Bundle::parse(&bytes) {
            let _ = bundle.manifest();
        }
    }

    #[test]
    fn files_come_back(files in prop::collection::btree_map("[a-z]{1,9}(/[a-z]{1,9}){0,2}", prop::collection::vec(any::<u8>(), 0..2000), 1..6)) {
        let list: Vec<(&str, &[u8])> = files.iter().map(|(name, data)| (&**name, &**data)).collect();
        let bytes = archive(&list);
        let bundle = Bundle::parse(&bytes).unwrap();
        for (name, data) in list {
            prop_assert_eq!(bundle.file(name), Some(data));
        }
    }

    #[test]
    fn any_truncation_is_an_error(length in 0..3072_usize) {
        let bytes = archive(&[("first", &[1; 600]), ("second", &[2; 600])]);
        prop_assert!(Bundle::parse(&bytes[..length]).is_err());
        let mut padded = vec![0; 8192];
        padded[..bytes.len()].copy_from_slice(&bytes);
        prop_assert!(Bundle::parse(&padded).is_ok());
    }
}
