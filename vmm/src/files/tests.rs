use super::*;
use crate::memory::frames::{FrameBlock, tests::frames};
use alloc::{collections::BTreeMap, string::String, vec};
use proptest::prelude::*;
use tinyvmm_abi::files::{
    OPEN_APPEND, OPEN_CREATE, OPEN_EXCLUSIVE, OPEN_READ, OPEN_TRUNCATE, OPEN_WRITE, SEEK_CUR, SEEK_END,
    SEEK_SET, SIZE_MAX,
};

const QUOTA: u64 = 40 * PAGE;
const ROM_FILES: [(&str, &[u8]); 3] =
    [("/main.py", b"print(1)"), ("/lib/a.py", b"a = 1"), ("/lib/deep/b", b"")];

/// A file system with a few files of the bundle.
fn system() -> FileSystem {
    let frames = frames(64);
    let mut block = FrameBlock::zeroed(frames, PAGE).unwrap();
    let (mut starts, mut end) = (Vec::new(), 0);
    for (_, data) in ROM_FILES {
        block.as_mut_slice()[end..end + data.len()].copy_from_slice(data);
        starts.push(end as u64);
        end += data.len();
    }
    let rom = Rom { blocks: vec![Arc::new(block)], length: end as u64, starts };
    let files = ROM_FILES.iter().map(|(path, data)| (*path, data.len() as u64));
    FileSystem::new(frames, QUOTA, Some(Arc::new(rom)), files).unwrap()
}

fn write(files: &mut FileSystem, file: u64, bytes: &[u8]) -> Result<u64, Error> {
    let mut rest = bytes;
    files.write(file, bytes.len() as u64, 7, |piece| {
        let (now, later) = rest.split_at(piece.len());
        piece.copy_from_slice(now);
        rest = later;
    })
}

fn read(files: &mut FileSystem, file: u64, len: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let count = files.read(file, len, |piece| bytes.extend_from_slice(piece))?;
    assert_eq!(count, bytes.len() as u64);
    Ok(bytes)
}

fn put(files: &mut FileSystem, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let file = files.open(path.as_bytes(), OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE, 5)?;
    let written = write(files, file, bytes);
    files.close(file)?;
    written.and_then(|count| if count == bytes.len() as u64 { Ok(()) } else { Err(Error::NoSpace) })
}

fn get(files: &mut FileSystem, path: &str) -> Result<Vec<u8>, Error> {
    let file = files.open(path.as_bytes(), OPEN_READ, 5)?;
    let bytes = read(files, file, SIZE_MAX);
    files.close(file)?;
    bytes
}

fn list(files: &mut FileSystem, path: &str) -> Result<Vec<String>, Error> {
    let directory = files.open(path.as_bytes(), OPEN_READ, 5)?;
    let mut names = Vec::new();
    while let Some(entry) = files.next_entry(directory)? {
        let name = &entry.name[..usize::try_from(entry.name_length).unwrap()];
        names.push(String::from_utf8(name.to_vec()).unwrap());
    }
    files.close(directory)?;
    names.sort();
    Ok(names)
}

#[test]
fn the_files_of_the_bundle_are_there_and_stay() {
    let mut files = system();
    for (path, data) in ROM_FILES {
        assert_eq!(get(&mut files, path).unwrap(), data);
        assert_eq!(files.open(path.as_bytes(), OPEN_WRITE, 0), Err(Error::ReadOnly));
        assert_eq!(files.remove(path.as_bytes(), false), Err(Error::ReadOnly));
        assert_eq!(files.rename(path.as_bytes(), b"/other"), Err(Error::ReadOnly));
        let status = files.status(path.as_bytes()).unwrap();
        assert_eq!((status.kind, status.read_only, status.size), (KIND_FILE, 1, data.len() as u64));
    }
    assert_eq!(files.remove(b"/lib", true), Err(Error::ReadOnly));
    put(&mut files, "/lib/deep/c", b"new").unwrap();
    assert_eq!(files.rename(b"/lib/deep/c", b"/main.py"), Err(Error::ReadOnly));
    assert_eq!(list(&mut files, "/lib/deep").unwrap(), ["b", "c"]);
    assert_eq!(list(&mut files, "/").unwrap(), ["lib", "main.py"]);
    assert_eq!(get(&mut files, "/lib/deep/c").unwrap(), b"new");
}

