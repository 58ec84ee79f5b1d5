//! Disks: what is written is kept, nobody gets more than his part, and what fails concerns nobody else.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tempfile::NamedTempFile;
use xtask::qemu::{Board, Machine};

use crate::boot::{Vm, bundle, products, run_command, run_on, without_card};
use crate::console::Console;
use crate::dialogue::Dialogue;
use crate::monitor::Socket;
use crate::process::{file, run, xtask};
use crate::test;

/// Boards, each with what its manifests call the disk.
const BOARDS: [(Machine, &str); 2] = [(Machine::Virt, "virtio0"), (Machine::Raspi4b, "sd")];
/// The size of all disks here: SD cards of QEMU's have powers of two.
const SECTORS: u64 = 16 << 11;
const SECTOR: usize = 512;
/// First sector and number of sectors of the partitions.
const PARTITIONS: [(u32, u32); 2] = [(2048, 8192), (12288, 8192)];

pub(crate) fn tests() -> Vec<Trial> {
    let on_boards = [
        ("volumes_survive", volumes_survive as fn(Machine, &'static str) -> Result<()>),
        ("partitions_are_apart", partitions_are_apart),
        ("what_is_not_formatted", what_is_not_formatted),
        ("what_is_not_there", what_is_not_there),
        ("hostile_calls", hostile_calls),
        ("power_cuts", |machine, name| power_cuts(machine, name, 3)),
    ];
    let mut tests: Vec<Trial> = vec![
        test("disks::errors", errors),
        test("disks::read_only", read_only),
        test("disks::several_devices", several_devices),
        test("disks::card_taken_out", card_taken_out),
        test("disks::run_with_a_disk", run_with_a_disk),
    ];
    for (machine, name) in BOARDS {
        tests.extend(on_boards.map(|(title, check)| {
            test(format!("disks::{title}_on_{}", machine.name()), move || check(machine, name))
        }));
        let many = move || power_cuts(machine, name, 50);
        tests.push(
            test(format!("disks::many_power_cuts_on_{}", machine.name()), many).with_ignored_flag(true),
        );
    }
    tests
}

/// A disk with two partitions, and otherwise full of `fill`.
fn disk(fill: u8) -> Result<NamedTempFile> {
    let mut disk = NamedTempFile::new()?;
    let mut table = [0; SECTOR];
    for (index, (first, count)) in PARTITIONS.into_iter().enumerate() {
        let entry = &mut table[446 + 16 * index..][..16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&count.to_le_bytes());
    }
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write_all(&table)?;
    disk.write_all(&vec![fill; usize::try_from(SECTORS)? * SECTOR - SECTOR])?;
    disk.flush()?;
    Ok(disk)
}

fn board(machine: Machine, disk: &Path) -> Board {
    Board { disks: vec![disk.into()], ..Board::of(machine, 1) }
}

fn boot(machine: Machine, disk: &NamedTempFile, vms: &[Vm]) -> Result<Console> {
    run_on(&board(machine, disk.path()), &bundle(vms)?, "")
}

/// FAT and littlefs, each on a partition; the second boot finds what the first has written.
fn volumes_survive(machine: Machine, name: &str) -> Result<()> {
    let disk = disk(0)?;
    let make = "import hv, os, vfs\nfat, lfs = hv.BlockDev(), hv.BlockDev(1)\n\
                print(fat.ioctl(4, 0), lfs.ioctl(5, 0))\nvfs.VfsFat.mkfs(fat)\nvfs.VfsLfs2.mkfs(lfs)\n";
    let mount = "import hv, os, vfs\nvfs.mount(hv.BlockDev(0), '/fat')\nvfs.mount(vfs.VfsLfs2(hv.BlockDev(1)), '/lfs')\n";
    let write = "for d in '/fat', '/lfs':\n  os.mkdir(d + '/sub')\n  with open(d + '/sub/file', 'wb') as f: f.write(bytes(range(250)) * 400)\n";
    let read = "for d in '/fat', '/lfs':\n  print(os.listdir(d), open(d + '/sub/file', 'rb').read() == bytes(range(250)) * 400)\n";
    let vm = |script: String| {
        let names = [1, 2].map(|number| format!("{name}:{number}"));
        Vm::python("a", &script).disks(&names)
    };
    let first = boot(
        machine,
        &disk,
        &[vm([make, mount, write, "vfs.umount('/fat')\nvfs.umount('/lfs')\n"].concat())],
    )?;
    first.is("8192 512\n")?.ends_with(0)?;
    let second = boot(machine, &disk, &[vm([mount, read].concat())])?;
    second.is("['sub'] True\n['sub'] True\n")?.ends_with(0).map(drop)
}

/// Each VM fills its partition up to the end, and cannot go beyond.
fn partitions_are_apart(machine: Machine, name: &str) -> Result<()> {
    let disk = disk(0xee)?;
    let script = |byte: u8| {
        format!(
            "import hv\nd = hv.BlockDev()\ncount = d.ioctl(4, 0)\ndata = bytes([{byte}]) * 512 * 128\n\
             for block in range(0, count, 128): assert d.writeblocks(block, data) == 0\n\
             print(count, d.writeblocks(count, data), d.writeblocks(count - 127, data), d.readblocks(2**54, bytearray(512)))\n\
             print(d.readblocks(-1, bytearray(512)), d.readblocks(count - 1, bytearray(512), 1))\n\
             buffer = bytearray(512 * 100)\nd.readblocks(count - 101, buffer, 512)\nprint(set(buffer) == {{{byte}}}, d.ioctl(3, 0))\n"
        )
    };
    let vm =
        |number: u8| Vm::python(&format!("vm{number}"), &script(number)).disks(&[format!("{name}:{number}")]);
    let console = boot(machine, &disk, &[vm(1), vm(2)])?;
    for vm in ["vm1", "vm2"] {
        console.of_vm_is(vm, &["8192 -22 -22 -22", "-22 -22", "True 0"])?;
    }
    console.ends_with(0)?;
    let mut contents = Vec::new();
    File::open(disk.path())?.read_to_end(&mut contents)?;
    let expected = |sector: u64| {
        let inside =
            |(first, count): (u32, u32)| (u64::from(first)..u64::from(first + count)).contains(&sector);
        PARTITIONS.into_iter().position(inside).map_or(0xee, |index| [1, 2][index])
    };
    let sectors = contents.chunks(SECTOR).zip(0_u64..).skip(1);
    let wrong = sectors.filter(|(data, sector)| data.iter().any(|byte| *byte != expected(*sector))).count();
    ensure!(wrong == 0, "{wrong} sectors are not as they should be");
    Ok(())
}

fn what_is_not_formatted(machine: Machine, name: &str) -> Result<()> {
    let script = "import errno, hv, vfs\n\
                  for mount in lambda d: vfs.mount(d, '/d'), lambda d: vfs.mount(vfs.VfsFat(d), '/d'), lambda d: vfs.VfsLfs2(d):\n  \
                  try: mount(hv.BlockDev())\n  except OSError as e: print(errno.errorcode.get(e.errno, e.errno))\n\
                  try: hv.BlockDev(1)\nexcept OSError as e: print(errno.errorcode[e.errno])\n";
    let vm = Vm::python("a", script).disks(&[format!("{name}:1")]);
    // Upstream's littlefs has an error number of its own for a volume that makes no sense.
    boot(machine, &disk(0)?, &[vm])?.is("ENODEV\nENODEV\n84\nENODEV\n")?.ends_with(0).map(drop)
}

/// A VM without its disk does not start; the others do.
fn what_is_not_there(machine: Machine, name: &str) -> Result<()> {
    let image = disk(0)?;
    // The second partition goes beyond the end.
    let mut file = image.as_file();
    file.seek(SeekFrom::Start(446 + 16 + 12))?;
    file.write_all(&u32::MAX.to_le_bytes())?;
    let good =
        Vm::python("good", "import hv\nprint(hv.BlockDev().ioctl(4, 0))").disks(&[format!("{name}:1")]);
    let vms = [
        Vm::python("large", "").disks(&[format!("{name}:2")]),
        Vm::python("none", "").disks(&[format!("{name}:3")]),
        Vm::python("other", "").disks(&["virtio7".to_owned()]),
        good,
    ];
    let console = boot(machine, &image, &vms)?;
    let error = |vm: &str, disk: &str| format!(": vm '{vm}': disk = \"{disk}\": ");
    console.shows(
        &(error("large", &format!("{name}:2"))
            + "the partition ends at sector 4294979583, but the device has 32768\n"),
    )?;
    console.shows(&(error("none", &format!("{name}:3")) + "the device has no such partition\n"))?;
    console.shows(&(error("other", "virtio7") + "the board has no such device\n"))?;
    console.of_vm_is("good", &["8192"])?.ends_with(71)?;
    // All of them: the run is over.
    let bundle = bundle(&[Vm::python("a", "").disks(&[name.to_owned()])])?;
    let (command, _files) = without_card(&products()?.hypervisor(), &Board::of(machine, 1), &bundle, "")?;
    let alone = run_command(command, b"")?;
    let reason = if name == "sd" { "there is no SD card\n" } else { "the board has no such device\n" };
    alone.shows(&(error("a", name) + reason))?.ends_with(71).map(drop)
}

/// A guest that passes all sorts of arguments.
fn hostile_calls(machine: Machine, name: &str) -> Result<()> {
    let vm = Vm::new("a", "disks.elf").disks(&[format!("{name}:1")]);
    boot(machine, &disk(0x5a)?, &[vm])?.is("checked\n")?.ends_with(0).map(drop)
}

/// The emulator fails to read some sectors: that is for the VM that asked, now and then for the log, and for nobody else.
fn errors() -> Result<()> {
    let disk = disk(1)?;
    let path = disk.path().display();
    // Sector 20 of the first partition. Writing anywhere works.
    let drive = format!(
        "driver=blkdebug,node-name=bad,image.driver=file,image.filename={path},\
         inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,inject-error.0.sector=2068"
    );
    let extra = ["-blockdev", &drive, "-device", "virtio-blk-device,drive=bad"].map(Into::into).to_vec();
    let script = "import hv\nd = hv.BlockDev()\nb = bytearray(512)\n\
                  print([d.readblocks(n, b) for n in (19, 20, 21, 20)], d.writeblocks(20, b), d.readblocks(0, bytearray(512 * 64)))\n\
                  print(sum(d.readblocks(20, b) for n in range(300)))\n";
    let other = "import hv\nprint(hv.BlockDev().readblocks(20, bytearray(512)))\n";
    let vms = [
        Vm::python("bad", script).disks(&["virtio0:1".to_owned()]),
        Vm::python("good", other).disks(&["virtio0:2".to_owned()]),
    ];
    let console = run_on(&Board { extra, ..Board::default() }, &bundle(&vms)?, "")?;
    console.of_vm_is("bad", &["[0, -5, 0, -5] 0 -5", "-1500"])?.of_vm_is("good", &["0"])?;
    let told =
        console.output.matches("[tinyvmm warn] vm 'bad': disk virtio0: the device reports an error").count();
    console.check((1..100).contains(&told), &format!("{told} lines in the log"))?.ends_with(0).map(drop)
}

fn read_only() -> Result<()> {
    let disk = disk(7)?;
    let drive = format!("if=none,id=disk0,format=raw,readonly=on,file={}", disk.path().display());
    let extra = ["-drive", &drive, "-device", "virtio-blk-device,drive=disk0"].map(Into::into).to_vec();
    let script = "import hv\nd = hv.BlockDev()\nb = bytearray(512)\n\
                  print(d.readblocks(0, b), b[511], d.writeblocks(0, b), d.writeblocks(0, b[:3], 2), d.ioctl(3, 0))\n";
    let vm = Vm::python("a", script).disks(&["virtio0:1".to_owned()]);
    let console = run_on(&Board { extra, ..Board::default() }, &bundle(&[vm])?, "")?;
    console.is("0 7 -30 -30 0\n")?.ends_with(0).map(drop)
}

/// Disks are counted in the order of the command line.
fn several_devices() -> Result<()> {
    let files = [disk(10)?, disk(11)?, disk(12)?];
    let disks = files.iter().map(|file| file.path().into()).collect();
    let script = "import hv\nb = bytearray(512)\nfor n in range(3):\n  hv.BlockDev(n).readblocks(1, b)\n  print(b[0])\n";
    let vm = Vm::python("a", script).disks(&["virtio2", "virtio0:1", "virtio1"].map(String::from));
    let console = run_on(&Board { disks, ..Board::default() }, &bundle(&[vm])?, "")?;
    console.is("12\n10\n11\n")?.ends_with(0).map(drop)
}

/// What the VM asks for afterwards fails at once; the VM without a disk notices nothing.
fn card_taken_out() -> Result<()> {
    let disk = disk(9)?;
    let socket = Socket::new()?;
    let script = "import hv\nd = hv.BlockDev()\nprint(d.readblocks(0, bytearray(512)))\ninput()\n\
                  print('then', d.readblocks(0, bytearray(512)), d.writeblocks(0, bytes(512)), d.readblocks(1, bytearray(512)))\n";
    let vms = [
        Vm::python("a", script).disks(&["sd:1".to_owned()]),
        Vm::python("b", "import time\nfor n in range(1000):\n  time.sleep_ms(100)\n  print('tick', n)\n"),
    ];
    let board = Board { extra: socket.arguments(), ..board(Machine::Raspi4b, disk.path()) };
    let mut dialogue = Dialogue::start_on(&board, &vms, "")?;
    dialogue.expects("[a] 0\n")?;
    socket.connect()?.eject_card()?;
    dialogue.types("\n")?.expects("[a] then -5 -5 -5\n")?.expects("[b] tick")?;
    dialogue.shows("[tinyvmm warn] vm 'a': disk sd: the device does not answer\n").map(drop)
}

fn run_with_a_disk() -> Result<()> {
    let image = disk(3)?;
    let path = image.path().to_str().context("a path that is not UTF-8")?;
    let (_directory, script) = file(
        "disk.toml",
        "[[vm]]\nname = \"a\"\nimage = \"micropython.elf\"\nmemory = \"2MiB\"\nargs = [\"disk.py\"]\ndisk = \"virtio0:2\"\n\
         [vm.files]\n\"/disk.py\" = \"disk.py\"\n",
    )?;
    std::fs::write(
        script.with_file_name("disk.py"),
        "import hv\nprint(hv.BlockDev().writeblocks(0, bytes([4]) * 512))\n",
    )?;
    let manifest = script.to_str().context("a path that is not UTF-8")?;
    run(xtask(&["run", "--disk", path, manifest])?)?.shows("0\n")?.ends_with(0)?;
    let mut sector = [0; SECTOR];
    image.as_file().read_exact_at(&mut sector, u64::from(PARTITIONS[1].0) * SECTOR as u64)?;
    ensure!(sector == [4; SECTOR], "nothing was written");
    run(xtask(&["run", "--disk", "/no/such/disk", manifest])?)?
        .shows("/no/such/disk: no such file")?
        .ends_with(2)
        .map(drop)
}

/// The machine stops at any moment of a littlefs volume's writes. It mounts again, and no file that was finished is lost.
fn power_cuts(machine: Machine, name: &str, cuts: u32) -> Result<()> {
    let disk = disk(0)?;
    let vm = |script: &str| Vm::python("a", script).disks(&[format!("{name}:1")]);
    let make = "import hv, vfs\nvfs.VfsLfs2.mkfs(hv.BlockDev())\n";
    boot(machine, &disk, &[vm(make)])?.ends_with(0)?;
    let (mut seed, mut kept) = (0x5eed_u32, 0);
    // The last time only what is left is of interest.
    for cut in 0..=cuts {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut dialogue = Dialogue::start_on(&board(machine, disk.path()), &[vm(WRITER)], "")?;
        let found: u32 = dialogue.line("found ")?.parse()?;
        ensure!(found >= kept, "cut {cut}: {found} files are left of {kept}");
        kept = found + (seed >> 20) % 12;
        dialogue.expects(&format!("wrote {kept}\n"))?;
        // Somewhere in the next file or the one after it.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(seed >> 8) % 20_000));
    }
    Ok(())
}

/// Checks the files 0, 1, ... that are there, each as long as its number says, and writes more of them.
const WRITER: &str = "import hv, os, vfs\n\
    vfs.mount(vfs.VfsLfs2(hv.BlockDev()), '/d')\n\
    def content(n): return bytes([n % 251]) * (300 + n * 37 % 5000)\n\
    n, there = 0, set(os.listdir('/d'))\n\
    while str(n) in there and open('/d/%d' % n, 'rb').read() == content(n): n += 1\n\
    print('found', n)\n\
    print('wrote', n)\n\
    for n in range(n, n + 20):\n  \
      with open('/d/%d' % n, 'wb') as f: f.write(content(n))\n  \
      print('wrote', n + 1)\n\
    input()\n";
