//! The functions of `<math.h>` that are neither instructions nor mathematics.

use core::ffi::c_char;

/// A quiet NaN. C lets the string choose among them; there is one here.
#[unsafe(no_mangle)]
extern "C" fn nan(_tag: *const c_char) -> f64 {
    f64::NAN
}
