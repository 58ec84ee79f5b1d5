use super::{super::Device, super::Width, *};
use alloc::vec::Vec;
use proptest::prelude::*;

const RECEIVE: u64 = 1 << 4;
const TRANSMIT: u64 = 1 << 5;
const TIMEOUT: u64 = 1 << 6;
const EMPTY: u64 = 1 << 4;
const FULL: u64 = 1 << 6;

impl Pl011 {
    fn get(&mut self, offset: u64) -> u64 {
        self.read(offset, Width::Word)
    }

    fn set(&mut self, offset: u64, value: u64) {
        self.write(offset, Width::Word, value);
    }
}

/// A UART with its FIFO on and these interrupts unmasked.
fn uart(mask: u64) -> Pl011 {
    let mut uart = Pl011::new();
    uart.set(register::LCR_H, 0x70);
    uart.set(register::IMSC, mask);
    uart
}

#[test]
fn registers_after_reset() {
    let mut uart = Pl011::new();
    let values = [
        (register::DR, 0),
        (register::RSR_ECR, 0),
        (register::FR, 0x97),
        (register::CR, 0x300),
        (register::IFLS, 0x12),
        (register::IMSC, 0),
        (register::RIS, 0),
        (register::ICR, 0),
        (0x00c, 0),
        (0xfdc, 0),
        (0xfe8, 0x34),
        (0xffc, 0xb1),
    ];
    for (offset, value) in values {
        assert_eq!(uart.get(offset), value, "{offset:#x}");
    }
    assert!(!uart.interrupt_level());
}

#[test]
fn plain_registers_keep_their_bits() {
    let mut uart = Pl011::new();
    let masks = [
        (register::ILPR, 0xff),
        (register::IBRD, 0xffff),
        (register::FBRD, 0x3f),
        (register::LCR_H, 0xff),
        (register::CR, 0xff87),
        (register::IFLS, 0x3f),
        (register::IMSC, 0x7ff),
        (register::DMACR, 7),
    ];
    for (offset, mask) in masks {
        uart.set(offset, u64::MAX);
        assert_eq!(uart.get(offset), mask, "{offset:#x}");
    }
}

#[test]
fn an_untouched_uart_sends_and_receives() {
    let mut uart = Pl011::new();
    uart.set(register::DR, 0x141);
    assert_eq!(uart.take_transmitted(), Some(0x41));
    assert_eq!(uart.take_transmitted(), None);
    assert!(uart.push(b'x') && !uart.has_room() && !uart.push(b'y'));
    assert_eq!(uart.get(register::FR) & (EMPTY | FULL), FULL);
    assert_eq!(uart.get(register::DR), u64::from(b'x'));
    assert_eq!(uart.get(register::FR) & (EMPTY | FULL), EMPTY);
}

#[test]
fn the_holding_register_raises_the_receive_interrupt() {
    let mut uart = Pl011::new();
    uart.set(register::IMSC, RECEIVE);
    uart.push(1);
    assert!(uart.interrupt_level());
    uart.get(register::DR);
    assert!(!uart.interrupt_level());
}

#[test]
fn the_fifo_raises_it_at_its_trigger_level() {
    for (select, level) in [(0, 4), (1, 8), (2, 16), (3, 24), (4, 28), (7, 28)] {
        let mut uart = uart(RECEIVE);
        uart.set(register::IFLS, select << 3);
        (1..level).for_each(|_| assert!(uart.push(0)));
        assert!(!uart.interrupt_level(), "{level}");
        uart.push(0);
        assert!(uart.interrupt_level(), "{level}");
        uart.get(register::DR);
        assert!(!uart.interrupt_level(), "{level}");
    }
}

#[test]
fn fewer_bytes_raise_the_timeout_interrupt() {
    let mut uart = uart(RECEIVE | TIMEOUT);
    uart.push(1);
    uart.push(2);
    assert_eq!(uart.get(register::MIS), TIMEOUT);
    uart.get(register::DR);
    assert!(uart.interrupt_level(), "one more");
    uart.get(register::DR);
    assert!(!uart.interrupt_level());
}

/// The order of Linux's handler, and of many others: clear first, then read all.
#[test]
fn a_driver_may_clear_and_then_read_all() {
    let mut uart = uart(RECEIVE | TIMEOUT);
    b"abc".iter().for_each(|byte| assert!(uart.push(*byte)));
    uart.set(register::ICR, 0x7ff);
    assert!(!uart.interrupt_level());
    let read: Vec<_> = (0..3).map(|_| uart.get(register::DR)).collect();
    assert_eq!(read, [0x61, 0x62, 0x63]);
    assert!(!uart.interrupt_level());
}

/// A handler that reads one byte for each interrupt: none may be forgotten.
#[test]
fn a_driver_may_read_one_byte_and_then_clear_all() {
    let mut uart = uart(TIMEOUT);
    (0..FIFO_SIZE).for_each(|_| assert!(uart.push(b'x')));
    let mut read = 0;
    while uart.interrupt_level() {
        uart.get(register::DR);
        uart.set(register::ICR, 0x7ff);
        read += 1;
    }
    assert_eq!(read, FIFO_SIZE);
}