#[test]
fn paths_that_lead_nowhere_are_told_apart() {
    let mut files = system();
    put(&mut files, "/a", b"").unwrap();
    for (path, error) in [
        ("/none", Error::NotFound),
        ("/none/b", Error::NotFound),
        ("/a/b", Error::NotDirectory),
        ("", Error::Invalid),
        ("a", Error::Invalid),
        ("/.", Error::Invalid),
        ("/lib/../a", Error::Invalid),
        ("/a\0", Error::Invalid),
    ] {
        assert_eq!(files.status(path.as_bytes()), Err(error), "{path:?}");
    }
    let long = |length| alloc::format!("/{}", "x".repeat(length));
    assert_eq!(put(&mut files, &long(256), b""), Err(Error::NameTooLong));
    put(&mut files, &long(255), b"1").unwrap();
    assert_eq!(get(&mut files, &long(255)).unwrap(), b"1");
    assert_eq!(get(&mut files, "//lib//a.py/").unwrap(), b"a = 1");
}

#[test]
fn modes_are_kept_apart() {
    let mut files = system();
    for flags in [0, OPEN_CREATE, OPEN_READ | OPEN_APPEND, OPEN_WRITE | OPEN_EXCLUSIVE, 1 << 6 | OPEN_READ] {
        assert_eq!(files.open(b"/a", flags, 0), Err(Error::Invalid), "{flags:#x}");
    }
    assert_eq!(files.open(b"/a", OPEN_WRITE, 0), Err(Error::NotFound));
    let a = files.open(b"/a", OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE, 0).unwrap();
    assert_eq!(files.open(b"/a", OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE, 0), Err(Error::Exists));
    assert_eq!(read(&mut files, a, 1), Err(Error::NotOpen));
    let b = files.open(b"/a", OPEN_READ, 0).unwrap();
    assert_eq!(write(&mut files, b, b"x"), Err(Error::NotOpen));
    assert_eq!(files.truncate(b, 0, 0), Err(Error::NotOpen));
    assert_eq!(files.open(b"/lib", OPEN_READ | OPEN_WRITE, 0), Err(Error::IsDirectory));
    let lib = files.open(b"/lib", OPEN_READ, 0).unwrap();
    assert_eq!(read(&mut files, lib, 1), Err(Error::IsDirectory));
    assert_eq!(files.next_entry(b), Err(Error::NotDirectory));
    for file in [a, b, lib] {
        files.close(file).unwrap();
        assert_eq!(files.close(file), Err(Error::NotOpen));
    }
    assert_eq!(files.close(u64::MAX), Err(Error::NotOpen));
    for _ in 0..OPEN_MAX {
        files.open(b"/a", OPEN_READ, 0).unwrap();
    }
    assert_eq!(files.open(b"/a", OPEN_READ, 0), Err(Error::TooManyOpen));
}

