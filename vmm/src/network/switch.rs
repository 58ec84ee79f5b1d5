//! The switch between VMs and the uplink: where a frame goes.
//!
//! It learns which stations are behind a port from the frames that come from there (IEEE 802.1Q, 8.7), with three differences,
//! for its ports are not all friends:
//!
//! - A VM's own address belongs to its port for good.
//! - What one port has learned no VM can take over or push out. The uplink can: behind it is whoever runs the network.
//! - A frame with a sender that belongs to another port is dropped.

use super::{Header, Mac, Reach, VmAddresses, learned::Learned};
use alloc::vec::Vec;

/// Addresses besides its own that a VM can have.
const ADDRESSES_OF_VM: usize = 8;
/// Addresses behind the uplink that are known at a time.
const ADDRESSES_OF_UPLINK: usize = 256;

/// A port: a VM's place in the manifest, or the one after the last VM's, which is the uplink's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(pub usize);

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To one port.
    To(Port),
    /// To [all others](Switch::next_receiver).
    All,
}

/// Why a frame goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The sender's address is none, or one of another port.
    Sender,
    /// The receiver is behind the port that it came from.
    Local,
    /// The two ports have nothing to do with each other.
    Apart,
}

/// The switch.
pub struct Switch {
    addresses: VmAddresses,
    /// `None`: the VM has no network. The last is the uplink's.
    ports: Vec<Option<State>>,
    /// How long an address is known after it was seen, in ticks.
    lifetime: u64,
}

struct State {
    reach: Reach,
    learned: Learned,
}

impl Switch {
    /// A switch for VMs that reach this far, in the order of the manifest, and the uplink, which knows an address for so many
    /// ticks.
    #[must_use]
    pub fn new(
        addresses: VmAddresses,
        vms: impl Iterator<Item = Option<Reach>>,
        has_uplink: bool,
        lifetime: u64,
    ) -> Self {
        let port = |reach, room| State { reach, learned: Learned::with_room(room) };
        let mut ports: Vec<_> = vms.map(|reach| reach.map(|reach| port(reach, ADDRESSES_OF_VM))).collect();
        ports.push(has_uplink.then(|| port(Reach::Uplink, ADDRESSES_OF_UPLINK)));
        Self { addresses, ports, lifetime }
    }

    /// The port of the uplink.
    #[must_use]
    pub fn uplink(&self) -> Port {
        Port(self.ports.len() - 1)
    }

    /// Where a frame from this port goes, which is seen `now`.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn forward(&mut self, from: Port, header: Header, now: u64) -> Result<Way, Dropped> {
        let since = now.saturating_sub(self.lifetime);
        self.admit(from, header.source, now, since)?;
        if header.destination.is_group() {
            return Ok(Way::All);
        }
        let owner = self.owner(header.destination);
        match owner.or_else(|| self.find(header.destination, since)) {
            None => Ok(Way::All),
            Some(to) if to == from => Err(Dropped::Local),
            Some(to) if self.is_open(from, to) => Ok(Way::To(to)),
            Some(_) => Err(Dropped::Apart),
        }
    }

    /// The first port from `start` on that gets what goes from a port to all others.
    #[must_use]
    pub fn next_receiver(&self, from: Port, Port(start): Port) -> Option<Port> {
        (start..self.ports.len()).map(Port).find(|to| *to != from && self.is_open(from, *to))
    }

    /// Checks the sender of a frame, and learns its address.
    #[inline]
    fn admit(&mut self, from: Port, source: Mac, now: u64, since: u64) -> Result<(), Dropped> {
        match self.owner(source) {
            Some(owner) if owner == from => Ok(()),
            Some(_) => Err(Dropped::Sender),
            None => self.learn(from, source, now, since),
        }
    }

    fn learn(&mut self, from: Port, source: Mac, now: u64, since: u64) -> Result<(), Dropped> {
        let is_taken = from != self.uplink() && self.find(source, since).is_some_and(|port| port != from);
        if source.is_group() || source == Mac::NONE || is_taken {
            return Err(Dropped::Sender);
        }
        let Some(Some(state)) = self.ports.get_mut(from.0) else { return Err(Dropped::Apart) };
        state.learned.note(source, now);
        Ok(())
    }

    /// The VM that has this as its own address.
    #[inline]
    fn owner(&self, mac: Mac) -> Option<Port> {
        let index = self.addresses.index_of(mac)?;
        (index < self.uplink().0 && self.ports[index].is_some()).then_some(Port(index))
    }

    /// The port behind which an address was seen since then, the uplink first.
    fn find(&self, mac: Mac, since: u64) -> Option<Port> {
        let has =
            |port: &usize| self.ports[*port].as_ref().is_some_and(|state| state.learned.has(mac, since));
        (0..self.ports.len()).rev().find(has).map(Port)
    }

    /// Whether frames go from one port to the other.
    #[inline]
    fn is_open(&self, from: Port, to: Port) -> bool {
        let reach = |port: Port| self.ports.get(port.0)?.as_ref().map(|state| state.reach);
        let Some((from_reach, to_reach)) = reach(from).zip(reach(to)) else { return false };
        let is_inside = from != self.uplink() && to != self.uplink();
        is_inside || from_reach == to_reach
    }
}

#[cfg(test)]
mod tests;
