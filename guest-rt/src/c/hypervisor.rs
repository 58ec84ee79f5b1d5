//! The hypervisor's services for C. build.rs makes the declarations in `tinyvmm.h` from this file.

use core::ffi::{CStr, c_char};
use core::ptr;
use core::time::Duration;

use crate::hypercall::{self, Errno};
use crate::{console, info, memory, time};

/// How the VM's RAM is divided.
#[repr(C)]
pub struct Memory {
    /// Start of the memory that the program may use as it likes.
    pub free_start: *mut u8,
    /// End of that memory.
    pub free_end: *mut u8,
    /// Where the stack starts to grow down.
    pub stack_top: *mut u8,
    /// Bytes that the stack may take.
    pub stack_size: usize,
}

/// Read-only data that the VM was given.
#[repr(C)]
pub struct Rom {
    /// Its first byte; NULL when there is none.
    pub start: *const u8,
    /// Its length in bytes.
    pub length: usize,
}

/// Ends the VM.
#[unsafe(no_mangle)]
extern "C" fn hv_exit(code: u8) -> ! {
    hypercall::exit(code)
}

/// Writes a byte of text. Returns 0 or a negative error number.
#[unsafe(no_mangle)]
extern "C" fn hv_putchar(byte: u8) -> i64 {
    status(hypercall::putchar(byte))
}

/// Writes a string of text. Returns its length or a negative error number.
///
/// # Safety
///
/// `text` ends with a NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_puts(text: *const c_char) -> i64 {
    // SAFETY: the caller's promise.
    count(hypercall::puts(unsafe { CStr::from_ptr(text) }))
}

/// Returns the version of the ABI, `major << 16 | minor`, or a negative error number.
#[unsafe(no_mangle)]
extern "C" fn hv_version() -> i64 {
    match hypercall::version() {
        Ok(version) => i64::from(version.major) << 16 | i64::from(version.minor),
        Err(Errno(number)) => -number,
    }
}

/// Writes bytes to the console as they are. Returns 0 or a negative error number.
///
/// # Safety
///
/// `bytes` points to `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_console_write(bytes: *const c_char, length: usize) -> i64 {
    // SAFETY: the caller's promise.
    status(console::write_all(unsafe { core::slice::from_raw_parts(bytes.cast(), length) }))
}

/// Reads what console input there is. Returns the number of bytes or a negative error number.
///
/// # Safety
///
/// `buffer` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_console_read(buffer: *mut u8, length: usize) -> i64 {
    // SAFETY: the caller's promise.
    count(hypercall::console_read(unsafe { core::slice::from_raw_parts_mut(buffer, length) }))
}

/// Makes the hypercall `number`, one of those that C programs have no function for: files. Returns its result or a
/// negative error number.
///
/// # Safety
///
/// Where the call writes to memory, the arguments name memory that it may write to.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_call(number: u64, first: u64, second: u64, third: u64, fourth: u64) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { hypercall::hvc_with(number, [first, second, third, fourth]) }
}

/// Returns the time of day in nanoseconds since 1970, or 0 if the hypervisor does not tell.
#[unsafe(no_mangle)]
extern "C" fn hv_wall_clock() -> u64 {
    hypercall::wall_clock().unwrap_or(0)
}

/// Ends the wait of another vCPU, or its next one.
#[unsafe(no_mangle)]
extern "C" fn hv_wake(vcpu: usize) {
    // A vCPU that is not there does not wait.
    let _ = hypercall::wake(vcpu as u64);
}

/// Fills a buffer with random bytes. Returns 0 or a negative error number.
///
/// # Safety
///
/// `buffer` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_random(buffer: *mut u8, length: usize) -> i64 {
    // SAFETY: the caller's promise.
    status(hypercall::random(unsafe { core::slice::from_raw_parts_mut(buffer, length) }))
}

/// Ends the VM and starts it anew.
#[unsafe(no_mangle)]
extern "C" fn hv_reset() -> ! {
    /// SYSTEM_RESET of PSCI (Arm DEN0022, 5.1.11).
    const SYSTEM_RESET: u64 = 0x8400_0009;
    // SAFETY: the call takes no address.
    let result = unsafe { hypercall::hvc(SYSTEM_RESET, 0, 0) };
    unreachable!("the VM goes on after its end ({result})")
}

/// Returns the ticks of the counter in a second.
#[unsafe(no_mangle)]
extern "C" fn hv_frequency() -> u64 {
    time::frequency()
}

/// Returns the number of vCPUs.
#[unsafe(no_mangle)]
extern "C" fn hv_vcpu_count() -> usize {
    memory::vcpus()
}

/// Returns the argument string number `index`, NULL after the last one.
#[unsafe(no_mangle)]
extern "C" fn hv_arg(index: usize) -> *const c_char {
    info::args().nth(index).map_or(ptr::null(), CStr::as_ptr)
}

/// Returns the ROM image.
#[unsafe(no_mangle)]
extern "C" fn hv_rom() -> Rom {
    let rom = info::rom();
    let start = if rom.is_empty() { ptr::null() } else { rom.as_ptr() };
    Rom { start, length: rom.len() }
}

/// Returns how the RAM is divided.
#[unsafe(no_mangle)]
extern "C" fn hv_memory() -> Memory {
    let free = memory::free();
    Memory {
        free_start: ptr::with_exposed_provenance_mut(free.start),
        free_end: ptr::with_exposed_provenance_mut(free.end),
        stack_top: ptr::with_exposed_provenance_mut(memory::ram_top()),
        stack_size: memory::stack_size(),
    }
}

/// Returns the RAM that a VM with this image needs so that `free` bytes of it are free.
#[unsafe(no_mangle)]
extern "C" fn hv_ram_needed(free: usize) -> usize {
    memory::ram_needed(free)
}

/// Returns the ticks of the counter.
#[unsafe(no_mangle)]
extern "C" fn hv_ticks() -> u64 {
    time::counter()
}

/// Returns the nanoseconds since power-on.
#[unsafe(no_mangle)]
extern "C" fn hv_nanoseconds() -> u64 {
    u64::try_from(time::uptime().as_nanos()).unwrap_or(u64::MAX)
}

/// Waits for console input that came after the last wait ended.
#[unsafe(no_mangle)]
extern "C" fn hv_wait() {
    time::wait();
}

/// Waits for the same, but no longer than until `hv_nanoseconds()` has reached `deadline`.
#[unsafe(no_mangle)]
extern "C" fn hv_wait_until(deadline: u64) {
    time::wait_until(time::ticks_at(Duration::from_nanos(deadline)));
}

fn status(result: Result<(), Errno>) -> i64 {
    result.map_or_else(|Errno(number)| -number, |()| 0)
}

fn count(result: Result<usize, Errno>) -> i64 {
    match result {
        Ok(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Err(Errno(number)) => -number,
    }
}