#[test]
fn positions_holes_and_sizes() {
    let mut files = system();
    let file = files.open(b"/a", OPEN_READ | OPEN_WRITE | OPEN_CREATE, 0).unwrap();
    assert_eq!(files.seek(file, 10_000, SEEK_SET), Ok(10_000));
    assert_eq!(write(&mut files, file, b"end"), Ok(3));
    assert_eq!(files.seek(file, -4, SEEK_END), Ok(9_999));
    assert_eq!(read(&mut files, file, 100).unwrap(), b"\0end");
    assert_eq!(files.seek(file, -1, SEEK_CUR), Ok(10_002));
    assert_eq!(files.seek(file, -1, SEEK_SET), Err(Error::Invalid));
    assert_eq!(files.seek(file, i64::MAX, SEEK_CUR), Err(Error::Invalid));
    assert_eq!(files.seek(file, 0, 3), Err(Error::Invalid));
    // What was cut off does not come back.
    files.truncate(file, 10_001, 0).unwrap();
    files.truncate(file, 20_000, 9).unwrap();
    files.seek(file, 10_000, SEEK_SET).unwrap();
    let rest = read(&mut files, file, SIZE_MAX).unwrap();
    assert!(rest.len() == 10_000 && rest[0] == b'e' && rest[1..].iter().all(|byte| *byte == 0));
    // Far out.
    files.seek(file, (SIZE_MAX - 1).cast_signed(), SEEK_SET).unwrap();
    assert_eq!(write(&mut files, file, b"xy"), Ok(1));
    assert_eq!(write(&mut files, file, b"y"), Err(Error::NoSpace));
    let status = files.status(b"/a").unwrap();
    assert_eq!((status.size, status.modified), (SIZE_MAX, 7));
    files.close(file).unwrap();
    files.remove(b"/a", false).unwrap();
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut files = system();
    put(&mut files, "/a", b"old").unwrap();
    let file = files.open(b"/a", OPEN_READ, 0).unwrap();
    files.remove(b"/a", false).unwrap();
    put(&mut files, "/b", b"other").unwrap();
    files.rename(b"/b", b"/a").unwrap();
    assert_eq!(read(&mut files, file, 9).unwrap(), b"old");
    assert_eq!(get(&mut files, "/a").unwrap(), b"other");
    let free = files.space().nodes_free;
    files.close(file).unwrap();
    assert_eq!(files.space().nodes_free, free + 1);
}

#[test]
fn a_listing_goes_on_while_entries_go() {
    let mut files = system();
    files.make_directory(b"/d", 0).unwrap();
    for index in 0..10 {
        put(&mut files, &alloc::format!("/d/{index}"), b"").unwrap();
    }
    let directory = files.open(b"/d", OPEN_READ, 0).unwrap();
    let mut seen = 0;
    while let Some(entry) = files.next_entry(directory).unwrap() {
        let name = alloc::format!("/d/{}", char::from(entry.name[0]));
        files.remove(name.as_bytes(), false).unwrap();
        seen += 1;
    }
    assert_eq!((seen, files.remove(b"/d", true)), (10, Ok(())));
    assert_eq!(files.next_entry(directory), Ok(None));
}

#[test]
fn a_full_file_system_says_so_and_loses_nothing() {
    let mut files = system();
    put(&mut files, "/kept", &[1; 5000]).unwrap();
    let before = files.space();
    assert_eq!(put(&mut files, "/large", &[2; 50 * 4096]), Err(Error::NoSpace));
    assert_eq!(files.space().blocks_free, 0);
    assert_eq!(put(&mut files, "/more", b"x"), Err(Error::NoSpace));
    assert_eq!(get(&mut files, "/kept").unwrap(), [1; 5000]);
    let large = get(&mut files, "/large").unwrap();
    assert!(large.len() > 30 * 4096 && large.iter().all(|byte| *byte == 2));
    files.remove(b"/large", false).unwrap();
    let _ = files.remove(b"/more", false);
    assert_eq!(files.space(), before);
    // Pages that come back are clean.
    let file = files.open(b"/hole", OPEN_READ | OPEN_WRITE | OPEN_CREATE, 0).unwrap();
    files.seek(file, 4095, SEEK_SET).unwrap();
    write(&mut files, file, b"x").unwrap();
    assert!(get(&mut files, "/hole").unwrap()[..4095].iter().all(|byte| *byte == 0));
}

#[test]
fn there_is_an_end_to_names() {
    let frames = frames(512);
    let mut files = FileSystem::new(frames, 500 * PAGE, None, core::iter::empty()).unwrap();
    for index in 0..NODES_MAX {
        files.make_directory(alloc::format!("/{index}").as_bytes(), 0).unwrap();
    }
    assert_eq!(files.make_directory(b"/x", 0), Err(Error::NoSpace));
    files.remove(b"/77", true).unwrap();
    assert_eq!(files.make_directory(b"/x", 0), Ok(()));
    drop(files);
    assert_eq!(frames.used(), 0);
}

