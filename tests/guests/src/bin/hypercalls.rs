//! Makes every hypercall with good and bad arguments. Prints a line for each result that is not as the
//! ABI says; the exit code is the number of them.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU8, Ordering};

use guest_rt::abi::{self, EFAULT, EINVAL, ENOSYS, disks, files, vms};
use guest_rt::hypercall::Errno;
use guest_rt::{entry, hypercall, info, println};

entry!(main);

static FAILURES: AtomicU8 = AtomicU8::new(0);

/// More than the longest string of a PUTS, without a NUL; the NUL after it is just too far.
static LONG: [u8; TOO_LONG + 1] = {
    let mut text = [b'x'; TOO_LONG + 1];
    text[TOO_LONG - 1] = b'\n';
    text[TOO_LONG] = 0;
    text
};
const TOO_LONG: usize = 1 + (64 << 10);

fn main() -> u8 {
    unknown_numbers();
    good_calls();
    file_calls();
    other_vms();
    bad_strings();
    bad_buffers();
    read_only_buffers();
    println!("checked");
    FAILURES.load(Ordering::Relaxed)
}

/// Makes a call and compares its result.
fn check(what: &str, number: u64, args: [u64; 2], expected: i64) {
    // SAFETY: the calls of this program write only where a good result is not expected, or to `scratch`.
    let result = unsafe { hypercall::hvc(number, args[0], args[1]) };
    if result != expected {
        println!("FAIL {what}: call {number:#x} {args:#x?} gave {result}, expected {expected}");
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
}

fn unknown_numbers() {
    for number in [
        5,
        0xF,
        0x14,
        0x1F,
        0x2D,
        0x31,
        0x39,
        0x44,
        0x4F,
        0x59,
        0x6F,
        0x72,
        0x1000,
        0x7FFF_FFFF,
        1 << 32,
        1 << 62,
        1 << 63,
    ] {
        check("unknown number", number, [0, 0], -ENOSYS);
    }
    // The number is all of X0, not its low half.
    check("number with high bits", 1 << 32 | abi::VERSION, [0, 0], -ENOSYS);
}

fn good_calls() {
    check("version", abi::VERSION, [0, 0], i64::from(abi::ABI_VERSION));
    let groups = [
        abi::EXIT,
        abi::CONSOLE_WRITE,
        files::FILE_OPEN,
        abi::WALL_CLOCK,
        abi::RANDOM,
        disks::BLK_INFO,
        vms::VM_INFO,
        vms::LOG_READ,
        vms::SEND,
        abi::board::BOARD_LED,
    ];
    check("features", abi::FEATURES, [0, 0], groups.map(|first| 1 << (first / 8)).iter().sum());
    check("features past the last word", abi::FEATURES, [1, 0], 0);
    check("features far past the last word", abi::FEATURES, [u64::MAX, 0], 0);
    check("putchar", abi::PUTCHAR, [u64::from(b'c'), 0], 0);
    check("puts", abi::PUTS, [address(b"text\n\0"), 0], 5);
    check("puts of nothing", abi::PUTS, [address(b"\0"), 0], 0);
    check("write", abi::CONSOLE_WRITE, [address(b"bytes\r\n"), 7], 7);
    check("write of nothing", abi::CONSOLE_WRITE, [address(b""), 0], 0);
    check("poll", abi::CONSOLE_POLL, [0, 0], 0);
    check("read without input", abi::CONSOLE_READ, [address(&[0; 8]), 8], 0);
}

/// A VM without capabilities learns of itself, and of nothing else, wherever it wants to have it.
fn other_vms() {
    let mut info = [0_u8; size_of::<vms::VmInfo>()];
    let place = info.as_mut_ptr().expose_provenance() as u64;
    check("info", vms::VM_INFO, [vms::VM_SELF, place], 0);
    check("info by number", vms::VM_INFO, [1, place], 0);
    if info[..4] != [1, 0, 0, 0] {
        println!("FAIL info: {info:?}");
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
    check("info to the info page", vms::VM_INFO, [vms::VM_SELF, abi::INFO_PAGE_BASE], -EFAULT);
    check("info across the end of RAM", vms::VM_INFO, [vms::VM_SELF, info::ram_size() - 8], -EFAULT);
    for number in (vms::VM_LIST..=vms::LOG_READ).chain([vms::SEND, vms::RECEIVE]) {
        for first in [0, 1, 2, u64::MAX] {
            check("without the capability", number, [first, u64::MAX], -abi::EPERM);
        }
    }
    check("info of another one", vms::VM_INFO, [2, place], -abi::EPERM);
}

/// Through the runtime's own functions, which take and give what Rust programs have.
fn file_calls() {
    let outcome = use_files();
    if outcome != Ok(true) {
        println!("FAIL files: {outcome:?}");
        FAILURES.fetch_add(1, Ordering::Relaxed);
    }
    let path = address(b"/d/rom");
    check("open without a mode", files::FILE_OPEN, [path, 6], -EINVAL);
    check("stat of what is not there", files::FILE_STAT, [path, 5], -abi::ENOENT);
    check("close of what is not open", files::FILE_CLOSE, [77, 0], -abi::EBADF);
    check("path outside RAM", files::FILE_MKDIR, [info::ram_size() - 1, 2], -EFAULT);
    check("path too long", files::FILE_MKDIR, [0x1_0000, files::PATH_MAX + 1], -abi::ENAMETOOLONG);
    check("space outside RAM", files::FILE_SPACE, [u64::MAX, 0], -EFAULT);
    (disks::BLK_INFO..=disks::BLK_FLUSH).for_each(|call| check("no disk", call, [0, 0], -abi::ENODEV));
    check("wake nobody", abi::WAKE, [u64::from(info::vcpu_count()), 0], -EINVAL);
    check("random outside RAM", abi::RANDOM, [info::ram_size(), 1], -EFAULT);
}

fn use_files() -> Result<bool, Errno> {
    use guest_rt::files::{
        File, OPEN_CREATE, OPEN_READ, OPEN_WRITE, SEEK_SET, make_directory, remove_directory, remove_file,
        rename, space, status,
    };
    let before = space()?;
    make_directory("/d")?;
    let mut file = File::open("/d/a", OPEN_READ | OPEN_WRITE | OPEN_CREATE)?;
    let mut good = file.write(b"hello")? == 5;
    file.truncate(4)?;
    file.seek(1, SEEK_SET)?;
    let mut buffer = [0; 8];
    good &= file.read(&mut buffer)? == 3 && &buffer[..3] == b"ell";
    drop(file);
    rename("/d/a", "/d/b")?;
    let entry = File::open("/d", OPEN_READ)?.next_entry()?;
    good &= entry.is_some_and(|entry| entry.name[..2] == *b"b\0" && entry.size == 4);
    good &= status("/rom")?.read_only == 1 && status("/d/b")?.modified <= hypercall::wall_clock()?;
    remove_file("/d/b")?;
    remove_directory("/d")?;
    hypercall::random(&mut buffer)?;
    Ok(good && space()?.nodes_free == before.nodes_free && buffer != [0; 8])
}

fn bad_strings() {
    let end = info::ram_size();
    check("puts at the end of RAM", abi::PUTS, [end, 0], -EFAULT);
    check("puts far outside", abi::PUTS, [0x4000_0000, 0], -EFAULT);
    check("puts at the last address", abi::PUTS, [u64::MAX, 0], -EFAULT);
    check("puts too long", abi::PUTS, [address(&LONG), 0], -EINVAL);
    check(
        "puts of the longest",
        abi::PUTS,
        [address(&LONG[1..]), 0],
        i64::try_from(TOO_LONG - 1).unwrap_or(-1),
    );
    // The stack starts at the end of RAM; its last bytes are nobody's.
    fill(end - 16, b'y');
    check("puts across the end of RAM", abi::PUTS, [end - 16, 0], -EFAULT);
}

fn bad_buffers() {
    let end = info::ram_size();
    for (call, name) in [(abi::CONSOLE_WRITE, "write"), (abi::CONSOLE_READ, "read")] {
        for (start, length) in [
            (end, 1),
            (end - 8, 9),
            (0, end + 1),
            (0, u64::MAX),
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
            (u64::MAX - 7, 16),
            (end - 1, u64::MAX),
            (0x10000, u64::MAX - 0xFFFF),
            (0x4008_0000, 8),
            (0x0900_0000, 1),
            (1 << 63, 1),
        ] {
            check(name, call, [start, length], -EFAULT);
        }
    }
}

/// The hypervisor must not write for a guest where the guest may not.
fn read_only_buffers() {
    for start in [abi::INFO_PAGE_BASE, abi::VECTORS_BASE, abi::ROM_BASE] {
        check("read into read-only memory", abi::CONSOLE_READ, [start, 8], -EFAULT);
    }
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// Fills 16 bytes at `start`.
fn fill(start: u64, byte: u8) {
    let start = usize::try_from(start).unwrap_or_default();
    let block: *mut [u8; 16] = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the caller names memory of this VM that nothing uses.
    unsafe { block.write([byte; 16]) }
}