/// A handler that clears the interrupt and leaves the reading to someone else must get that far.
#[test]
fn a_cleared_interrupt_stays_cleared_while_nothing_happens() {
    let mut uart = uart(TIMEOUT);
    uart.push(1);
    uart.push(2);
    uart.set(register::ICR, TIMEOUT);
    assert!(!uart.interrupt_level());
    uart.get(register::DR);
    uart.set(register::ICR, TIMEOUT);
    assert!(uart.interrupt_level(), "the time-out began anew with the read");
    uart.set(register::ICR, TIMEOUT);
    assert!(!uart.interrupt_level());
}

#[test]
fn every_byte_sent_raises_the_transmit_interrupt() {
    let mut uart = uart(TRANSMIT);
    assert!(!uart.interrupt_level(), "nothing was sent");
    uart.set(register::DR, 1);
    assert!(uart.interrupt_level());
    uart.set(register::ICR, TRANSMIT);
    assert!(!uart.interrupt_level());
    assert_eq!(uart.get(register::RIS), 0);
}

#[test]
fn a_receiver_that_is_off_takes_nothing() {
    let mut uart = uart(0);
    uart.set(register::CR, 0x101);
    assert!(!uart.has_room() && !uart.push(1));
    uart.set(register::CR, 0x301);
    assert!(uart.has_room() && uart.push(1));
}

#[test]
fn turning_the_fifo_off_empties_it() {
    let mut uart = uart(RECEIVE | TIMEOUT);
    (0..FIFO_SIZE).for_each(|_| assert!(uart.push(0)));
    assert!(!uart.has_room());
    uart.set(register::LCR_H, 0x60);
    assert_eq!(uart.get(register::FR) & EMPTY, EMPTY);
    assert!(!uart.interrupt_level());
}

#[test]
fn loop_back_receives_what_is_sent() {
    let mut uart = uart(0x7ff);
    uart.set(register::CR, 0x381);
    assert_eq!(uart.get(register::FR) & 0x107, 0, "no modem lines");
    assert_eq!(uart.get(register::RIS), 0b1110, "which is a change");
    uart.set(register::CR, 0x381 | 0x3c00);
    assert_eq!(uart.get(register::FR) & 0x107, 0x107);
    (0..=FIFO_SIZE as u64).for_each(|byte| uart.set(register::DR, byte));
    assert_eq!(uart.take_transmitted(), None);
    assert_eq!(uart.get(register::RSR_ECR), 8);
    assert_eq!(uart.get(register::RIS) & 1 << 10, 1 << 10);
    assert_eq!(uart.get(register::DR), 1 << 11, "the first byte, and that bytes were lost");
    uart.set(register::DR, 0);
    assert_eq!(uart.get(register::DR), 1);
    uart.set(register::RSR_ECR, 0);
    assert_eq!(uart.get(register::RSR_ECR), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Read(u64),
    Write(u64, u64),
    Push(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![4 => (0..0x13_u64).prop_map(|index| index * 4), 1 => 0..0x1000_u64];
    prop_oneof![
        offset().prop_map(Step::Read),
        (offset(), any::<u64>()).prop_map(|(offset, value)| Step::Write(offset, value)),
        any::<u8>().prop_map(Step::Push),
    ]
}

proptest! {
    /// Whatever a guest does: bytes come out in order, and the flags and the interrupt tell the truth.
    #[test]
    fn any_use_is_survived(steps in prop::collection::vec(step(), 0..200), doubleword: bool) {
        let mut uart = uart(0);
        let width = if doubleword { Width::Doubleword } else { Width::Word };
        for step in steps {
            match step {
                Step::Read(offset) => {
                    uart.read(offset, width);
                }
                Step::Write(offset, value) => uart.write(offset, width, value),
                Step::Push(byte) => prop_assert_eq!(uart.has_room(), uart.push(byte)),
            }
            let (flags, waiting) = (uart.get(register::FR), uart.received.len());
            prop_assert_eq!(flags & EMPTY != 0, waiting == 0);
            prop_assert_eq!(flags & FULL != 0, waiting >= uart.capacity());
            prop_assert_eq!(uart.interrupt_level(), uart.get(register::MIS) != 0);
            if waiting == 0 {
                prop_assert_eq!(uart.get(register::RIS) & (RECEIVE | TIMEOUT), 0);
            }
        }
    }

    #[test]
    fn bytes_come_out_in_order(bytes: Vec<u8>, fifo: bool) {
        let mut uart = Pl011::new();
        uart.set(register::LCR_H, if fifo { 0x10 } else { 0 });
        let mut input = bytes.iter();
        let mut output = Vec::new();
        loop {
            while uart.has_room() {
                let Some(byte) = input.next() else { break };
                uart.push(*byte);
            }
            if uart.get(register::FR) & EMPTY != 0 {
                break;
            }
            output.push(uart.get(register::DR));
        }
        prop_assert_eq!(output, bytes.into_iter().map(u64::from).collect::<Vec<_>>());
    }
}
