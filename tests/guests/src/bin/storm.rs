//! Gives the hypervisor as much to do as it can, for ever. The argument says in which way. Other vCPUs of the VM, if
//! there are any, do the same, but for those that are only there to be interrupted.
#![no_std]
#![no_main]

use core::arch::asm;

use aarch64_cpu::registers::{CNTV_CTL_EL0, CNTV_CVAL_EL0, Writeable};
use guest_rt::abi::{self, virt};
use guest_rt::{entry, hypercall, info};
use test_guests::gic::{self, TIMER};
use test_guests::random::Random;
use test_guests::{arg, irq};

entry!(main, other);

/// An SGI that is taken.
const SGI: u32 = 5;
/// An SPI that no device has.
const SPI: u32 = 40;

fn main() -> u8 {
    gic::init();
    storm(0)
}

fn other(vcpu: u64) -> ! {
    gic::init_vcpu();
    storm(vcpu)
}

fn storm(vcpu: u64) -> ! {
    match (arg(1), vcpu) {
        ("busy", _) => busy(),
        ("sgi-to-busy", 1..) => called(),
        ("sgi-self", _) => sgi(gic::vcpu()..gic::vcpu() + 1),
        ("sgi-others" | "sgi-to-busy", _) => sgi(0..info::vcpu_count()),
        ("timer", _) => timer(),
        ("pending", _) => pending(),
        ("wfi", _) => wfi(),
        ("wfi-due", _) => wfi_due(),
        ("wfe", _) => wfe(),
        ("hvc", _) => hvc(),
        ("hvc-wild", _) => hvc_wild(vcpu),
        ("gic", _) => random_registers(vcpu),
        ("putchar", _) => putchar(),
        (mode, _) => unreachable!("no such mode: {mode}"),
    }
}

/// No storm: what the others are measured by.
fn busy() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// To some vCPUs of this VM, all of which take them.
fn sgi(targets: core::ops::Range<u32>) -> ! {
    gic::enable(SGI, 0x80);
    irq::start(gic::end);
    loop {
        targets.clone().for_each(|vcpu| gic::send_to(vcpu, SGI));
    }
}

/// Takes SGIs and computes: a vCPU that is ready, and often not on a core, when one comes.
fn called() -> ! {
    gic::enable(SGI, 0x80);
    irq::start(gic::end);
    busy()
}

/// A timer that is due again as soon as it has interrupted.
fn timer() -> ! {
    gic::enable(TIMER, 0x80);
    CNTV_CVAL_EL0.set(0);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    irq::start(|acknowledged| {
        CNTV_CVAL_EL0.set(0);
        gic::end(acknowledged);
    });
    busy()
}

/// An interrupt that is made pending all the time, and taken.
fn pending() -> ! {
    gic::enable(SPI, 0x80);
    irq::start(gic::end);
    loop {
        gic::set_pending(SPI, true);
    }
}

/// `WFI` that ends at once, because an interrupt is pending that is never taken.
fn wfi() -> ! {
    gic::enable(SGI, 0x80);
    gic::send_to(gic::vcpu(), SGI);
    loop {
        gic::wait();
    }
}

/// `WFI` that ends at once, because the timer is due, whose interrupt is turned off in the GIC.
fn wfi_due() -> ! {
    CNTV_CVAL_EL0.set(0);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    loop {
        gic::wait();
    }
}

fn wfe() -> ! {
    loop {
        // SAFETY: changes nothing.
        unsafe { asm!("wfe", options(nomem, nostack)) }
    }
}

fn hvc() -> ! {
    loop {
        // SAFETY: the call takes no address.
        unsafe { hypercall::hvc(abi::VERSION, 0, 0) };
    }
}

/// Numbers that are none, and those of the console with wild addresses.
fn hvc_wild(seed: u64) -> ! {
    let mut random = Random::new(seed);
    loop {
        let wild = random.number() >> random.below(64);
        let number =
            random.one_of(&[wild & !(1 << 31) | 0x100, abi::PUTS, abi::CONSOLE_WRITE, abi::CONSOLE_READ]);
        // SAFETY: there is no memory beyond the end of RAM.
        unsafe { hypercall::hvc(number, info::ram_size().saturating_add(wild), random.number()) };
    }
}

