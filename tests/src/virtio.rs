//! Virtio devices of the `virt` machine, with Linux' own drivers.

use std::fs::File;

use anyhow::Result;
use libtest_mimic::Trial;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use xtask::bundle::Draft;
use xtask::guest::linux::Release;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle_with as bundle_with_files, products, run_on};
use crate::dialogue::Dialogue;
use crate::linux::PROMPT;
use crate::test;

/// Size of the disk that is written and read, in MiB.
const DISK: u64 = 64;

pub(crate) fn tests() -> Vec<Trial> {
    let disks_on = |release: Release, machine: Machine| {
        let name = format!("virtio::disks_{}_on_{}", release.name(), machine.name());
        test(name, move || disks(release, machine))
    };
    vec![
        disks_on(Release::Debian12, Machine::Virt),
        disks_on(Release::Debian13, Machine::VirtGicv2).with_ignored_flag(true),
        test("virtio::console", console),
        test("virtio::messages", messages),
    ]
    .into_iter()
    .chain(
        [Machine::Virt, Machine::VirtGicv2, Machine::Raspi4b]
            .map(|machine| test(format!("virtio::blocks_{}", machine.name()), move || blocks(machine))),
    )
    .collect()
}

/// A driver that waits for the interrupt of each request gets what is on the disk.
fn blocks(machine: Machine) -> Result<()> {
    let words: Vec<u8> = (0..1_u64 << 16).flat_map(u64::to_le_bytes).collect();
    let vm = |name, disk: &str| {
        Vm::new(name, "block.elf")
            .machine("virt")
            .memory("2MiB")
            .args(&["count=500"])
            .disks(&[disk.to_owned()])
    };
    let vms = [vm("a", "file:words"), vm("b", "overlay:words")];
    let console = run_on(&Board::of(machine, 4), &bundle_with_files(&vms, &[("words", words)])?, "")?;
    console.lacks("FAIL")?.shows("[a] read 500 blocks\n")?.shows("[b] read 500 blocks\n")?;
    console.ends_with(0).map(drop)
}

fn manifest(release: Release, console: &str, more: &str) -> String {
    format!(
        "[[vm]]\nname = \"linux\"\nmachine = \"virt\"\nimage = {:?}\ninitrd = {:?}\nmemory = \"256MiB\"\nvcpus = 2\n\
         args = [\"console={console}\"]\n{more}",
        release.image(),
        release.initrd()
    )
}

/// The bundle of a manifest, with these files.
fn bundle_with(manifest: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content)?;
    }
    let path = directory.path().join("linux.toml");
    std::fs::write(&path, manifest)?;
    Draft::manifest(&path)?.pack(&products()?)
}

