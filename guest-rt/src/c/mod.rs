//! The runtime as a C library.
//!
//! [`hypervisor`] is declared in the generated header `tinyvmm.h`, the rest in the usual headers, which
//! are in `include/`. What is written here is dropped from programs that do not call it.

pub mod hypervisor;
mod math;
mod memory;
mod string;
