//! SGIs between all vCPUs, first one by one while all others sleep, then all at once while nobody does. Prints a
//! line for each check that fails; their number is the exit code.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use guest_rt::{entry, info, println};
use test_guests::gic::{self, intid, take};
use test_guests::{check, failures};

entry!(main, answer);

const MAX_VCPUS: usize = 4;
/// How often each pair is tried.
const ROUNDS: u32 = 20;
/// Calls at once from each vCPU to all. Without sleep each takes as many turns as there are vCPUs on a core.
const STORMS: u32 = 5;
/// SGIs below this number are those that are counted, by the number of their sender. This one and those after it
/// ask for one, to the vCPU with this number.
const ASK: u32 = 4;
/// Begin to call everyone.
const START: u32 = 14;
/// To vCPU 0: a counted SGI has come.
const DONE: u32 = 15;

/// The SGIs that each vCPU has had, by sender.
static COUNTS: [[AtomicU32; MAX_VCPUS]; MAX_VCPUS] =
    [const { [const { AtomicU32::new(0) }; MAX_VCPUS] }; MAX_VCPUS];
/// vCPUs that can be called: an SGI that is not set up yet is lost.
static READY: AtomicU32 = AtomicU32::new(0);
/// vCPUs whose calls to everyone have all come.
static CALLED: AtomicU32 = AtomicU32::new(0);

fn main() -> u8 {
    gic::init();
    set_up();
    while READY.load(Ordering::Acquire) < info::vcpu_count() {
        core::hint::spin_loop();
    }
    for round in 1..=ROUNDS {
        for (sender, receiver) in
            (0..info::vcpu_count()).flat_map(|a| (0..info::vcpu_count()).map(move |b| (a, b)))
        {
            gic::send_to(sender, ASK + receiver);
            while take(serve) != DONE {}
            check("one SGI of a pair", count(receiver, sender).load(Ordering::Acquire) == round);
        }
    }
    (1..info::vcpu_count()).for_each(|vcpu| gic::send_to(vcpu, START));
    call_everyone();
    while CALLED.load(Ordering::Acquire) < info::vcpu_count() {
        serve_one();
    }
    println!("checked");
    failures()
}

fn set_up() {
    (0..16).for_each(|intid| gic::enable(intid, 0x80));
    READY.fetch_add(1, Ordering::Release);
}

fn answer(_vcpu: u64) -> ! {
    gic::init_vcpu();
    set_up();
    loop {
        if take(serve) == START {
            call_everyone();
        }
    }
}

fn count(receiver: u32, sender: u32) -> &'static AtomicU32 {
    let index = |vcpu| usize::try_from(vcpu).unwrap_or(0);
    &COUNTS[index(receiver)][index(sender)]
}

/// Does what an SGI asks for.
fn serve(acknowledged: u32) {
    let sender = acknowledged >> 10;
    match intid(acknowledged) {
        intid @ 0..ASK => {
            check("the sender", gic::version() == 3 || sender == intid);
            count(gic::vcpu(), intid).fetch_add(1, Ordering::Release);
            if CALLING.load(Ordering::Acquire) == 0 {
                gic::send_to(0, DONE);
            }
        }
        intid @ ASK..START => gic::send_to(intid - ASK, gic::vcpu()),
        _ => {}
    }
}

/// Serves an interrupt if there is one.
fn serve_one() {
    if let Some(acknowledged) = gic::acknowledge() {
        serve(acknowledged);
        gic::end(acknowledged);
    }
}

/// vCPUs that call everyone, or have.
static CALLING: AtomicU32 = AtomicU32::new(0);

/// Calls everyone, itself too, and again when the last call has come everywhere.
fn call_everyone() {
    CALLING.fetch_add(1, Ordering::AcqRel);
    let me = gic::vcpu();
    for call in 1..=STORMS {
        (0..info::vcpu_count()).for_each(|vcpu| gic::send_to(vcpu, me));
        let has_come = |vcpu| count(vcpu, me).load(Ordering::Acquire) == ROUNDS + call;
        while !(0..info::vcpu_count()).all(has_come) {
            serve_one();
        }
    }
    CALLED.fetch_add(1, Ordering::AcqRel);
}
