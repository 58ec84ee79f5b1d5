//! Linux as a guest: stock kernels of Debian's, to a shell and to CPython.

use anyhow::Result;
use libtest_mimic::Trial;
use xtask::bundle::Draft;
use xtask::guest::linux::Release;
use xtask::qemu::{Board, Machine};
use xtask::size::Size;

use crate::boot::{products, run_on};
use crate::dialogue::Dialogue;
use crate::test;

/// How the prompt of the shell ends: one release has the directory in front, the other one a tilde.
pub(crate) const PROMPT: &str = " # ";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![test("linux::python", python), test("linux::killed_at_any_moment", killed)];
    for (release, machine, vcpus) in [
        (Release::Debian12, Machine::Virt, 1),
        (Release::Debian12, Machine::VirtGicv2, 4),
        (Release::Debian13, Machine::Virt, 4),
        (Release::Debian13, Machine::VirtGicv2, 1),
    ] {
        let name = format!("linux::{}_on_{}_{vcpus}", release.name(), machine.name());
        tests.push(test(name, move || shell(release, machine, vcpus)));
    }
    tests
}

/// A manifest with a shell, and beside it VMs that compute.
fn manifest(release: Release, vcpus: u32, others: usize) -> String {
    let linux = format!(
        "[[vm]]\nname = \"linux\"\nmachine = \"virt\"\nimage = {:?}\ninitrd = {:?}\nmemory = \"256MiB\"\n\
         vcpus = {vcpus}\nargs = [\"console=ttyAMA0\"]\n",
        release.image(),
        release.initrd()
    );
    let busy = |n| {
        format!(
            "[[vm]]\nname = \"busy{n}\"\nimage = \"share.elf\"\nmemory = \"1MiB\"\npriority = 7\n\
             args = [\"share\", \"1000\"]\n"
        )
    };
    linux + &(0..others).map(busy).collect::<String>()
}

fn bundle(manifest: &str) -> Result<Vec<u8>> {
    bundle_with(manifest, &[])
}

/// The bundle of a manifest, with these files.
pub(crate) fn bundle_with(manifest: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content)?;
    }
    let path = directory.path().join("linux.toml");
    std::fs::write(&path, manifest)?;
    Draft::manifest(&path)?.pack(&products()?)
}

/// It sees its vCPUs, takes interrupts on all of them, can do without one, knows the time, and ends with the shell's
/// exit code.
fn shell(release: Release, machine: Machine, vcpus: u32) -> Result<()> {
    let board = Board { smp: 4, ..Board::of(machine, 4) };
    let mut dialogue = Dialogue::start_bundle(&board, &bundle(&manifest(release, vcpus, 2))?, "")?;
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
    dialogue.ends()?.ends_with(7).map(drop)
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
    let manifest = manifest(Release::Debian12, 4, 0)
        + "[[vm]]\nname = \"waits\"\nimage = \"micropython.elf\"\nmemory = \"1MiB\"\n";
    let board = Board { smp: 4, ..Board::default() };
    let mut dialogue = Dialogue::start_bundle(&board, &bundle(&manifest)?, "loglevel=debug")?;
    for moment in ["Booting Linux", "Brought up 1 node, 4 CPUs", "Run /init", PROMPT] {
        dialogue.expects(moment)?.types("\x01mrestart 1\rquit\r")?.expects("monitor> quit\n")?;
    }
    dialogue.expects("Booting Linux")?.types("\x01mkill 1\rkill 2\r")?;
    crate::scale::leaks_nothing(&dialogue.ends()?).map(drop)
}
