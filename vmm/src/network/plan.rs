//! What the VMs of a manifest have of the network.

use super::{Mac, Reach, Switch, VmAddresses};
use crate::bundle::manifest::{Manifest, Network, Position, VmConfig};
use core::fmt;

/// How long a station that is silent is known, in seconds (IEEE 802.1Q, 8.8.3).
const LIFETIME_S: u64 = 300;

/// A VM is to have what the board has not, which keeps it from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoUplink {
    /// Where the manifest says that it is to have it.
    pub position: Position,
}

impl fmt::Display for NoUplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("network = \"uplink\": the board has no network device that works here")
    }
}

/// The network of a manifest's VMs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    addresses: VmAddresses,
    has_uplink: bool,
}

impl Plan {
    /// That of a manifest. `open` sets the uplink up, if a VM wants it, and tells its address.
    #[must_use]
    pub fn new(manifest: &Manifest, open: impl FnOnce() -> Option<Mac>) -> Self {
        let is_wanted = manifest.vms.iter().any(|vm| reach(vm) == Some(Reach::Uplink));
        let uplink = if is_wanted { open() } else { None };
        Self { addresses: VmAddresses::of_board(uplink), has_uplink: uplink.is_some() }
    }

    /// The address of a VM's network card.
    ///
    /// # Errors
    /// It is to reach an uplink that is not there.
    pub fn address(&self, index: usize, network: Network) -> Result<Mac, NoUplink> {
        if network.reach == Reach::Uplink && !self.has_uplink {
            return Err(NoUplink { position: network.position });
        }
        // A manifest has not room for so many VMs.
        Ok(self.addresses.of_vm(index).unwrap_or(Mac::NONE))
    }

    /// The switch between them, where a second has so many ticks.
    #[must_use]
    pub fn switch(&self, manifest: &Manifest, frequency: u64) -> Switch {
        let reaches = manifest.vms.iter().map(reach);
        Switch::new(self.addresses, reaches, self.has_uplink, LIFETIME_S * frequency)
    }
}

fn reach(vm: &VmConfig) -> Option<Reach> {
    vm.network.map(|network| network.reach)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    const UPLINK: Mac = Mac::from_bytes([0x52, 0x54, 0, 1, 2, 3]);

    fn manifest(networks: &[&str]) -> Manifest {
        let vm = |(index, network)| {
            format!(
                "[[vm]]\nname = \"{index}\"\nmachine = \"virt\"\nimage = \"i\"\nmemory = \"1MiB\"\nnetwork = \"{network}\"\n"
            )
        };
        Manifest::parse(&networks.iter().enumerate().map(vm).collect::<alloc::string::String>()).unwrap()
    }

    fn address(plan: &Plan, manifest: &Manifest, index: usize) -> Result<Mac, NoUplink> {
        plan.address(index, manifest.vms[index].network.unwrap())
    }

    #[test]
    fn the_uplink_is_opened_for_those_who_want_it() {
        let manifest = manifest(&["vms", "uplink"]);
        let plan = Plan::new(&manifest, || Some(UPLINK));
        assert_eq!(address(&plan, &manifest, 1).unwrap().to_string(), "02:02:00:01:02:03");
        let switch = plan.switch(&manifest, 1);
        assert_eq!(switch.next_receiver(super::super::Port(1), switch.uplink()), Some(switch.uplink()));
    }

    #[test]
    fn a_board_without_an_uplink_has_a_network_of_vms() {
        let manifest = manifest(&["vms", "uplink"]);
        let plan = Plan::new(&manifest, || None);
        assert_eq!(address(&plan, &manifest, 0).unwrap().to_string(), "02:01:00:00:00:00");
        let error = address(&plan, &manifest, 1).unwrap_err();
        assert_eq!(error.position.line, 12);
        assert!(error.to_string().starts_with("network = \"uplink\": the board has no network device"));
    }

    #[test]
    fn nobody_opens_an_uplink_that_nobody_wants() {
        let manifest = manifest(&["vms", "vms"]);
        let plan = Plan::new(&manifest, || panic!("nobody wants it"));
        assert!(address(&plan, &manifest, 1).is_ok());
    }
}
