//! A driver for a virtio network card (Virtual I/O Device 1.2, 5.1), for vCPU 0.

use crate::virtio::{BUFFER_SIZE, BUFFERS, Device, Queue, WRITE, register};

/// Length of what stands in front of a frame.
pub const HEADER: usize = 12;

/// Numbers of the queues.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// Device number of a network card.
const NETWORK: u32 = 1;

/// The network card of the VM.
pub struct Card {
    /// What it is on the bus.
    pub device: Device,
    /// Its address.
    pub mac: [u8; 6],
    /// What the card receives.
    pub received: Queue,
    /// What it sends.
    pub sent: Queue,
}

impl Card {
    /// Sets the card up, with all buffers for what it receives. To be called once.
    ///
    /// # Panics
    /// There is none, or it refuses.
    pub fn start() -> Self {
        let device = Device::find(NETWORK);
        let [low, high] = [0, 4].map(|offset| device.read(register::CONFIG + offset).to_le_bytes());
        let mac = [low[0], low[1], low[2], low[3], high[0], high[1]];
        let (received, sent) = (Queue::new(RECEIVE, WRITE), Queue::new(TRANSMIT, 0));
        let mut card = Self { device, mac, received, sent };
        card.restart();
        card
    }

    /// Resets the card, and sets it up again.
    pub fn restart(&mut self) {
        self.device.set_up(&mut [&mut self.received, &mut self.sent]);
        (0..BUFFERS).for_each(|number| self.received.offer(number, BUFFER_SIZE));
    }

    /// Lets the card send what it was offered.
    pub fn notify(&mut self) {
        self.device.notify(1, &mut self.sent);
    }

    /// Waits until the card has used something that was not seen yet, in one of the queues.
    pub fn wait(&self) {
        while !self.received.has_used() && !self.sent.has_used() {
            self.device.wait();
        }
    }
}
