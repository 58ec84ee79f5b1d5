//! Exceptions of the hypervisor itself: a readable report, then the end.

use super::{context::GeneralRegisters, power, registers::read_register, syndrome::Syndrome};
use core::fmt;

/// The registers that `panic_exception` saved.
#[repr(C)]
pub(super) struct Frame {
    /// `X0` to `X30`.
    x: [u64; 31],
    sp: u64,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  sp {:016x}", GeneralRegisters(&self.x), self.sp)
    }
}

/// Reports an exception taken at EL2 and stops the machine.
pub(super) extern "C" fn report_exception(frame: &Frame, vector: u64) -> ! {
    const NAMES: [&str; 4] = ["synchronous exception", "interrupt", "fast interrupt", "system error"];
    let name = usize::try_from(vector).ok().and_then(|v| NAMES.get(v)).unwrap_or(&"exception");
    let pc = read_register!("elr_el2");
    let syndrome = Syndrome(read_register!("esr_el2"));
    power::fatal(format_args!(
        "{name} in the hypervisor: {syndrome}\n  pc {pc:016x}  far {:016x}  spsr {:x}{frame}{}",
        read_register!("far_el2"),
        read_register!("spsr_el2"),
        Backtrace { pc, fp: frame.x[29] },
    ))
}

/// The return addresses on the hypervisor's stack, relative to the image's base as `addr2line` wants them.
pub struct Backtrace {
    /// Where it starts.
    pub pc: u64,
    /// The frame pointer, `X29`.
    pub fp: u64,
}

impl Backtrace {
    /// From the caller's frame.
    #[inline(always)]
    pub fn here() -> Self {
        let (pc, fp): (u64, u64);
        // SAFETY: reads two registers.
        unsafe {
            core::arch::asm!("adr {}, .", "mov {}, x29", out(reg) pc, out(reg) fp, options(nomem, nostack))
        };
        Self { pc, fp }
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_FRAMES: usize = 32;
        let base = super::mmu::image_range().start;
        write!(f, "\n  backtrace (offsets in the image):\n    {:#x}", self.pc.wrapping_sub(base))?;
        let mut fp = self.fp;
        for _ in 0..MAX_FRAMES {
            if !super::mmu::image_range().contains(&fp) || !fp.is_multiple_of(8) {
                break;
            }
            // SAFETY: inside the image, where every page but the guard pages is readable, and aligned. A
            // frame record on a guard page cannot be: the store that made it would have faulted.
            let [next, return_address] = unsafe { *(fp as *const [u64; 2]) };
            if return_address == 0 {
                break;
            }
            write!(f, "\n    {:#x}", return_address.wrapping_sub(base))?;
            fp = next;
        }
        Ok(())
    }
}
