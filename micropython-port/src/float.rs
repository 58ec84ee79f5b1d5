//! Floating-point numbers as text, exactly: what upstream computes in doubles is off by a digit now and
//! then, and does not print all digits that a number needs.
//!
//! `float.c` calls these functions, and falls back to upstream's where they decline.

use core::fmt::{self, Write};

/// From this power of ten on, CPython's `repr` has an exponent.
const REPR_EXPONENT: i32 = 16;
/// Below this power of ten, `repr` and the format `g` have an exponent.
const SMALL_EXPONENT: i32 = -4;
/// Room for a number while it is taken apart: upstream's buffers have no more.
const SCIENTIFIC_MAX: usize = 32;

/// Reads a decimal number that has nothing before or after it. Returns false for any other text.
///
/// # Safety
///
/// `text` points to `length` bytes and `value` to a number to write to.
#[unsafe(no_mangle)]
unsafe extern "C" fn port_parse_float(text: *const u8, length: usize, value: *mut f64) -> bool {
    // SAFETY: the caller's promise.
    let text = unsafe { core::slice::from_raw_parts(text, length) };
    match parse(text) {
        Some(number) => {
            // SAFETY: the caller's promise.
            unsafe { *value = number };
            true
        }
        None => false,
    }
}

/// Writes the shortest text that stands for this number and no other. Returns its length, 0 when it
/// does not fit or the number is not finite.
///
/// # Safety
///
/// `buffer` points to `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn port_format_shortest(value: f64, buffer: *mut u8, size: usize, sign: u8) -> usize {
    // SAFETY: the caller's promise.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, size) };
    write_signed(buffer, value, sign, shortest)
}

/// Writes a number with `precision` digits in one of the formats `e`, `f` and `g`, or their capitals.
/// Returns the length of the text, 0 when it does not fit or the number is not finite.
///
/// # Safety
///
/// `buffer` points to `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn port_format_digits(
    value: f64,
    buffer: *mut u8,
    size: usize,
    format: u8,
    precision: usize,
    sign: u8,
) -> usize {
    // SAFETY: the caller's promise.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, size) };
    let length = write_signed(buffer, value, sign, |text, value| match format.to_ascii_lowercase() {
        b'e' => scientific(text, value, precision),
        b'f' => write!(text, "{value:.precision$}"),
        b'g' => general(text, value, precision.max(1)),
        _ => Err(fmt::Error),
    });
    if format.is_ascii_uppercase() {
        buffer[..length].make_ascii_uppercase();
    }
    length
}

fn parse(text: &[u8]) -> Option<f64> {
    // Rust reads "inf" and "nan" as well; those are left to upstream.
    let decimal = text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    core::str::from_utf8(text).ok().filter(|_| decimal)?.parse().ok()
}

/// Writes a finite number after its sign, and a NUL at the end.
fn write_signed(
    buffer: &mut [u8],
    value: f64,
    sign: u8,
    digits: impl FnOnce(&mut Text, f64) -> fmt::Result,
) -> usize {
    let mut text = Text { buffer, length: 0 };
    let result = match value {
        value if !value.is_finite() => Err(fmt::Error),
        value if value.is_sign_negative() => text.write_char('-'),
        _ if sign != 0 => text.write_char(char::from(sign)),
        _ => Ok(()),
    };
    let result = result.and_then(|()| digits(&mut text, value.abs())).and_then(|()| text.write_char('\0'));
    result.map_or(0, |()| text.length - 1)
}

fn shortest(text: &mut Text, value: f64) -> fmt::Result {
    let mut space = [0; SCIENTIFIC_MAX];
    let (mantissa, exponent) = split(&mut space, format_args!("{value:e}"))?;
    match exponent {
        SMALL_EXPONENT..REPR_EXPONENT => write!(text, "{value}"),
        _ => write_scientific(text, mantissa, exponent),
    }
}

/// `decimals` are the digits after the point.
fn scientific(text: &mut Text, value: f64, decimals: usize) -> fmt::Result {
    let mut space = [0; SCIENTIFIC_MAX];
    let (mantissa, exponent) = split(&mut space, format_args!("{value:.decimals$e}"))?;
    write_scientific(text, mantissa, exponent)
}

/// With or without an exponent, whichever suits, and without zeros at the end. `digits` are all that
/// count, at least one.
fn general(text: &mut Text, value: f64, digits: usize) -> fmt::Result {
    let mut space = [0; SCIENTIFIC_MAX];
    let (mantissa, exponent) = split(&mut space, format_args!("{value:.*e}", digits - 1))?;
    let last = i32::try_from(digits - 1).map_err(|_| fmt::Error)?;
    if exponent < SMALL_EXPONENT || exponent > last {
        return write_scientific(text, without_zeros(mantissa), exponent);
    }
    let decimals = usize::try_from(last - exponent).map_err(|_| fmt::Error)?;
    let mut space = [0; SCIENTIFIC_MAX];
    let mut fixed = Text { buffer: &mut space, length: 0 };
    write!(fixed, "{value:.decimals$}")?;
    text.write_str(without_zeros(fixed.into_str()?))
}

/// Formats a number in Rust's scientific notation, such as `1.5e-7`, and takes it apart.
fn split<'a>(space: &'a mut [u8], number: fmt::Arguments) -> Result<(&'a str, i32), fmt::Error> {
    let mut text = Text { buffer: space, length: 0 };
    text.write_fmt(number)?;
    let (mantissa, exponent) = text.into_str()?.split_once('e').ok_or(fmt::Error)?;
    Ok((mantissa, exponent.parse().map_err(|_| fmt::Error)?))
}

/// C's notation: the exponent has a sign and at least two digits.
fn write_scientific(text: &mut Text, mantissa: &str, exponent: i32) -> fmt::Result {
    write!(text, "{mantissa}e{exponent:+03}")
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// Text in a buffer of fixed size.
struct Text<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    fn into_str(self) -> Result<&'a str, fmt::Error> {
        core::str::from_utf8(&self.buffer[..self.length]).map_err(|_| fmt::Error)
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = self.length + more.len();
        self.buffer.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}
