//! The functions of `<string.h>` for strings. `strlen` is in the compiler's own library.
//!
//! Strings that the callers pass end with a NUL, as C has it.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;

/// The bytes of a string before its NUL.
///
/// # Safety
///
/// `string` ends with a NUL.
unsafe fn bytes<'a>(string: *const c_char) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_bytes()
}

/// Compares two strings up to the first difference, which mostly comes early, or to their end.
///
/// # Safety
///
/// Both end with a NUL or have `limit` bytes.
unsafe fn compare(left: *const c_char, right: *const c_char, limit: usize) -> c_int {
    for index in 0..limit {
        // SAFETY: the caller's promise: no NUL came before.
        let (left, right) = unsafe { (*left.add(index), *right.add(index)) };
        if left != right || left == 0 {
            return c_int::from(left) - c_int::from(right);
        }
    }
    0
}

/// C passes a character as an `int` and means its low byte.
fn low_byte(character: c_int) -> u8 {
    character.to_le_bytes()[0]
}

/// A pointer to the element at `index`, NULL for none.
fn at(bytes: &[u8], index: Option<usize>) -> *mut u8 {
    index.map_or(ptr::null_mut(), |index| (&raw const bytes[index]).cast_mut())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strcmp(left: *const c_char, right: *const c_char) -> c_int {
    // SAFETY: both are strings.
    unsafe { compare(left, right, usize::MAX) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strncmp(left: *const c_char, right: *const c_char, size: usize) -> c_int {
    // SAFETY: both are strings, or have `size` bytes.
    unsafe { compare(left, right, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strchr(string: *const c_char, character: c_int) -> *mut c_char {
    // SAFETY: it is a string. Its NUL can be looked for as well.
    let bytes = unsafe { CStr::from_ptr(string) }.to_bytes_with_nul();
    at(bytes, bytes.iter().position(|&byte| byte == low_byte(character))).cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strrchr(string: *const c_char, character: c_int) -> *mut c_char {
    // SAFETY: it is a string. Its NUL can be looked for as well.
    let bytes = unsafe { CStr::from_ptr(string) }.to_bytes_with_nul();
    at(bytes, bytes.iter().rposition(|&byte| byte == low_byte(character))).cast()
}

/// Length of the start of a string that has only bytes for which `wanted` is true.
fn span(string: &[u8], wanted: impl Fn(&u8) -> bool) -> usize {
    string.iter().take_while(|byte| wanted(byte)).count()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strspn(string: *const c_char, accepted: *const c_char) -> usize {
    // SAFETY: both are strings.
    let (string, accepted) = unsafe { (bytes(string), bytes(accepted)) };
    span(string, |byte| accepted.contains(byte))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strcspn(string: *const c_char, refused: *const c_char) -> usize {
    // SAFETY: both are strings.
    let (string, refused) = unsafe { (bytes(string), bytes(refused)) };
    span(string, |byte| !refused.contains(byte))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: it is a string, and `to` has room for it.
    unsafe {
        let bytes = CStr::from_ptr(from).to_bytes_with_nul();
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), to, bytes.len());
    }
    to
}

/// Not a string if `from` fills all of `to`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strncpy(to: *mut c_char, from: *const c_char, size: usize) -> *mut c_char {
    // SAFETY: it is a string, and `to` has room for `size` bytes.
    unsafe {
        let string = bytes(from);
        let length = string.len().min(size);
        ptr::copy_nonoverlapping(string.as_ptr().cast(), to, length);
        ptr::write_bytes(to.add(length), 0, size - length);
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memchr(start: *const c_void, byte: c_int, size: usize) -> *mut c_void {
    // SAFETY: `start` has `size` bytes.
    let bytes = unsafe { core::slice::from_raw_parts(start.cast(), size) };
    at(bytes, bytes.iter().position(|&other| other == low_byte(byte))).cast()
}
