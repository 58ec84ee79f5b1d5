//! Hypercalls: one file for each group of the ABI.
//!
//! Nothing here allocates, but for what SPAWN has to keep, and nothing a guest passes is used before it has been checked.

mod basic;
mod board;
mod console;
mod disks;
mod files;
mod messages;
pub mod psci;
mod record;
mod time;
mod vms;

use crate::{arch::context::GuestRegisters, clock, memory::guest::BadAddress, vm::Vm};
use tinyvmm_abi as abi;

/// What a guest gets instead of a result: a number of [`tinyvmm_abi`], positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i64);

impl From<BadAddress> for Errno {
    fn from(_: BadAddress) -> Self {
        Self(BadAddress::ERRNO)
    }
}

/// How the guest goes on after a hypercall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// With the next instruction.
    Continue,
    /// Not at all: the VM ends with this code.
    Exit(u8),
    /// After a call of the SMC Calling Convention, which is still to be carried out.
    Secure,
}

/// Calls of the SMC Calling Convention (Arm DEN0028) have this bit set.
const SMCCC: u64 = 1 << 31;

/// Carries out the hypercall that the registers name.
#[inline]
pub fn call(vm: &Vm, registers: &mut GuestRegisters) -> Flow {
    let [number, a1, a2, a3, a4, ..] = registers.x;
    if number & SMCCC != 0 {
        return Flow::Secure;
    }
    let result = match number {
        abi::EXIT => return Flow::Exit(basic::exit_code(a1)),
        abi::PUTCHAR => Ok(basic::putchar(vm, a1)),
        abi::PUTS => basic::puts(vm, a1),
        abi::VERSION => Ok(u64::from(abi::ABI_VERSION)),
        abi::FEATURES => Ok(basic::features(a1)),
        abi::CONSOLE_WRITE => console::write(vm, a1, a2),
        abi::CONSOLE_READ => console::read(vm, a1, a2),
        abi::CONSOLE_POLL => Ok(console::poll(vm)),
        abi::CONSOLE_SIZE => Ok(console::size()),
        abi::files::FILE_OPEN..=abi::files::FILE_SPACE => files::call(vm, number, [a1, a2, a3, a4]),
        abi::WALL_CLOCK => Ok(clock::now()),
        abi::WAKE => time::wake(vm, a1),
        abi::RANDOM => time::random(vm, a1, a2),
        abi::disks::BLK_INFO..=abi::disks::BLK_FLUSH => disks::call(vm, number, [a1, a2, a3, a4]),
        abi::vms::VM_INFO..=abi::vms::LOG_READ => vms::call(vm, number, [a1, a2, a3, a4]),
        abi::vms::SEND => messages::send(vm, a1, a2, a3),
        abi::vms::RECEIVE => messages::receive(vm, a1, a2),
        abi::board::BOARD_LED..=abi::board::BOARD_POWER => board::call(vm, number, a1),
        _ => Err(Errno(abi::ENOSYS)),
    };
    registers.x[0] = result.unwrap_or_else(|Errno(number)| number.wrapping_neg().cast_unsigned());
    Flow::Continue
}

