//! How exact the virtual timer is, asleep and awake. The first argument is how late its interrupt may be, in
//! microseconds, or `-` if that cannot be told; the second one is how many milliseconds the periodic timer runs.
//! Prints a line for each check that fails; their number is the exit code.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Readable, Writeable};
use guest_rt::{entry, println, time};
use test_guests::gic::{self, TIMER, intid};
use test_guests::random::Random;
use test_guests::{arg, check, failures, irq};

entry!(main);

/// Timers of random length, each up to 2 ms.
const SHOTS: u64 = 50;

/// What the handler has seen: interrupts, and by how many ticks the latest of them was late.
static TAKEN: AtomicU64 = AtomicU64::new(0);
static LATEST: AtomicU64 = AtomicU64::new(0);
/// Distance to the next interrupt in ticks, or 0.
static PERIOD: AtomicU64 = AtomicU64::new(0);

fn main() -> u8 {
    gic::init();
    gic::enable(TIMER, 0x80);
    irq::start(handler);
    for wait in [Wait::Asleep, Wait::Awake] {
        shots(wait);
        periodic(wait);
    }
    println!("checked");
    failures()
}

/// What the program does until its timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Asleep,
    Awake,
}

/// The counter is compared with the deadline first: an early interrupt would look very late.
fn handler(acknowledged: u32) {
    let late = time::counter().wrapping_sub(CNTV_CVAL_EL0.get());
    check("the timer's interrupt", intid(acknowledged) == TIMER);
    LATEST.fetch_max(late, Ordering::Relaxed);
    match PERIOD.load(Ordering::Relaxed) {
        0 => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR),
        period => CNTV_CVAL_EL0.set(CNTV_CVAL_EL0.get() + period),
    }
    TAKEN.fetch_add(1, Ordering::Relaxed);
    gic::end(acknowledged);
}

/// Sets the timer for the first time.
fn start(deadline: u64) {
    TAKEN.store(0, Ordering::Relaxed);
    LATEST.store(0, Ordering::Relaxed);
    CNTV_CVAL_EL0.set(deadline);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
}

fn wait_for(interrupts: u64, wait: Wait) {
    let is_over = || TAKEN.load(Ordering::Relaxed) >= interrupts;
    while !is_over() {
        if wait == Wait::Asleep {
            // An interrupt that comes after the last look still ends the sleep.
            irq::set_masked(true);
            if !is_over() {
                gic::wait();
            }
            irq::set_masked(false);
        }
        core::hint::spin_loop();
    }
}

fn shots(wait: Wait) {
    let mut random = Random::new(7);
    let mut worst = 0;
    for _ in 0..SHOTS {
        start(time::counter() + random.below(time::frequency() / 500));
        wait_for(1, wait);
        worst = worst.max(LATEST.load(Ordering::Relaxed));
    }
    report("single", wait, worst);
}

/// Each interrupt sets the next deadline: what is lost, or comes late time after time, shows at the end.
fn periodic(wait: Wait) {
    let count: u64 = arg(2).parse().expect("a number");
    let (begin, period) = (time::counter(), time::frequency() / 1000);
    PERIOD.store(period, Ordering::Relaxed);
    start(begin + period);
    wait_for(count, wait);
    let end = time::counter();
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    PERIOD.store(0, Ordering::Relaxed);
    report("periodic", wait, LATEST.load(Ordering::Relaxed));
    check("the last one came after all periods", end >= begin + count * period);
    if let Some(bound) = bound() {
        check("and no more than that", end <= begin + count * period + bound);
        check("no interrupt too many", TAKEN.load(Ordering::Relaxed) == count);
    }
}

fn report(what: &str, wait: Wait, worst: u64) {
    println!("{what}, {wait:?}: at most {} us late", worst * 1_000_000 / time::frequency());
    check("not early", worst < u64::MAX / 2);
    check("not late", bound().is_none_or(|bound| worst <= bound));
}

/// How late an interrupt may be, in ticks.
fn bound() -> Option<u64> {
    arg(1).parse().ok().map(|microseconds: u64| microseconds * time::frequency() / 1_000_000)
}
