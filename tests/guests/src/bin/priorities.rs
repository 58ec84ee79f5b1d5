//! Priorities, masks, and the pending and active states of interrupts, as the GIC's manuals have them. Prints a line
//! for each check that fails; their number is the exit code. A second vCPU only gets interrupts.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};
use guest_rt::{entry, info, println};
use test_guests::gic::{self, TIMER, intid, take};
use test_guests::random::Random;
use test_guests::{check, failures, irq};

entry!(main, receive);

/// SGIs, named for their urgency.
const LOW: u32 = 1;
const OTHER_LOW: u32 = 3;
const HIGH: u32 = 2;
const LOW_PRIORITY: u8 = 0x80;
const HIGH_PRIORITY: u8 = 0x40;
/// An SPI that no device has.
const SPI: u32 = 40;
/// Interrupts that are active at once: more than there are list registers.
const NESTED: u32 = 9;

fn main() -> u8 {
    gic::init();
    irq::set_masked(true);
    for (intid, priority) in
        [(LOW, LOW_PRIORITY), (OTHER_LOW, LOW_PRIORITY), (HIGH, HIGH_PRIORITY), (SPI, LOW_PRIORITY)]
    {
        gic::enable(intid, priority);
    }
    preemption();
    mask();
    group_priority();
    active_state();
    split_end();
    level();
    everything_pending();
    nested(false);
    nested(true);
    handlers();
    if info::vcpu_count() > 1 && gic::version() == 3 {
        redistributor_of_another();
    }
    println!("checked");
    failures()
}

/// Acknowledges what is pending, and compares.
fn acknowledges(what: &str, expected: Option<u32>) {
    let found = gic::acknowledge().map(intid);
    if found != expected {
        println!("FAIL: {what}: {found:?} instead of {expected:?}");
        check(what, false);
    }
}

fn send(intid: u32) {
    gic::send_to(0, intid);
}

/// A GICv2 wants an SGI's sender back; here it is always vCPU 0.
fn end(intid: u32) {
    gic::end(intid);
}

fn preemption() {
    send(LOW);
    acknowledges("an interrupt", Some(LOW));
    send(OTHER_LOW);
    acknowledges("an equal one waits", None);
    send(HIGH);
    acknowledges("a more urgent one preempts", Some(HIGH));
    send(HIGH);
    acknowledges("one that is active waits", None);
    end(HIGH);
    acknowledges("and comes again after its end", Some(HIGH));
    end(HIGH);
    acknowledges("the equal one still waits", None);
    end(LOW);
    acknowledges("until the first one ends", Some(OTHER_LOW));
    end(OTHER_LOW);
    acknowledges("nothing is left", None);
}

fn mask() {
    gic::set_mask(LOW_PRIORITY);
    send(LOW);
    acknowledges("the mask keeps its own priority away", None);
    check("what is masked is pending", gic::is_pending(LOW));
    send(HIGH);
    acknowledges("but not a more urgent one", Some(HIGH));
    end(HIGH);
    gic::set_mask(LOW_PRIORITY + 8);
    acknowledges("one step further it comes", Some(LOW));
    end(LOW);
    gic::set_mask(0xff);
}

/// With three bits for preemption, 0x80 and 0x90 are equal; with all five they are not.
fn group_priority() {
    gic::set_priority(LOW, LOW_PRIORITY + 0x10);
    gic::set_group_bits(3);
    send(LOW);
    acknowledges("the first of a group", Some(LOW));
    send(OTHER_LOW);
    acknowledges("one of the same group waits", None);
    send(HIGH);
    acknowledges("one of a more urgent group does not", Some(HIGH));
    end(HIGH);
    end(LOW);
    acknowledges("the other one of the group", Some(OTHER_LOW));
    end(OTHER_LOW);
    gic::set_group_bits(5);
    send(LOW);
    acknowledges("the first with a group of its own", Some(LOW));
    send(OTHER_LOW);
    acknowledges("the same one preempts now", Some(OTHER_LOW));
    end(OTHER_LOW);
    end(LOW);
    send(LOW);
    send(OTHER_LOW);
    acknowledges("the more urgent one comes first", Some(OTHER_LOW));
    end(OTHER_LOW);
    acknowledges("then the other", Some(LOW));
    end(LOW);
    gic::set_priority(LOW, LOW_PRIORITY);
}

fn active_state() {
    gic::set_pending(SPI, true);
    check("a register makes it pending", gic::is_pending(SPI));
    acknowledges("an SPI by a register", Some(SPI));
    check("it is active and not pending", gic::is_active(SPI) && !gic::is_pending(SPI));
    end(SPI);
    check("and at its end no more", !gic::is_active(SPI));
    gic::set_active(SPI, true);
    check("a register makes it active", gic::is_active(SPI));
    gic::set_pending(SPI, true);
    acknowledges("what is active is not delivered", None);
    check("but pending", gic::is_pending(SPI));
    gic::set_active(SPI, false);
    acknowledges("until it is not active any more", Some(SPI));
    end(SPI);
    gic::set_pending(SPI, true);
    gic::set_pending(SPI, false);
    acknowledges("a register makes it not pending", None);
}

