//! The functions of `<math.h>` that C libraries made for other machines get wrong or lack.

use core::ffi::c_char;

/// A quiet NaN. C lets the string choose among them; there is one here.
#[unsafe(no_mangle)]
extern "C" fn nan(_tag: *const c_char) -> f64 {
    f64::NAN
}

/// The logarithm to base 2, exact for powers of 2.
#[unsafe(no_mangle)]
extern "C" fn log2(x: f64) -> f64 {
    libm::log2(x)
}

/// The logarithm to base 10, exact for powers of 10.
#[unsafe(no_mangle)]
extern "C" fn log10(x: f64) -> f64 {
    libm::log10(x)
}