fn putchar() -> ! {
    loop {
        // There is nothing to do about an error.
        let _ = hypercall::putchar(b'x');
    }
}

/// Every register of the GIC, with any value in any width.
fn random_registers(seed: u64) -> ! {
    let mut random = Random::new(seed);
    irq::set_masked(true);
    loop {
        access(register(&mut random), &mut random);
        if gic::version() == 3 {
            system_register(&mut random);
        }
    }
}

/// An address in the distributor, in a redistributor of this VM or in the CPU interface.
fn register(random: &mut Random) -> u64 {
    let offset = random.below(virt::GICD_V2_SIZE);
    if gic::version() == 3 {
        let redistributor = virt::GICR_BASE + virt::GICR_SIZE * random.below(u64::from(info::vcpu_count()));
        random.one_of(&[
            virt::GICD_BASE + offset,
            virt::GICD_BASE + 0x6000 + offset,
            redistributor + offset % 0x20,
            redistributor + 0x1_0000 + offset,
        ])
    } else {
        random.one_of(&[virt::GICD_BASE + offset, virt::GICC_BASE + offset % 0x200, virt::GICC_BASE + 0x1000])
    }
}

/// A load or a store, aligned to its width.
fn access(address: u64, random: &mut Random) {
    let value = random.number() & random.number();
    // SAFETY: the guest's own interrupts, which it does not depend on.
    unsafe {
        match random.below(8) {
            0 => asm!("ldr {:w}, [{}]", out(reg) _, in(reg) address & !3),
            1 => asm!("ldr {}, [{}]", out(reg) _, in(reg) address & !7),
            2 => asm!("strb {:w}, [{}]", in(reg) value, in(reg) address),
            3 => asm!("strh {:w}, [{}]", in(reg) value, in(reg) address & !1),
            4 => asm!("str {}, [{}]", in(reg) value, in(reg) address & !7),
            _ => asm!("str {:w}, [{}]", in(reg) value, in(reg) address & !3),
        }
    }
}

/// Writes one of the CPU interface's registers, or reads one.
fn system_register(random: &mut Random) {
    macro_rules! one_of {
        ($(write $write:literal,)* $(read $read:literal,)*) => {{
            let writes = [$($write),*].len() as u64;
            let reads = [$($read),*].len() as u64;
            let (value, chosen) = (random.number() & random.number(), random.below(writes + reads));
            let mut number = 0_u64;
            $(
                if chosen == number {
                    // QEMU 10.0 fails an assertion of its own when reserved bits of these two are set.
                    let value = if $write.starts_with("icc_bpr") { value & 7 } else { value };
                    // SAFETY: the guest's own interrupts, which it does not depend on.
                    unsafe { asm!(concat!("msr ", $write, ", {}"), in(reg) value) }
                }
                number += 1;
            )*
            $(
                if chosen == number {
                    // SAFETY: the guest's own interrupts, which it does not depend on.
                    unsafe { asm!(concat!("mrs {}, ", $read), out(reg) _) }
                }
                number += 1;
            )*
            debug_assert_eq!(number, writes + reads);
        }};
    }
    one_of! {
        write "icc_pmr_el1", write "icc_bpr0_el1", write "icc_bpr1_el1", write "icc_ctlr_el1",
        write "icc_igrpen0_el1", write "icc_igrpen1_el1", write "icc_ap0r0_el1", write "icc_ap1r0_el1",
        write "icc_eoir0_el1", write "icc_eoir1_el1", write "icc_dir_el1",
        write "icc_sgi0r_el1", write "icc_sgi1r_el1", write "icc_asgi1r_el1",
        read "icc_iar0_el1", read "icc_iar1_el1", read "icc_hppir0_el1", read "icc_hppir1_el1",
        read "icc_rpr_el1", read "icc_ctlr_el1",
    }
}