/// The priority is dropped first, the interrupt deactivated later.
fn split_end() {
    gic::set_split_end(true);
    gic::set_pending(SPI, true);
    acknowledges("an interrupt to be ended in two steps", Some(SPI));
    end(SPI);
    check("it is active after the first", gic::is_active(SPI));
    gic::set_pending(SPI, true);
    acknowledges("so it is not delivered again", None);
    send(OTHER_LOW);
    acknowledges("but an equal one is", Some(OTHER_LOW));
    end(OTHER_LOW);
    gic::deactivate(OTHER_LOW);
    gic::deactivate(SPI);
    acknowledges("after the second it is", Some(SPI));
    end(SPI);
    gic::deactivate(SPI);
    check("nor is it active now", !gic::is_active(SPI));
    gic::set_split_end(false);
}

/// The timer's line stays high until the timer is told otherwise.
fn level() {
    gic::enable(TIMER, LOW_PRIORITY);
    CNTV_CVAL_EL0.set(0);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    for _ in 0..5 {
        check("a line that is high interrupts again", take(|_| ()) == TIMER);
    }
    take(|_| CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR));
    acknowledges("a line that is low does not", None);
}

/// The most urgent first, each once, whatever the order in which they were made pending.
fn everything_pending() {
    let mut random = Random::new(1);
    let mut priorities = [0xff; 64];
    let all = || (0..16).chain(32..gic::END);
    for (intid, priority) in all().zip(core::iter::repeat_with(|| random.below(32) << 3)) {
        let priority = u8::try_from(priority).unwrap_or(0).min(0xf0);
        priorities[place(intid)] = priority;
        gic::enable(intid, priority);
    }
    (0..16).for_each(send);
    (32..gic::END).rev().for_each(|intid| gic::set_pending(intid, true));
    let mut before = 0;
    for _ in all() {
        let intid = take(|_| ());
        let priority = priorities[place(intid)];
        check("the most urgent comes first", priority != 0xff && priority >= before);
        before = priority;
        priorities[place(intid)] = 0xff;
    }
    acknowledges("each comes once", None);
    check("all came", priorities.iter().all(|priority| *priority == 0xff));
}

fn place(intid: u32) -> usize {
    usize::try_from(intid).unwrap_or(0)
}

/// Each one preempts the one before.
fn nested(split: bool) {
    gic::set_split_end(split);
    for n in 0..NESTED {
        gic::enable(SPI + n, 0xf0 - 8 * u8::try_from(n).unwrap_or(0));
        gic::set_pending(SPI + n, true);
        acknowledges("the next level", Some(SPI + n));
    }
    check("all levels are active", (0..NESTED).all(|n| gic::is_active(SPI + n)));
    for n in (0..NESTED).rev() {
        end(SPI + n);
        if split {
            gic::deactivate(SPI + n);
        }
        check("a level ends", !gic::is_active(SPI + n));
        check("the next one goes on", n == 0 || gic::is_active(SPI + n - 1));
    }
    gic::set_split_end(false);
    gic::set_pending(SPI, true);
    acknowledges("the least urgent comes again", Some(SPI));
    end(SPI);
}

/// What the handlers have done: the number of the interrupt at its start, with 0x100 more at its end.
static TRACE: [AtomicU32; 6] = [const { AtomicU32::new(0) }; 6];
static TRACED: AtomicUsize = AtomicUsize::new(0);
const ENDED: u32 = 0x100;

fn trace(event: u32) {
    if let Some(slot) = TRACE.get(TRACED.fetch_add(1, Ordering::Relaxed)) {
        slot.store(event, Ordering::Relaxed);
    }
}

/// The same with handlers that run when the interrupt comes, one in the middle of the other.
fn handlers() {
    [(LOW, LOW_PRIORITY), (OTHER_LOW, LOW_PRIORITY), (HIGH, HIGH_PRIORITY)]
        .iter()
        .for_each(|(intid, priority)| gic::enable(*intid, *priority));
    irq::start(handler);
    send(LOW);
    while TRACED.load(Ordering::Relaxed) < TRACE.len() {
        core::hint::spin_loop();
    }
    irq::set_masked(true);
    let found = TRACE.each_ref().map(|slot| slot.load(Ordering::Relaxed));
    let expected = [LOW, HIGH, HIGH | ENDED, LOW | ENDED, OTHER_LOW, OTHER_LOW | ENDED];
    check("handlers run by priority", found == expected);
}

/// The first handler asks for two more interrupts, an equal one and then a more urgent one.
fn handler(acknowledged: u32) {
    trace(intid(acknowledged));
    if intid(acknowledged) == LOW {
        send(OTHER_LOW);
        send(HIGH);
    }
    irq::set_masked(false);
    core::hint::spin_loop();
    irq::set_masked(true);
    trace(intid(acknowledged) | ENDED);
    gic::end(acknowledged);
}

/// Whether the second vCPU is ready, and what it has taken.
static READY: AtomicBool = AtomicBool::new(false);
static RECEIVED: AtomicU32 = AtomicU32::new(0);

/// A vCPU's redistributor is there for others, too: what they do there concerns it.
fn redistributor_of_another() {
    while !READY.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    for intid in [9, 4, 13] {
        gic::raise_at(1, intid, HIGH_PRIORITY);
        while RECEIVED.load(Ordering::Acquire) != intid {
            core::hint::spin_loop();
        }
    }
    acknowledges("and nobody else", None);
}

fn receive(_vcpu: u64) -> ! {
    gic::init_vcpu();
    READY.store(true, Ordering::Release);
    loop {
        let intid = take(|_| ());
        RECEIVED.store(intid, Ordering::Release);
    }
}