/// What a file system is, in the simplest terms: paths, and bytes for files.
type Model = BTreeMap<String, Option<Vec<u8>>>;

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

/// The error for a path whose last name need not be there.
fn model_check(model: &Model, path: &str) -> Result<(), Error> {
    match parent(path) {
        "" => Ok(()),
        directory => match model.get(directory) {
            Some(None) => Ok(()),
            Some(Some(_)) => Err(Error::NotDirectory),
            None => model_check(model, directory).and(Err(Error::NotFound)),
        },
    }
}

fn model_has_children(model: &Model, path: &str) -> bool {
    model.keys().any(|other| parent(other) == path)
}

/// Whether what is at `path` can give way to a file or to a directory.
fn model_replaceable(model: &Model, path: &str, directory: bool) -> Result<(), Error> {
    match (model.get(path), directory) {
        (None, _) | (Some(Some(_)), false) => Ok(()),
        (Some(Some(_)), true) => Err(Error::NotDirectory),
        (Some(None), false) => Err(Error::IsDirectory),
        (Some(None), true) if model_has_children(model, path) => Err(Error::NotEmpty),
        (Some(None), true) => Ok(()),
    }
}

fn model_put(model: &mut Model, path: &str, at: usize, bytes: &[u8]) -> Result<(), Error> {
    model_check(model, path)?;
    let content = model.entry(path.into()).or_insert(Some(Vec::new())).as_mut().ok_or(Error::IsDirectory)?;
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn model_rename(model: &mut Model, from: &str, to: &str) -> Result<(), Error> {
    model_check(model, from)?;
    let node = model.get(from).cloned().ok_or(Error::NotFound)?;
    model_check(model, to)?;
    if from == to {
        return Ok(());
    }
    if to.starts_with(&alloc::format!("{from}/")) {
        return Err(Error::Invalid);
    }
    model_replaceable(model, to, node.is_none())?;
    model.remove(to);
    let moved: Vec<String> = model
        .keys()
        .filter(|path| *path == from || path.starts_with(&alloc::format!("{from}/")))
        .cloned()
        .collect();
    for path in moved {
        let value = model.remove(&path).unwrap();
        model.insert(alloc::format!("{to}{}", &path[from.len()..]), value);
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Action {
    MakeDirectory(String),
    Put(String, usize, Vec<u8>),
    Append(String, Vec<u8>),
    Truncate(String, usize),
    Remove(String, bool),
    Rename(String, String),
}

/// Paths of few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.into_iter().map(|name| alloc::format!("/{name}")).collect())
}

fn action() -> impl Strategy<Value = Action> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..3000);
    prop_oneof![
        3 => path().prop_map(Action::MakeDirectory),
        3 => (path(), 0..6000_usize, bytes()).prop_map(|(path, at, bytes)| Action::Put(path, at, bytes)),
        1 => (path(), bytes()).prop_map(|(path, bytes)| Action::Append(path, bytes)),
        1 => (path(), 0..9000_usize).prop_map(|(path, size)| Action::Truncate(path, size)),
        1 => (path(), any::<bool>()).prop_map(|(path, directory)| Action::Remove(path, directory)),
        2 => (path(), path()).prop_map(|(from, to)| Action::Rename(from, to)),
    ]
}

