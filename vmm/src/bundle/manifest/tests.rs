use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use proptest::prelude::*;

use super::*;

const FULL: &str = r#"
loglevel = "info"

[[vm]]
name = "hello"
machine = "tiny"
image = "micropython.elf"
memory = "1MiB"
vcpus = 1
args = ["hello.py", "-v"]
emit = "native"
priority = 9
[vm.files]
"/hello.py" = "hello.py"
"/lib/a.py" = "lib/a.py"

[[vm]]
name = "small"
image = "vm1.bin"
memory = "192 KiB"
vcpus = 2
entry = [0x1_0000, "0x20000"]
affinity = [3, 1]
restart = "on-failure"
storage = "64KiB"
autostart = false
capabilities = ["log", "control"]
disk = ["virtio7", "sd:1"]

[[vm]]
name = "board"
machine = "virt"
image = "Image"
memory = "256GiB"
vcpus = 8
args = ["console=ttyAMA0"]
restart = "always"
disk = "sd:2"
"#;

/// A manifest of one VM with `line` as its second line.
fn with(line: &str) -> String {
    format!("[[vm]]\n{line}\nname = \"a\"\nimage = \"i\"\nmemory = \"1MiB\"\n")
}

fn error(text: &str) -> String {
    match Manifest::parse(text) {
        Ok(manifest) => panic!("taken for good: {manifest:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(text: &str, message: &str) {
    assert_eq!(error(text), format!("tinyvmm.toml:{message}"));
}

#[test]
fn reads_every_key() {
    let manifest = Manifest::parse(FULL).unwrap();
    assert_eq!(manifest.loglevel, Some(LevelFilter::Info));
    let [hello, small, board] = &manifest.vms[..] else { panic!("{} VMs", manifest.vms.len()) };
    assert_eq!((hello.name.as_str(), hello.machine), ("hello", Machine::Tiny));
    assert_eq!((hello.memory, hello.vcpus, hello.priority), (1 << 20, 1, 9));
    assert_eq!(hello.args, ["hello.py", "-v"]);
    assert_eq!((hello.emit, small.emit), (Emit::Native, Emit::Bytecode));
    assert_eq!(hello.image.name, "micropython.elf");
    assert_eq!(hello.image.position, Position { line: 7, column: 9 });
    let files: Vec<_> = hello.files.iter().map(|(path, file)| (&**path, &*file.name)).collect();
    assert_eq!(files, [("/hello.py", "hello.py"), ("/lib/a.py", "lib/a.py")]);
    assert_eq!((hello.affinity, hello.restart, hello.entry.len()), (None, Restart::Never, 0));
    assert_eq!((small.memory, small.vcpus, small.priority), (192 << 10, 2, DEFAULT_PRIORITY));
    assert!(small.args.is_empty() && small.files.is_empty());
    assert_eq!((&*small.entry, small.restart), (&[0x1_0000, 0x2_0000][..], Restart::OnFailure));
    assert_eq!(small.affinity.unwrap().cores, 0b1010);
    assert_eq!((hello.storage, small.storage), (DEFAULT_STORAGE, 64 << 10));
    assert_eq!((hello.autostart, hello.capabilities), (true, Capabilities(0)));
    assert_eq!((small.autostart, small.capabilities), (false, Capabilities(0b11)));
    let disks = |vm: &VmConfig| vm.disks.iter().map(|disk| disk.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (hello.disks.len(), disks(small), disks(board)),
        (0, vec!["virtio7".into(), "sd:1".into()], vec!["sd:2".into()])
    );
    assert_eq!((board.machine, board.memory, board.vcpus), (Machine::Virt, 256 << 30, 8));
    assert_eq!(board.restart, Restart::Always);
}

#[test]
fn syntax_errors_have_a_line() {
    assert!(error("[[vm]]\nname = \n").starts_with("tinyvmm.toml:2: "));
    check("a = 1\na = 2\n", "2: duplicate key");
    check("[[[[[[", "1: nested deeper than anything in a manifest");
    check("a.b.c.d.e.f = 1", "1: nested deeper than anything in a manifest");
}

#[test]
fn a_huge_manifest_is_refused_unread() {
    check(&"#".repeat(MAX_LENGTH + 1), "1: more than 64KiB of manifest");
    assert!(Manifest::parse(&format!("{FULL}{}", "#".repeat(MAX_LENGTH - FULL.len()))).is_ok());
}

#[test]
fn unknown_keys_list_the_known_ones() {
    check("log = 1\n[[vm]]\n", "1: log: unknown key: the keys here are loglevel, vm");
    check(
        &with("memroy = \"1MiB\""),
        "2: vm 'a': memroy: unknown key: the keys here are \
         name, machine, image, initrd, memory, vcpus, entry, args, emit, priority, affinity, restart, console, storage, disk, network, autostart, capabilities, files",
    );
}

#[test]
fn missing_keys_are_named() {
    check("", "1: no virtual machine: write [[vm]] and its keys for each one");
    check("vm = []", "1: vm = []: no virtual machine: write [[vm]] and its keys for each one");
    check("\n[[vm]]\nname = \"a\"", "2: vm 'a': the key `image` is missing");
    check("[[vm]]\nimage = \"i\"", "1: the key `name` is missing");
}

#[test]
fn types_are_checked() {
    check("vm = 3", "1: vm = 3: must be an array of tables: write [[vm]] above each VM's keys");
    check("vm = [3]", "1: vm = 3: must be a table: write [[vm]] above each VM's keys");
    check(
        "[vm]\nname = \"a\"",
        "1: vm = [vm]: must be an array of tables: write [[vm]] above each VM's keys",
    );
    check("[[vm]]\nname = 1", "2: name = 1: must be a string");
    check(&with("priority = \"8\""), "2: vm 'a': priority = \"8\": must be a whole number");
    check(
        &with("args = \"x\""),
        "2: vm 'a': args = \"x\": must be an array of strings, as in [\"hello.py\"]",
    );
    check(&with("args = [1]"), "2: vm 'a': args = 1: must be a string");
    check(&with("files = 1"), "2: vm 'a': files = 1: must be a table of \"/path/in/the/vm\" = \"file\"");
}

#[test]
fn names_are_short_plain_and_unique() {
    let rule = "must be 1 to 31 letters, digits, dots, underscores or hyphens";
    check("[[vm]]\nname = \"\"", &format!("2: name = \"\": {rule}"));
    check("[[vm]]\nname = \"a b\"", &format!("2: vm 'a b': name = \"a b\": {rule}"));
    assert!(error(&format!("[[vm]]\nname = \"{}\"", "x".repeat(32))).ends_with(rule));
    let twice = format!("{0}{0}", with(""));
    check(&twice, "8: vm 'a': name = \"a\": another VM has this name already");
}

#[test]
fn storage_has_a_range() {
    for good in ["0KiB", "4KiB", "256MiB"] {
        assert!(Manifest::parse(&with(&format!("storage = \"{good}\""))).is_ok(), "{good}");
    }
    for bad in ["2KiB", "257MiB"] {
        let problem = "must be from 0KiB to 256MiB, in steps of 4KiB";
        check(&with(&format!("storage = \"{bad}\"")), &format!("2: vm 'a': storage = \"{bad}\": {problem}"));
    }
}

#[test]
fn disks_are_devices_or_partitions() {
    let rule = "must be sd or virtio0 to virtio7, with a partition from 1 to 4 or without, as in \"sd:2\", or a file of \
                the bundle as in \"file:root.img\" or \"overlay:root.img\"";
    for bad in [
        "", "sd:", "sd:0", "sd:5", "sd:+1", "sd:1:1", "sd0", "virtio", "virtio8", "virtio:1", "virtio01",
        "SD", "file:", "file",
    ] {
        check(&with(&format!("disk = {bad:?}")), &format!("2: vm 'a': disk = {bad:?}: {rule}"));
    }
    check(&with("disk = 1"), "2: vm 'a': disk = 1: must be a string or an array of strings, as in \"sd:2\"");
    check(
        &with("disk = [\"sd:1\", \"sd:2\", \"sd:3\", \"sd:4\", \"virtio0\"]"),
        "2: vm 'a': disk = [\"sd:1\", \"sd:2\", \"sd:3\", \"sd:4\", \"virtio...: a VM has at most 4 disks",
    );
}

#[test]
fn a_network_card_reaches_vms_or_the_uplink() {
    let virt = |network| with(&format!("machine = \"virt\"\nnetwork = {network}"));
    let reach = |text: &str| Manifest::parse(text).unwrap().vms[0].network.map(|network| network.reach);
    assert_eq!(reach(&with("")), None);
    assert_eq!(reach(&virt("\"vms\"")), Some(Reach::Vms));
    assert_eq!(reach(&virt("\"uplink\"")), Some(Reach::Uplink));
    check(&virt("\"all\""), "3: vm 'a': network = \"all\": must be \"vms\" or \"uplink\"");
    check(&virt("true"), "3: vm 'a': network = true: must be a string");
    check(&with("network = \"vms\""), "2: vm 'a': network = \"vms\": only a \"virt\" machine has this key");
}

#[test]
fn a_disk_has_one_owner() {
    let two = |first, second| {
        let vm = |name, disk| {
            format!("[[vm]]\nname = \"{name}\"\nimage = \"i\"\nmemory = \"1MiB\"\ndisk = {disk}\n")
        };
        [vm("a", first), vm("b", second)].concat()
    };
    for (first, second) in
        [("\"sd:1\"", "\"sd:2\""), ("\"sd:1\"", "\"virtio0:1\""), ("\"virtio0\"", "\"virtio1\"")]
    {
        assert!(Manifest::parse(&two(first, second)).is_ok(), "{first} {second}");
    }
    let told =
        |disk| format!("10: vm 'b': disk = \"{disk}\": belongs to vm 'a' already, or a part of it does");
    check(&two("\"sd:1\"", "[\"sd:2\", \"sd:1\"]"), &told("sd:1"));
    check(&two("\"sd\"", "\"sd:2\""), &told("sd:2"));
    check(&two("\"virtio3:2\"", "\"virtio3\""), &told("virtio3"));
    check(
        &with("disk = [\"sd\", \"sd:1\"]"),
        "2: vm 'a': disk = \"sd:1\": belongs to vm 'a' already, or a part of it does",
    );
}

#[test]
fn capabilities_have_names() {
    let all = Manifest::parse(&with("capabilities = [\"messages\", \"log\", \"control\"]")).unwrap();
    assert_eq!(all.vms[0].capabilities, Capabilities(0b111));
    let rule = "must be \"board\", \"control\", \"log\" or \"messages\"";
    check(
        &with("capabilities = [\"log\", \"root\"]"),
        &format!("2: vm 'a': capabilities = \"root\": {rule}"),
    );
    check(
        &with("capabilities = \"log\""),
        "2: vm 'a': capabilities = \"log\": must be an array of strings, as in [\"log\"]",
    );
}

#[test]
fn one_vm_starts_by_itself() {
    check(&with("autostart = \"no\""), "2: vm 'a': autostart = \"no\": must be true or false");
    check(&with("autostart = false"), "1: no virtual machine starts by itself: all have autostart = false");
    let two = with("autostart = false") + "[[vm]]\nname = \"b\"\nimage = \"i\"\nmemory = \"1MiB\"\n";
    assert_eq!(Manifest::parse(&two).unwrap().vms.iter().filter(|vm| vm.autostart).count(), 1);
}

#[test]
fn memory_has_a_unit_and_a_range() {
    let memory = |value: &str| format!("[[vm]]\nname = \"a\"\nimage = \"i\"\nmemory = \"{value}\"");
    for bad in ["1MB", "", "MiB", "1", "1.5MiB", "-1MiB", "0x1MiB", "18446744073709551615GiB"] {
        let message = format!("4: vm 'a': memory = \"{bad}\": use KiB, MiB or GiB, as in \"1MiB\"");
        check(&memory(bad), &message);
    }
    for bad in ["0KiB", "124KiB", "130KiB", "3GiB"] {
        let message = format!("4: vm 'a': memory = \"{bad}\": must be from 128KiB to 2GiB, in steps of 4KiB");
        check(&memory(bad), &message);
    }
    for (good, size) in [("128KiB", 128 << 10), ("2GiB", 2 << 30), ("1 MiB", 1 << 20)] {
        assert_eq!(Manifest::parse(&memory(good)).unwrap().vms[0].memory, size);
    }
}

#[test]
fn memory_depends_on_machine_and_vcpus() {
    let board = |memory: &str| {
        format!("[[vm]]\nname = \"a\"\nimage = \"i\"\nmachine = \"virt\"\nmemory = \"{memory}\"")
    };
    for bad in ["1020KiB", "257GiB"] {
        let message =
            format!("5: vm 'a': memory = \"{bad}\": must be from 1024KiB to 256GiB, in steps of 4KiB");
        check(&board(bad), &message);
    }
    assert!(Manifest::parse(&board("1MiB")).is_ok());
    let eight = "[[vm]]\nname = \"a\"\nimage = \"i\"\nvcpus = 8\nmemory = \"572KiB\"";
    check(eight, "5: vm 'a': memory = \"572KiB\": must be from 576KiB to 2GiB, in steps of 4KiB");
}

#[test]
fn each_vcpu_has_an_entry_or_none_has() {
    let entry = |line: &str| with(&format!("vcpus = 2\nentry = {line}"));
    check(&entry("[0x10000]"), "3: vm 'a': entry = [0x10000]: 1 addresses for 2 vCPUs: write one for each");
    for bad in ["0x10002", "0x100000", "9223372036854775807", "\"0xffffffffffffffff\""] {
        let message = "must be a multiple of 4 below 0x100000, the end of memory";
        check(&entry(&format!("[0, {bad}]")), &format!("3: vm 'a': entry = {bad}: {message}"));
    }
    for bad in ["-1", "\"65536\"", "\"0x\"", "\"0x1_0000\""] {
        let message = "must be an address, as in 0x10000";
        check(&entry(&format!("[0, {bad}]")), &format!("3: vm 'a': entry = {bad}: {message}"));
    }
    check(&entry("[0, 1.5]"), "3: vm 'a': entry = 1.5: must be a whole number");
    check(&entry("1"), "3: vm 'a': entry = 1: must be an array of addresses, as in [0x10000, 0x20000]");
}

#[test]
fn a_board_has_neither_entries_nor_python() {
    for line in ["entry = [0]", "emit = \"native\""] {
        let message = format!("3: vm 'a': {line}: only a \"tiny\" machine has this key");
        check(&with(&format!("machine = \"virt\"\n{line}")), &message);
    }
}

#[test]
fn only_a_board_has_an_initial_ram_disk() {
    let line = "initrd = \"disk.gz\"";
    check(&with(line), "2: vm 'a': initrd = \"disk.gz\": only a \"virt\" machine has this key");
    let manifest = Manifest::parse(&with(&format!("machine = \"virt\"\n{line}"))).unwrap();
    assert_eq!(manifest.vms[0].initrd.as_ref().unwrap().name, "disk.gz");
    let missing = manifest.check_files(|name| name != "disk.gz").unwrap_err();
    assert_eq!(missing.in_file("x.toml").to_string(), "x.toml:3: vm 'a': initrd = \"disk.gz\": no such file");
}

#[test]
fn affinity_names_cores_that_are_there() {
    for bad in ["-1", "8", "99999999999999999999"] {
        let message = format!("2: vm 'a': affinity = {bad}: must be a core number from 0 to 7");
        check(&with(&format!("affinity = [0, {bad}]")), &message);
    }
    check(&with("affinity = []"), "2: vm 'a': affinity = []: must name a core");
    check(&with("affinity = 1"), "2: vm 'a': affinity = 1: must be an array of core numbers, as in [0, 1]");
    let manifest = Manifest::parse(FULL).unwrap();
    assert!(manifest.check_cores(|core| core < 4).is_ok());
    let message = manifest.check_cores(|core| core < 2).unwrap_err().to_string();
    assert_eq!(message, "tinyvmm.toml:23: vm 'small': affinity = 3: no such core is running");
}

#[test]
fn machine_vcpus_restart_and_priority() {
    check(&with("machine = \"pc\""), "2: vm 'a': machine = \"pc\": must be \"tiny\" or \"virt\"");
    for bad in ["0", "9", "-1", "99999999999999999999"] {
        check(&with(&format!("vcpus = {bad}")), &format!("2: vm 'a': vcpus = {bad}: must be from 1 to 8"));
    }
    check(
        &with("restart = \"yes\""),
        "2: vm 'a': restart = \"yes\": must be \"never\", \"on-failure\" or \"always\"",
    );
    check(
        &with("emit = \"asm\""),
        "2: vm 'a': emit = \"asm\": must be \"bytecode\", \"native\" or \"viper\"",
    );
    for bad in ["-1", "256", "99999999999999999999"] {
        check(
            &with(&format!("priority = {bad}")),
            &format!("2: vm 'a': priority = {bad}: must be from 0 to 255"),
        );
    }
    check(
        "loglevel = \"all\"",
        "1: loglevel = \"all\": must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    );
}

#[test]
fn args_fit_the_info_page() {
    check(
        &with(r#"args = ["a\u0000b"]"#),
        r#"2: vm 'a': args = "a\u0000b": an argument cannot have a NUL inside"#,
    );
    let longest = "x".repeat(abi::ARGS_SIZE - 1);
    assert!(Manifest::parse(&with(&format!("args = [\"{longest}\"]"))).is_ok());
    let message = error(&with(&format!("args = [\"{longest}\", \"\"]")));
    assert!(message.contains("4041 bytes of arguments: at most 4040 fit"), "{message}");
    assert!(message.len() < 200, "a long value is cut off: {message}");
}

#[test]
fn guest_paths_are_absolute_and_normal() {
    for bad in ["a.py", "", "/", "/a/", "//a", "/a/../b", "/./a", "/a\\u0000"] {
        let message = error(&with(&format!("files = {{ \"{bad}\" = \"f\" }}")));
        assert!(message.ends_with("has no empty, \".\" or \"..\" part"), "{bad}: {message}");
    }
    check(
        &with("files = { \"/a\" = \"f\", \"/a-b\" = \"f\", \"/a/b\" = \"f\" }"),
        "2: vm 'a': \"/a/b\" = \"f\": the path leads through another file of the VM",
    );
    check(&with("files = { \"/a\" = \"\" }"), "2: vm 'a': \"/a\" = \"\": must name a file");
}

#[test]
fn files_must_exist() {
    let manifest = Manifest::parse(FULL).unwrap();
    assert!(manifest.check_files(|_| true).is_ok());
    let error = manifest.check_files(|name| name != "lib/a.py").unwrap_err();
    let message = error.in_file("images/x.toml").to_string();
    assert_eq!(message, "images/x.toml:15: vm 'hello': \"/lib/a.py\" = \"lib/a.py\": no such file");
    let message = manifest.check_files(|name| name != "vm1.bin").unwrap_err().to_string();
    assert_eq!(message, "tinyvmm.toml:19: vm 'small': image = \"vm1.bin\": no such file");
}

/// Pieces from which a hostile manifest can be made.
fn toml_soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(alloc::vec![
        "[",
        "]",
        "{",
        "}",
        "[[vm]]",
        "=",
        ",",
        ".",
        "\n",
        "\r",
        "\"",
        "\"\"\"",
        "'",
        "'''",
        "\\",
        "#",
        "a",
        "vm",
        "files",
        "memory",
        "1",
        "-",
        "é",
        " ",
        "inf",
        "1979-05-27",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_survived(text: String) {
        let _ = Manifest::parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_soup_is_survived(text in toml_soup()) {
        let _ = Manifest::parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_nesting_is_survived(opening in "(a|\\[|\\{|\\.|=|\"\"\"|\n){1,9}", times in 1..2000_usize) {
        let _ = Manifest::parse(&opening.repeat(times)).map_err(|error| error.to_string());
    }

    #[test]
    fn any_damage_is_survived(at in 0..FULL.len(), to: char) {
        let text: String = FULL.char_indices().map(|(i, c)| if i == at { to } else { c }).collect();
        let _ = Manifest::parse(&text).map_err(|error| error.to_string());
    }
}
