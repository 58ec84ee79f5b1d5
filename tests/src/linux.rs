//! Linux as a guest: stock kernels of Debian's, to a shell and to CPython.

mod guest;
mod long;

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use libtest_mimic::Trial;
use tempfile::NamedTempFile;
use xtask::bundle::Draft;
use xtask::guest::{extras::Bootable, linux::Release};
use xtask::qemu::{Board, Machine};
use xtask::size::Size;

use crate::boot::{products, run_on};
use crate::dialogue::Dialogue;
use crate::test;
use guest::{Linux, QUIET};

/// How the prompt of the shell ends: one release has the directory in front, the other one a tilde.
pub(crate) const PROMPT: &str = " # ";
/// Enough for a boot beside VMs that compute, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("linux::python", python),
        test("linux::killed_at_any_moment", killed),
        test("linux::compressed", compressed),
    ];
    for (release, machine) in [(Release::Debian12, Machine::VirtGicv2), (Release::Debian13, Machine::Virt)] {
        let name = format!("linux::{}_on_{}", release.name(), machine.name());
        tests.push(test(name, move || shell(release, machine, 4, 2)));
    }
    tests.extend(beside_busy().into_iter().chain(long::tests()).map(|test| test.with_ignored_flag(true)));
    tests
}

/// All releases on all boards, which takes minutes.
fn beside_busy() -> Vec<Trial> {
    let mut tests = vec![];
    for release in Release::ALL {
        for (machine, vcpus) in
            [(Machine::Virt, 1), (Machine::Virt, 4), (Machine::VirtGicv2, 1), (Machine::VirtGicv2, 4)]
        {
            let name = format!("linux::beside_busy_{}_on_{}_{vcpus}", release.name(), machine.name());
            tests.push(test(name, move || shell(release, machine, vcpus, 8)));
        }
    }
    tests
}

/// A kernel that the hypervisor has to unpack.
fn compressed() -> Result<()> {
    let Bootable { image, initrd } = Release::Debian12.bootable()?;
    let file = NamedTempFile::new()?;
    let mut encoder = GzEncoder::new(&file, Compression::fast());
    encoder.write_all(&std::fs::read(image)?)?;
    encoder.finish()?;
    let bootable = Bootable { image: file.path().into(), initrd };
    let linux = Linux::new(bootable, &QUIET).file("/main.py", "print('ready')");
    run_on(&Board::default(), &linux.bundle()?, "")?.shows("ready\n")?.ends_with(0).map(drop)
}

/// Beside VMs that compute it sees its vCPUs, takes interrupts on all of them, can do without one, knows the time, and
/// ends with the shell's exit code.
fn shell(release: Release, machine: Machine, vcpus: u32, busy: usize) -> Result<()> {
    let linux = Linux::new(release.bootable()?, &["console=ttyAMA0"]).vcpus(vcpus).beside_busy(busy);
    let board = Board::of(machine, 4);
    let mut dialogue = Dialogue::start_bundle(&board, &linux.bundle()?, "loglevel=info")?.patient(PATIENCE);
    dialogue.expects("Linux version ")?.expects("Run /init as init process")?.expects(PROMPT)?;
    dialogue.types("echo cpus $(nproc)\r")?.expects(&format!("\n[linux] cpus {vcpus}\n"))?;
    // Each vCPU has had its timer's interrupt.
    let count =
        format!("n=0; for i in $(seq {vcpus}); do [ $1 -gt 0 ] && n=$((n + 1)); shift; done; echo timers $n");
    dialogue.types(&format!("set -- $(grep arch_timer /proc/interrupts); shift; {count}\r"))?;
    dialogue.expects(&format!("\n[linux] timers {vcpus}\n"))?;
    if vcpus > 1 {
        let cpu = "/sys/devices/system/cpu/cpu1/online";
        dialogue.types(&format!("echo 0 > {cpu}; echo cpus $(nproc)\r"))?;
        dialogue.expects(&format!("\n[linux] cpus {}\n", vcpus - 1))?;
        dialogue.types(&format!("echo 1 > {cpu}; echo cpus $(nproc)\r"))?;
        dialogue.expects(&format!("\n[linux] cpus {vcpus}\n"))?;
    }
    dialogue.types("echo year $(date +%Y)\r")?.expects("\n[linux] year 20")?;
    dialogue.types("dmesg | grep -ci 'warning\\|bug:\\|stall'; exit 7\r")?.expects("\n[linux] 0\n")?;
    dialogue.expects("vm 'linux' ended: exit code 7,").map(drop)
}

/// What it prints last is seen, and its exit code is the VM's.
fn python() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("script.py");
    let text = "import sys, json\nprint(sys.implementation.name, json.dumps(sys.argv))\n\
                print('x' * 2000)\nsys.exit(5)\n";
    std::fs::write(&script, text)?;
    let args = ["a b", "c", ""].map(str::to_owned);
    let draft = Draft::linux_script(&script, &args, Size::mib(256))?;
    let console = run_on(&Board::default(), &draft.pack(&products()?)?, "")?;
    let output = format!("cpython [\"/main.py\", \"a b\", \"c\", \"\"]\n{}\n", "x".repeat(2000));
    console.shows(&output)?.ends_with(5).map(drop)
}

/// All memory comes back, whenever the VM is killed.
fn killed() -> Result<()> {
    let linux = Linux::new(Release::Debian12.bootable()?, &["console=ttyAMA0"]).vcpus(4).beside_busy(1);
    let board = Board { smp: 4, ..Board::default() };
    let mut dialogue = Dialogue::start_bundle(&board, &linux.bundle()?, "loglevel=debug")?;
    for moment in ["Booting Linux", "Brought up 1 node, 4 CPUs", "Run /init", PROMPT] {
        dialogue.expects(moment)?.types("\x01mrestart 1\rquit\r")?.expects("monitor> quit\n")?;
    }
    dialogue.expects("Booting Linux")?.types("\x01mkill 1\rkill 2\r")?;
    crate::scale::leaks_nothing(&dialogue.ends()?).map(drop)
}