/// Whether a call number belongs to the SMC Calling Convention.
#[must_use]
pub fn is_secure_call(registers: &GuestRegisters) -> bool {
    registers.x[0] & SMCCC != 0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        bundle::manifest::Capabilities,
        disks::{self, Disk},
        memory::frames::tests::frames,
        vm::{self, Mailbox, VmId},
    };
    use abi::vms::CAPABILITY_MESSAGES;
    use proptest::prelude::*;
    use spin::Mutex;

    const RAM: u64 = 128 << 10;

    fn vm() -> Vm {
        vm::tests::vm(VmId(0), RAM, frames(256))
    }

    /// A VM that may do this, with a mailbox if it may have one.
    fn vm_with(capabilities: u32) -> Vm {
        let mut vm = vm();
        vm.capabilities = Capabilities(capabilities);
        if capabilities & CAPABILITY_MESSAGES != 0 {
            vm.mailbox = Some(Mutex::new(Mailbox::new(frames(16)).unwrap()));
        }
        vm
    }

    /// A VM with sectors 1 to 99 of a device of 100, which fails like this.
    fn vm_with_disk(failure: Option<disks::Error>) -> Vm {
        let (device, _) = disks::tests::device((0..100).flat_map(|sector| [sector; 512]).collect(), failure);
        let mut vm = vm();
        vm.disks.extend(Disk::part(device, 1, 99));
        vm
    }

    fn call_with(vm: &Vm, args: &[u64]) -> i64 {
        let mut registers = GuestRegisters::default();
        registers.x = core::array::from_fn(|index| args.get(index).copied().unwrap_or(0x55));
        let before = registers.clone();
        assert_eq!(call(vm, &mut registers), Flow::Continue);
        assert_eq!(registers.x[1..], before.x[1..], "every other register is preserved");
        registers.x[0].cast_signed()
    }

    fn put(vm: &Vm, address: u64, bytes: &[u8]) {
        vm.memory.write(vm.memory.check(address, bytes.len() as u64).unwrap(), bytes);
    }

    #[test]
    fn version_and_features() {
        let vm = vm();
        assert_eq!(call_with(&vm, &[abi::VERSION]), 1 << 16 | 2);
        let groups = 1 << (0x90 / 8) | 1 << (0x70 / 8) | 0b1101 << (0x40 / 8) | 0b1101_0101;
        assert_eq!(call_with(&vm, &[abi::FEATURES, 0]), groups, "and 0, 0x10, 0x20, 0x30 and 0x38");
        assert_eq!(call_with(&vm, &[abi::FEATURES, 1]), 0);
        assert_eq!(call_with(&vm, &[abi::FEATURES, u64::MAX]), 0);
    }

    #[test]
    fn exit_codes_have_eight_bits() {
        let mut registers = GuestRegisters::default();
        registers.x[1] = 0x1_0107;
        assert_eq!(call(&vm(), &mut registers), Flow::Exit(7));
    }

    #[test]
    fn unknown_numbers_are_refused() {
        let vm = vm();
        for number in
            [5, 0xf, 0x14, 0x2d, 0x31, 0x39, 0x44, 0x4f, 0x59, 0x6f, 0x72, 0x7fff_ffff, 1 << 32, 1 << 63]
        {
            assert_eq!(call_with(&vm, &[number, 0, 0]), -abi::ENOSYS, "{number:#x}");
        }
        let mut registers = GuestRegisters::default();
        registers.x[0] = 0x8400_0000;
        assert_eq!(call(&vm, &mut registers), Flow::Secure);
    }

    #[test]
    fn puts_wants_a_nul_in_time() {
        let vm = vm();
        put(&vm, 0x100, b"hello\0");
        assert_eq!(call_with(&vm, &[abi::PUTS, 0x100]), 5);
        assert_eq!(call_with(&vm, &[abi::PUTS, 0x105]), 0);
        put(&vm, RAM - 4, b"last");
        assert_eq!(call_with(&vm, &[abi::PUTS, RAM - 4]), -abi::EFAULT, "runs out of RAM");
        put(&vm, 0, &[b'x'; 100 << 10]);
        assert_eq!(call_with(&vm, &[abi::PUTS, 0]), -abi::EINVAL, "longer than may be");
        assert_eq!(call_with(&vm, &[abi::PUTS, RAM]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[abi::PUTS, u64::MAX]), -abi::EFAULT);
    }

    #[test]
    fn console_buffers_are_checked_whole() {
        let vm = vm();
        assert_eq!(call_with(&vm, &[abi::CONSOLE_WRITE, 0, 10]), 10);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_WRITE, RAM - 1, 2]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_WRITE, 1, u64::MAX]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_WRITE, abi::INFO_PAGE_BASE, 1]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_READ, RAM, 1]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_READ, 0, 0]), 0);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_POLL]), 0);
        assert_eq!(call_with(&vm, &[abi::CONSOLE_SIZE]), 24 << 16 | 80);
        let long = call_with(&vm, &[abi::CONSOLE_WRITE, 0, RAM]);
        assert!(0 < long && long < RAM.cast_signed(), "long writes are done in pieces");
    }

    #[test]
    fn files_go_through_guest_memory() {
        use abi::files::*;
        let vm = vm();
        put(&vm, 0x100, b"/a/dir/dir/b");
        let call = |args: &[u64]| call_with(&vm, args);
        let (a, b) = ([0x100, 2], [0x106, 4]);
        assert_eq!(call(&[FILE_OPEN, a[0], a[1], OPEN_READ]), -abi::ENOENT);
        assert_eq!(call(&[FILE_OPEN, a[0], a[1], OPEN_READ | OPEN_WRITE | OPEN_CREATE]), 0);
        assert_eq!(call(&[FILE_WRITE, 0, 0, RAM]), 14 << 12, "the quota is 16 pages");
        assert_eq!(call(&[FILE_WRITE, 0, RAM - 1, 2]), -abi::EFAULT);
        assert_eq!(call(&[FILE_SEEK, 0, 0x100, SEEK_SET]), 0x100);
        assert_eq!(call(&[FILE_READ, 0, 0x1000, 4]), 4);
        let mut bytes = [0; 4];
        vm.memory.read(vm.memory.check(0x1000, 4).unwrap(), &mut bytes);
        assert_eq!(&bytes, b"/a/d");
        assert_eq!(call(&[FILE_READ, 0, RAM, 1]), -abi::EFAULT);
        assert_eq!(call(&[FILE_TRUNCATE, 0, 0]), 0);
        assert_eq!(call(&[FILE_CLOSE, 0]), 0);
        assert_eq!(call(&[FILE_CLOSE, 0]), -abi::EBADF);
        assert_eq!(call(&[FILE_MKDIR, b[0], b[1]]), 0);
        assert_eq!(call(&[FILE_STAT, b[0], b[1], 0x1000]), 0);
        vm.memory.read(vm.memory.check(0x1000, 4).unwrap(), &mut bytes);
        assert_eq!(u32::from_ne_bytes(bytes), KIND_DIRECTORY);
        assert_eq!(call(&[FILE_STAT, b[0], b[1], RAM - 4]), -abi::EFAULT);
        assert_eq!(call(&[FILE_STAT, RAM, 1, 0x1000]), -abi::EFAULT);
        assert_eq!(call(&[FILE_STAT, 0, PATH_MAX + 1, 0x1000]), -abi::ENAMETOOLONG);
        assert_eq!(call(&[FILE_UNLINK, b[0], b[1], 0]), -abi::EISDIR);
        assert_eq!(call(&[FILE_UNLINK, b[0], b[1], 2]), -abi::EINVAL);
        assert_eq!(call(&[FILE_RENAME, a[0], a[1], b[0], b[1]]), -abi::EISDIR);
        assert_eq!(call(&[FILE_UNLINK, b[0], b[1], 1]), 0);
        assert_eq!(call(&[FILE_RENAME, a[0], a[1], b[0], b[1]]), 0);
        assert_eq!(call(&[FILE_OPEN, 0x100, 0, OPEN_READ]), -abi::EINVAL);
        put(&vm, 0x100, b"/");
        assert_eq!(call(&[FILE_OPEN, 0x100, 1, OPEN_READ]), 0);
        assert_eq!(call(&[FILE_READDIR, 0, RAM - 8]), -abi::EFAULT);
        assert_eq!([1, 0].map(|_| call(&[FILE_READDIR, 0, 0x1000])), [1, 0]);
        assert_eq!(call(&[FILE_SPACE, 0x1000]), 0);
        assert_eq!(call(&[FILE_SYNC]), 0);
    }

    #[test]
    fn a_board_without_devices_says_so() {
        use abi::board::{BOARD_LED, BOARD_POWER, BOARD_TEMPERATURE, CAPABILITY_BOARD};
        let allowed = vm_with(CAPABILITY_BOARD);
        for (call, result) in [
            ([BOARD_LED, 1], -abi::ENODEV),
            ([BOARD_LED, 2], -abi::EINVAL),
            ([BOARD_TEMPERATURE, 0], -abi::ENODEV),
            ([BOARD_POWER, 2], -abi::EINVAL),
        ] {
            assert_eq!(call_with(&vm(), &call), -abi::EPERM);
            assert_eq!(call_with(&allowed, &call), result);
        }
    }

    #[test]
    fn disks_go_through_guest_memory() {
        use abi::disks::*;
        let vm = vm_with_disk(None);
        let call = |args: &[u64]| call_with(&vm, args);
        assert_eq!(call(&[BLK_INFO, 0]), 99);
        assert_eq!(call(&[BLK_READ, 0, 97, 0x1000, 2]), 2);
        let mut bytes = [0; 1024];
        vm.memory.read(vm.memory.check(0x1000, 1024).unwrap(), &mut bytes);
        assert_eq!((&bytes[..512], &bytes[512..]), (&[98; 512][..], &[99; 512][..]));
        assert_eq!(call(&[BLK_WRITE, 0, 0, 0x1000, 2]), 2);
        assert_eq!(call(&[BLK_READ, 0, 0, 0x2000, 99]), 64, "more takes another call");
        vm.memory.read(vm.memory.check(0x2000 + 512, 1024).unwrap(), &mut bytes);
        assert_eq!((bytes[0], bytes[512]), (99, 3));
        assert_eq!(call(&[BLK_FLUSH, 0]), 0);
    }

    #[test]
    fn what_a_disk_does_not_have_is_refused() {
        use abi::disks::*;
        let vm = vm_with_disk(None);
        for number in [BLK_READ, BLK_WRITE] {
            let call = |args: [u64; 4]| call_with(&vm, &[&[number][..], &args].concat());
            assert_eq!([call([1, 0, 0, 1]), call([u64::MAX, 0, 0, 1])], [-abi::ENODEV; 2]);
            for (first, count) in [(99, 1), (98, 2), (0, 100), (1, u64::MAX), (u64::MAX, 1), (u64::MAX, 0)] {
                assert_eq!(call([0, first, 0, count]), -abi::EINVAL, "{first} {count}");
            }
            assert_eq!(call([0, 0, RAM - 512, 2]), -abi::EFAULT, "the buffer is checked whole");
            assert_eq!(call([0, 99, 0, 0]), 0);
        }
    }

    #[test]
    fn a_disk_that_fails_is_an_error_number() {
        use abi::disks::*;
        for (failure, expected) in [
            (disks::Error::Failed, [-abi::EIO; 3]),
            (disks::Error::Gone, [-abi::EIO; 3]),
            (disks::Error::ReadOnly, [1, -abi::EROFS, 0]),
        ] {
            let vm = vm_with_disk(Some(failure));
            let flush = if failure == disks::Error::ReadOnly { 0 } else { call_with(&vm, &[BLK_FLUSH, 0]) };
            let calls = [BLK_READ, BLK_WRITE].map(|number| call_with(&vm, &[number, 0, 0, 0, 1]));
            assert_eq!([calls[0], calls[1], flush], expected);
        }
    }

    #[test]
    fn time_waking_and_chance() {
        let vm = vm();
        assert!(call_with(&vm, &[abi::WALL_CLOCK]) > 0);
        assert_eq!(call_with(&vm, &[abi::WAKE, 0]), 0);
        assert!(vm.links[0].take_event(), "its next wait ends at once");
        for vcpu in [1, 256, u64::MAX] {
            assert_eq!(call_with(&vm, &[abi::WAKE, vcpu]), -abi::EINVAL);
        }
        assert_eq!(call_with(&vm, &[abi::RANDOM, 0x100, 300]), 300);
        let mut bytes = [0; 301];
        vm.memory.read(vm.memory.check(0x100, 301).unwrap(), &mut bytes);
        assert!(bytes.windows(8).filter(|window| window.iter().all(|byte| *byte == 0)).count() == 0);
        assert_eq!(bytes[300], 0, "no more than was asked for");
        assert_eq!(call_with(&vm, &[abi::RANDOM, 0, RAM]), 4096);
        assert_eq!(call_with(&vm, &[abi::RANDOM, RAM - 1, 2]), -abi::EFAULT);
    }

    #[test]
    fn what_is_not_allowed_is_refused_whatever_else_is_wrong() {
        use abi::vms::*;
        for (number, needed) in [
            (VM_INFO, CAPABILITY_CONTROL),
            (VM_LIST, CAPABILITY_CONTROL),
            (VM_SPAWN, CAPABILITY_CONTROL),
            (VM_KILL, CAPABILITY_CONTROL),
            (VM_WAIT_EXIT, CAPABILITY_CONTROL),
            (VM_PAUSE, CAPABILITY_CONTROL),
            (VM_RESUME, CAPABILITY_CONTROL),
            (VM_FIND, CAPABILITY_CONTROL | CAPABILITY_MESSAGES),
            (LOG_READ, CAPABILITY_LOG),
            (SEND, CAPABILITY_MESSAGES),
            (RECEIVE, CAPABILITY_MESSAGES),
        ] {
            for capabilities in 0..8 {
                let result = call_with(&vm_with(capabilities), &[number, 7, u64::MAX, 1]);
                let may = capabilities & needed != 0;
                assert_eq!(result != -abi::EPERM, may, "{number:#x} with {capabilities:#b}: {result}");
            }
        }
    }

    #[test]
    fn vms_are_named_by_numbers_and_names() {
        use abi::vms::*;
        let vm = vm_with(CAPABILITY_CONTROL);
        put(&vm, 0x100, b"nobody\0x\0\xff");
        for number in [2, u64::MAX] {
            for call in [VM_INFO, VM_KILL, VM_PAUSE, VM_RESUME] {
                assert_eq!(call_with(&vm, &[call, number, 0x1000]), -abi::ESRCH, "{call:#x} {number}");
            }
        }
        assert_eq!(call_with(&vm, &[VM_FIND, 0x100, 6]), -abi::ESRCH);
        assert_eq!(call_with(&vm, &[VM_FIND, 0x100, 33]), -abi::ESRCH, "longer than any name");
        assert_eq!(call_with(&vm, &[VM_FIND, RAM, 1]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[VM_SPAWN, RAM, 1, 0, 0]), -abi::EFAULT);
        assert_eq!(call_with(&vm, &[VM_WAIT_EXIT, 2]), -abi::EAGAIN);
        assert!(vm.take_wait_for_others() && !vm.take_wait_for_others());
    }

    #[test]
    fn messages_come_as_they_were_sent() {
        use abi::vms::*;
        let vm = vm_with(CAPABILITY_MESSAGES);
        let call = |args: &[u64]| call_with(&vm, args);
        put(&vm, 0x100, b"a message");
        assert_eq!(call(&[RECEIVE, 0x1000, 9]), -abi::EAGAIN);
        assert_eq!(call(&[SEND, VM_SELF, 0x100, 9]), 0);
        assert!(vm.links[0].take_event(), "its wait ends");
        assert_eq!(call(&[SEND, 1, RAM, 0]), 0, "one without a byte");
        assert_eq!(call(&[RECEIVE, 0x1000, 8]), -abi::EMSGSIZE);
        assert_eq!(call(&[RECEIVE, RAM - 4, 9]), -abi::EFAULT);
        assert_eq!(call(&[RECEIVE, 0x1000, 9]), 1 << 32 | 9);
        let mut bytes = [0; 10];
        vm.memory.read(vm.memory.check(0x1000, 10).unwrap(), &mut bytes);
        assert_eq!(&bytes, b"a message\0");
        assert_eq!(call(&[RECEIVE, RAM, 0]), 1 << 32);
        assert_eq!(call(&[SEND, 1, 0, MESSAGE_MAX + 1]), -abi::EMSGSIZE);
        assert_eq!(call(&[SEND, 1, RAM - 1, 2]), -abi::EFAULT);
        assert_eq!(call(&[SEND, 2, 0, 1]), -abi::ESRCH);
        assert_eq!(call(&[SEND, u64::MAX, 0, 1]), -abi::ESRCH);
        assert_eq!([0; 4].map(|_| call(&[SEND, 1, 0, MESSAGE_MAX])), [0, 0, 0, -abi::EAGAIN]);
        assert!(vm.take_wait_for_others());
    }

    proptest! {
        /// Whatever a guest passes, the answer is a result or an error number, and nothing outside changes.
        #[test]
        fn no_arguments_do_harm(number in 1_u64..0x80, args: [u64; 6], capabilities in 0_u32..8) {
            let mut vm = vm_with(capabilities);
            vm.disks = vm_with_disk(None).disks;
            let mut registers = GuestRegisters::default();
            registers.x[0] = number;
            registers.x[1..7].copy_from_slice(&args);
            prop_assert_eq!(call(&vm, &mut registers), Flow::Continue);
            prop_assert!(registers.x[0].cast_signed() > -200);
        }
    }
}
