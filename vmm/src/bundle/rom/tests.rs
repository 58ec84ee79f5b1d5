use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};

use proptest::prelude::*;

use super::*;

/// Reads an image back as the format's description says, without what the writer knows of its own
/// habits: every file by its path, with the offset of its data.
fn read(image: &[u8]) -> BTreeMap<String, (usize, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let (kind, payload, end) = record(image, 0);
    assert_eq!((kind, end), (0x14_A6B1, image.len()), "one record of kind ROMFS is the whole image");
    assert_eq!(image.len() % 2, 0);
    read_directory(image, payload, end, "", &mut files);
    files
}

fn read_directory(
    image: &[u8],
    mut at: usize,
    end: usize,
    path: &str,
    files: &mut BTreeMap<String, (usize, Vec<u8>)>,
) {
    while at < end {
        let (kind, payload, next) = record(image, at);
        assert!(next <= end);
        match kind {
            1 => {}
            4 | 5 => {
                let (length, name) = varuint(image, payload);
                let path = format!("{path}/{}", str::from_utf8(&image[name..name + length]).unwrap());
                match kind {
                    4 => read_directory(image, name + length, next, &path, files),
                    _ => assert!(files.insert(path, read_data(image, name + length, next)).is_none()),
                }
            }
            _ => panic!("record of kind {kind} at {at}"),
        }
        at = next;
    }
    assert_eq!(at, end);
}

fn read_data(image: &[u8], at: usize, end: usize) -> (usize, Vec<u8>) {
    let (kind, payload, next) = record(image, at);
    assert_eq!((kind, next), (2, end));
    (payload, image[payload..end].to_owned())
}

/// Kind of the record at `at`, where its payload starts, where the record ends.
fn record(image: &[u8], at: usize) -> (usize, usize, usize) {
    let (kind, at) = varuint(image, at);
    let (length, payload) = varuint(image, at);
    (kind, payload, payload + length)
}

fn varuint(image: &[u8], mut at: usize) -> (usize, usize) {
    let mut value = 0;
    loop {
        value = value << 7 | usize::from(image[at] & 0x7F);
        at += 1;
        if image[at - 1] & 0x80 == 0 {
            return (value, at);
        }
    }
}

fn image(files: &[(&str, &[u8])]) -> Vec<u8> {
    let rom = RomFs::new(files.iter().copied().collect::<BTreeMap<_, _>>()).unwrap();
    let mut out = vec![0xEE; rom.len()];
    rom.write_to(&mut out, |_| {});
    out
}

#[track_caller]
fn check(files: &[(&str, &[u8])]) {
    let image = image(files);
    assert!(image.starts_with(b"\xD2\xCD1"));
    let found = read(&image);
    assert_eq!(found.len(), files.len());
    for (path, data) in files {
        let (offset, found) = &found[*path];
        assert_eq!(&found, data, "{path}");
        assert_eq!(offset % DATA_ALIGNMENT, 0, "{path}");
    }
}

#[test]
fn no_files_at_all() {
    check(&[]);
}

#[test]
fn files_in_the_root() {
    check(&[("/hello.py", b"print('hi')\n"), ("/empty", b""), ("/a", &[0xFF; 300])]);
}

#[test]
fn directories_beside_files_of_similar_names() {
    check(&[("/a/y", b"1"), ("/a-b", b"2"), ("/a/x/deep/er", b"3"), ("/a/x/z", b"4"), ("/b/a/x", b"5")]);
}

#[test]
fn each_directory_is_there_once() {
    let image = image(&[("/d/a", b""), ("/d/e/b", b""), ("/d/f", b"")]);
    assert_eq!(image.windows(9).filter(|window| window == b"\x80\x80\x01d\x05\x80\x80\x80\x0A").count(), 1);
}

#[test]
fn a_short_buffer_gets_what_fits() {
    let rom = RomFs::new([("/a", &b"data"[..])]).unwrap();
    rom.write_to(&mut [], |_| {});
    let mut short = vec![0; rom.len() / 2];
    rom.write_to(&mut short, |_| {});
    assert!(short.starts_with(b"\xD2\xCD1"));
}

#[test]
fn too_much_is_an_error() {
    let data = vec![0; 1 << 20];
    let paths: Vec<String> = (0..256).map(|n| format!("/{n}")).collect();
    let error = RomFs::new(paths.iter().map(|path| (&**path, &*data))).unwrap_err();
    assert!(error.to_string().starts_with("files: 26844"), "{error}");
    assert!(RomFs::new(paths.iter().skip(1).map(|path| (&**path, &*data))).is_ok());
}

proptest! {
    #[test]
    fn what_is_written_is_read(files in prop::collection::btree_map("(/[a-c]{1,2}){0,3}/[x-z-]{1,3}", prop::collection::vec(any::<u8>(), 0..200), 0..12)) {
        let list: Vec<(&str, &[u8])> = files.iter().map(|(path, data)| (&**path, &**data)).collect();
        check(&list);
    }

    #[test]
    fn any_paths_are_survived(paths in prop::collection::vec(any::<String>(), 0..5)) {
        let _ = image(&paths.iter().map(|path| (&**path, &b"x"[..])).collect::<Vec<_>>());
    }
}
