//! The hypercalls of the ABI as functions.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

use tinyvmm_abi as abi;

/// Why the hypervisor refused a call: a positive error number of the ABI, such as [`abi::EFAULT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i64);

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "hypercall failed with error number {}", self.0)
    }
}

impl core::error::Error for Errno {}

/// Version of the ABI that the hypervisor offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Guests written for another major version do not work.
    pub major: u16,
    /// Grows when calls are added.
    pub minor: u16,
}

/// Ends the VM.
pub fn exit(code: u8) -> ! {
    // SAFETY: the call takes no address.
    let result = unsafe { hvc(abi::EXIT, u64::from(code), 0) };
    unreachable!("the VM goes on after its end ({result})")
}

/// Writes a byte of text: a line feed also returns the carriage.
pub fn putchar(byte: u8) -> Result<(), Errno> {
    // SAFETY: the call takes no address.
    checked(unsafe { hvc(abi::PUTCHAR, u64::from(byte), 0) }).map(drop)
}

/// Writes a string of text, at most [`abi::PUTS_MAX`] bytes long, and returns how many bytes it has.
pub fn puts(text: &CStr) -> Result<usize, Errno> {
    // SAFETY: the hypervisor reads the string only.
    count(unsafe { hvc(abi::PUTS, address(text.as_ptr()), 0) })
}

/// Asks for the version of the ABI.
pub fn version() -> Result<Version, Errno> {
    // SAFETY: the call takes no address.
    let word = checked(unsafe { hvc(abi::VERSION, 0, 0) })?;
    let [.., a, b, c, d] = word.to_be_bytes();
    Ok(Version { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]) })
}

/// Asks for a word of the bit set that says which groups of calls are there.
pub fn features(word: u64) -> Result<u64, Errno> {
    // SAFETY: the call takes no address.
    checked(unsafe { hvc(abi::FEATURES, word, 0) })
}

/// Writes bytes to the console as they are, and returns how many were taken.
pub fn console_write(bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the hypervisor reads the bytes only.
    count(unsafe { hvc(abi::CONSOLE_WRITE, address(bytes.as_ptr()), length(bytes)) })
}

/// Reads what input there is into `buffer`, and returns how many bytes that were.
pub fn console_read(buffer: &mut [u8]) -> Result<usize, Errno> {
    let length = length(buffer);
    // SAFETY: the hypervisor writes at most the length of the buffer, which is ours.
    count(unsafe { hvc(abi::CONSOLE_READ, address(buffer.as_mut_ptr()), length) })
}

/// Returns how many bytes of input there are.
pub fn console_poll() -> Result<usize, Errno> {
    // SAFETY: the call takes no address.
    count(unsafe { hvc(abi::CONSOLE_POLL, 0, 0) })
}

/// Asks for the time of day in nanoseconds since 1970.
pub fn wall_clock() -> Result<u64, Errno> {
    // SAFETY: the call takes no address.
    checked(unsafe { hvc(abi::WALL_CLOCK, 0, 0) })
}

/// Ends the wait of another vCPU of this VM, or its next one.
pub fn wake(vcpu: u64) -> Result<(), Errno> {
    // SAFETY: the call takes no address.
    checked(unsafe { hvc(abi::WAKE, vcpu, 0) }).map(drop)
}

/// Fills the buffer with random bytes that are fit for secrets.
pub fn random(mut buffer: &mut [u8]) -> Result<(), Errno> {
    while !buffer.is_empty() {
        let length = length(buffer);
        // SAFETY: the hypervisor writes at most the length of the buffer, which is ours.
        let count = count(unsafe { hvc(abi::RANDOM, address(buffer.as_mut_ptr()), length) })?;
        buffer = &mut buffer[count..];
    }
    Ok(())
}

/// Makes the hypercall `number`. All registers but X0 are preserved.
///
/// # Safety
///
/// Where the call writes to memory, the arguments must name memory that it may write to.
pub unsafe fn hvc(number: u64, first: u64, second: u64) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { hvc_with(number, [first, second, 0, 0]) }
}

/// Makes the hypercall `number` with more arguments. All registers but X0 are preserved.
///
/// # Safety
///
/// Where the call writes to memory, the arguments must name memory that it may write to.
pub unsafe fn hvc_with(number: u64, [first, second, third, fourth]: [u64; 4]) -> i64 {
    let result;
    // SAFETY: the calling convention of the ABI; the caller vouches for the memory.
    unsafe {
        asm!(
            "hvc #0",
            inlateout("x0") number => result,
            in("x1") first,
            in("x2") second,
            in("x3") third,
            in("x4") fourth,
            options(nostack, preserves_flags),
        );
    }
    result
}

/// Tells an error from a result.
pub(crate) fn checked(result: i64) -> Result<u64, Errno> {
    u64::try_from(result).map_err(|_| Errno(-result))
}

/// The result of a call that counts bytes of the guest's memory.
pub(crate) fn count(result: i64) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno(-result))
}

/// Addresses are 64 bits wide on this machine. The hypervisor will look at what is there.
pub(crate) fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

pub(crate) fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
