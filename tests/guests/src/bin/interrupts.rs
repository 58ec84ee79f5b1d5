//! Takes interrupts from the virtual timer and from its own vCPUs, through whichever GIC the machine has.
//! Prints a line for each check, `FAIL` in front of those that fail. Its second vCPU answers what the first
//! one sends.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};
use guest_rt::{entry, info, println, time};
use test_guests::gic::{self, TIMER, take};

entry!(main, answer);

/// The interrupt that vCPUs send each other.
const CALL: u32 = 5;
/// How often they do.
const CALLS: u32 = 200;
/// Whether the second vCPU can be called: an SGI to an interrupt that is not set up yet is lost.
static READY: AtomicBool = AtomicBool::new(false);
/// Interrupts that the second vCPU has taken.
static ANSWERED: AtomicU32 = AtomicU32::new(0);

fn main() -> u8 {
    gic::init();
    println!("gic version {}", gic::version());
    check("the timer interrupts on time", timer());
    check("an SGI to itself", sgi_to_itself());
    check("sixteen SGIs at once, the most urgent first", sixteen_at_once());
    check("a disabled interrupt stays away", disabled());
    if info::vcpu_count() > 1 {
        check("calls between vCPUs", calls());
    }
    println!("checked");
    0
}

fn check(what: &str, good: bool) {
    println!("{}{what}", if good { "" } else { "FAIL: " });
}

/// Sets the virtual timer, or turns it off.
fn set_alarm(deadline: Option<u64>) {
    let Some(deadline) = deadline else { return CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR) };
    CNTV_CVAL_EL0.set(deadline);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
}

fn timer() -> bool {
    gic::enable(TIMER, 0x80);
    let good = (0..5).all(|_| {
        let deadline = time::counter() + time::frequency() / 1000;
        set_alarm(Some(deadline));
        take(|_| set_alarm(None)) == TIMER && time::counter() >= deadline
    });
    good && gic::acknowledge().is_none()
}

fn sgi_to_itself() -> bool {
    gic::enable(3, 0x80);
    gic::send_to(0, 3);
    take(|_| {}) == 3 && gic::acknowledge().is_none()
}

fn sixteen_at_once() -> bool {
    // The higher the number, the more urgent.
    for intid in 0..16 {
        gic::enable(intid, 0xf0 - 8 * u8::try_from(intid).unwrap_or(0));
    }
    (0..16).for_each(|intid| gic::send_to(0, intid));
    (0..16).rev().all(|intid| take(|_| {}) == intid) && gic::acknowledge().is_none()
}

fn disabled() -> bool {
    gic::disable(7);
    gic::send_to(0, 7);
    let stayed_away = gic::acknowledge().is_none();
    gic::enable(7, 0x80);
    stayed_away && take(|_| {}) == 7
}

/// Each call is answered before the next.
fn calls() -> bool {
    gic::enable(CALL, 0x80);
    while !READY.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    (1..=CALLS).all(|round| {
        gic::send_to(1, CALL);
        take(|_| {}) == CALL && ANSWERED.load(Ordering::SeqCst) == round
    })
}

/// What the second vCPU does: answer calls.
fn answer(_vcpu: u64) -> ! {
    gic::init_vcpu();
    gic::enable(CALL, 0x80);
    READY.store(true, Ordering::Release);
    loop {
        take(|_| {
            ANSWERED.fetch_add(1, Ordering::SeqCst);
        });
        gic::send_to(0, CALL);
    }
}