fn act(files: &mut FileSystem, action: &Action) -> Result<(), Error> {
    let with_file = |files: &mut FileSystem, path: &str, flags, act: &dyn Fn(&mut FileSystem, u64)| {
        let file = files.open(path.as_bytes(), OPEN_WRITE | flags, 0)?;
        act(files, file);
        files.close(file)
    };
    match action {
        Action::MakeDirectory(path) => files.make_directory(path.as_bytes(), 0),
        Action::Put(path, at, bytes) => with_file(files, path, OPEN_CREATE, &|files, file| {
            files.seek(file, i64::try_from(*at).unwrap(), SEEK_SET).unwrap();
            assert_eq!(write(files, file, bytes), Ok(bytes.len() as u64));
        }),
        Action::Append(path, bytes) => with_file(files, path, OPEN_CREATE | OPEN_APPEND, &|files, file| {
            assert_eq!(write(files, file, bytes), Ok(bytes.len() as u64));
        }),
        Action::Truncate(path, size) => with_file(files, path, 0, &|files, file| {
            files.truncate(file, *size as u64, 0).unwrap();
        }),
        Action::Remove(path, directory) => files.remove(path.as_bytes(), *directory),
        Action::Rename(from, to) => files.rename(from.as_bytes(), to.as_bytes()),
    }
}

fn act_on_model(model: &mut Model, action: &Action) -> Result<(), Error> {
    match action {
        Action::MakeDirectory(path) => {
            model_check(model, path)?;
            if model.contains_key(path) {
                return Err(Error::Exists);
            }
            model.insert(path.clone(), None);
            Ok(())
        }
        Action::Put(path, _, bytes) if bytes.is_empty() => model_put(model, path, 0, bytes),
        Action::Put(path, at, bytes) => model_put(model, path, *at, bytes),
        Action::Append(path, bytes) => {
            let end = model.get(path).and_then(Option::as_ref).map_or(0, Vec::len);
            model_put(model, path, end, bytes)
        }
        Action::Truncate(path, size) => {
            model_check(model, path)?;
            let content = model.get_mut(path).ok_or(Error::NotFound)?.as_mut().ok_or(Error::IsDirectory)?;
            content.resize(*size, 0);
            Ok(())
        }
        Action::Remove(path, directory) => {
            model_check(model, path)?;
            if !model.contains_key(path) {
                return Err(Error::NotFound);
            }
            model_replaceable(model, path, *directory)?;
            model.remove(path);
            Ok(())
        }
        Action::Rename(from, to) => model_rename(model, from, to),
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(actions in prop::collection::vec(action(), 1..60)) {
        let frames = frames(1024);
        let mut files = FileSystem::new(frames, 1000 * PAGE, None, core::iter::empty()).unwrap();
        let mut model = Model::new();
        for action in &actions {
            prop_assert_eq!(act(&mut files, action), act_on_model(&mut model, action), "{:?}", action);
        }
        for (path, content) in &model {
            let names: Vec<String> = match content {
                Some(bytes) => {
                    prop_assert_eq!(&get(&mut files, path).unwrap(), bytes);
                    continue;
                }
                None => model.keys().filter(|other| parent(other) == path).map(|other| other[path.len() + 1..].into()),
            }.collect();
            prop_assert_eq!(list(&mut files, path).unwrap(), names);
        }
        // All of it comes back: the pages that are left are those of the nodes.
        for path in model.keys().rev() {
            files.remove(path.as_bytes(), model[path].is_none()).unwrap();
        }
        let space = files.space();
        prop_assert_eq!(space.nodes_free, space.nodes);
        prop_assert!(space.blocks - space.blocks_free <= 7, "{:?}", space);
        drop(files);
        prop_assert_eq!(frames.used(), 0);
    }

    /// Whatever numbers a guest passes, there is an answer.
    #[test]
    fn no_numbers_do_harm(numbers in prop::collection::vec(any::<[u64; 3]>(), 1..20), small in any::<bool>()) {
        let mut files = system();
        let _ = files.open(b"/a", OPEN_READ | OPEN_WRITE | OPEN_CREATE, 0);
        for [a, b, c] in numbers {
            let file = if small { a % 2 } else { a };
            let _ = files.seek(file, b.cast_signed() >> (c % 64), c % 4);
            let _ = files.truncate(file, b >> (c % 64), 0);
            let _ = files.write(file, b % 10_000, 0, |piece| piece.fill(1));
            let _ = files.read(file, b % 10_000, |_| {});
            let _ = files.open(b"/a", c, 0);
            let _ = files.next_entry(file);
        }
    }
}