/// What is written to a disk of the board is there again, also for the developer's machine; a file of the bundle can be
/// read, and written over, which leaves it as it is.
fn disks(release: Release, machine: Machine) -> Result<()> {
    let disk = NamedTempFile::new()?;
    disk.as_file().set_len(DISK << 20)?;
    let board = Board { disks: vec![disk.path().into()], ..Board::of(machine, 4) };
    let content: Vec<u8> = (0..200_u8).flat_map(|number| [number; 512]).collect();
    let names = "disk = [\"virtio0\", \"overlay:content\", \"file:content\"]\n";
    let bundle = bundle_with(&manifest(release, "ttyAMA0", names), &[("content", &content)])?;
    let mut dialogue = Dialogue::start_bundle(&board, &bundle, "")?;
    dialogue.expects(PROMPT)?;
    let drop_caches = "sync; echo 3 > /proc/sys/vm/drop_caches";
    dialogue.types(&format!("dd if=/dev/urandom of=/tmp/data bs=1M count={DISK} 2> /dev/null\r"))?;
    dialogue.types("sum() { sha256sum < $1 | cut -d' ' -f1; }; echo data $(sum /tmp/data)\r")?;
    let written = dialogue.line("\ndata ")?;
    dialogue.types(&format!("dd if=/tmp/data of=/dev/vda bs=64k 2> /dev/null; {drop_caches}\r"))?;
    dialogue.types("echo disk $(sum /dev/vda)\r")?.expects(&format!("\ndisk {written}\n"))?;
    let digest = hex(&Sha256::digest(&content));
    dialogue.types("echo files $(sum /dev/vdb) $(sum /dev/vdc)\r")?;
    dialogue.expects(&format!("\nfiles {digest} {digest}\n"))?;
    dialogue.types(
        "dd if=/tmp/data of=/dev/vdb bs=3k count=33 2> /dev/null; echo read-only $(cat /sys/block/vd?/ro)\r",
    )?;
    dialogue.expects("\nread-only 0 0 1\n")?;
    dialogue
        .types(&format!("{drop_caches}; head -c 99k /tmp/data > /tmp/a; head -c 99k /dev/vdb > /tmp/b\r"))?;
    dialogue
        .types("cmp /tmp/a /tmp/b && echo over $(sum /dev/vdc)\r")?
        .expects(&format!("\nover {digest}\n"))?;
    dialogue
        .types("head -c 64 /dev/hwrng | wc -c; dmesg | grep -ci 'i/o error'; exit 4\r")?
        .expects("\n64\n0\n")?;
    dialogue.ends()?.ends_with(4)?;
    let mut digest = Sha256::new();
    std::io::copy(&mut File::open(disk.path())?, &mut digest)?;
    anyhow::ensure!(hex(&digest.finalize()) == written, "the disk has something else");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the script in CPython does with messages: sends three that cannot arrive, and one that is answered twice.
const SENDER: &str = r#"
import socket, struct

def receive(count):
    data = b""
    while len(data) < count:
        data += stream.recv(count - len(data))
    return data

def record():
    name, length, error = struct.unpack("<32sII", receive(40))
    return name.rstrip(b"\0").decode(), error, receive(length)

def send(name, message):
    stream.sendall(struct.pack("<32sII", name, len(message), 0) + message)

def refused(cid, port):
    try:
        socket.socket(socket.AF_VSOCK).connect((cid, port))
    except OSError as error:
        return type(error).__name__

print(refused(2, 2))
stream = socket.socket(socket.AF_VSOCK)
stream.connect((2, 1))
for name, size in (b"nobody", 1), (b"deaf", 1), (b"python", 4097):
    send(name, b"x" * size)
    print(record())
send(b"python", bytes(range(256)) * 16)
print(record() == ("python", 0, bytes(255 - n for n in range(256)) * 16), record())
"#;

/// The MicroPython VM that answers.
const ANSWERER: &str = "
import hv
sender, message = hv.recv()
hv.send(sender, bytes(255 - byte for byte in message))
hv.send('linux', 'done')
";

/// A program of Linux' and one of MicroPython's reach each other.
fn messages() -> Result<()> {
    let more = "capabilities = [\"messages\"]\n[vm.files]\n\"/main.py\" = \"sender.py\"\n\
                [[vm]]\nname = \"python\"\nimage = \"micropython.elf\"\nmemory = \"2MiB\"\nargs = [\"a.py\"]\n\
                capabilities = [\"messages\"]\nfiles.\"/a.py\" = \"answerer.py\"\n\
                [[vm]]\nname = \"deaf\"\nimage = \"micropython.elf\"\nmemory = \"2MiB\"\n";
    let files: [(&str, &[u8]); 2] = [("sender.py", SENDER.as_bytes()), ("answerer.py", ANSWERER.as_bytes())];
    let bundle = bundle_with(&manifest(Release::Debian13, "ttyAMA0", more), &files)?;
    let mut dialogue = Dialogue::start_bundle(&Board::of(Machine::Virt, 2), &bundle, "")?;
    dialogue.expects("[linux] ConnectionResetError\n")?;
    for line in
        ["('nobody', 3, b'')", "('deaf', 1, b'')", "('python', 90, b'')", "True ('python', 0, b'done')"]
    {
        dialogue.expects(&format!("[linux] {line}\n"))?;
    }
    dialogue.types("\x01mkill deaf\r")?;
    dialogue.ends()?.ends_with(137).map(drop)
}

/// A shell, with input that comes in pieces and more output than goes at once. Each vCPU has a core: on one, Linux' driver
/// spins for a lock that the other one holds, turn by turn.
fn console() -> Result<()> {
    let manifest = manifest(Release::Debian12, "hvc0", "console = \"virtio\"\n");
    let mut dialogue =
        Dialogue::start_bundle(&Board::of(Machine::Virt, 2), &bundle_with(&manifest, &[])?, "")?;
    dialogue.expects(PROMPT)?.types("tty; ")?.types("seq 1 3000\r")?.expects("\n/dev/hvc0\n1\n2\n")?;
    let numbers: String = (3..=3000).map(|number| format!("{number}\n")).collect();
    dialogue.expects(&numbers)?.types("exit 6\r")?;
    dialogue.ends()?.ends_with(6).map(drop)
}
