use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

const LIFETIME: u64 = 300;
const UPLINK_MAC: Mac = Mac::from_bytes([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
/// A station that is no VM.
const STRANGER: Mac = Mac::from_bytes([0, 1, 2, 3, 4, 5]);
const EVERYBODY: Mac = Mac::from_bytes([0xff; 6]);

/// Two VMs with the uplink, one without it, one without a network, and one more without the uplink.
const VMS: [Option<Reach>; 5] =
    [Some(Reach::Uplink), Some(Reach::Uplink), Some(Reach::Vms), None, Some(Reach::Vms)];
const UPLINK: Port = Port(VMS.len());

fn addresses() -> VmAddresses {
    VmAddresses::of_board(Some(UPLINK_MAC))
}

fn switch() -> Switch {
    Switch::new(addresses(), VMS.into_iter(), true, LIFETIME)
}

fn own(index: usize) -> Mac {
    addresses().of_vm(index).unwrap()
}

/// An address that no VM has.
fn other(number: u64) -> Mac {
    let [a, b, c, ..] = number.to_le_bytes();
    Mac::from_bytes([0, 0x16, 0x3e, a, b, c])
}

fn send(switch: &mut Switch, from: usize, source: Mac, destination: Mac) -> Result<Way, Dropped> {
    switch.forward(Port(from), Header { destination, source }, 1000)
}

fn flooded(switch: &Switch, from: Port) -> Vec<usize> {
    let first = switch.next_receiver(from, Port(0));
    let next = |port: &Port| switch.next_receiver(from, Port(port.0 + 1));
    core::iter::successors(first, next).map(|port| port.0).collect()
}

#[test]
fn a_vm_is_reached_by_its_own_address() {
    let mut switch = switch();
    assert_eq!(switch.uplink(), UPLINK);
    assert_eq!(send(&mut switch, 0, own(0), own(1)), Ok(Way::To(Port(1))));
    assert_eq!(send(&mut switch, 2, own(2), own(0)), Ok(Way::To(Port(0))));
    assert_eq!(send(&mut switch, UPLINK.0, STRANGER, own(1)), Ok(Way::To(Port(1))));
    assert_eq!(send(&mut switch, 0, own(0), own(0)), Err(Dropped::Local));
}

#[test]
fn what_is_for_many_or_for_nobody_known_goes_to_all_others() {
    let mut switch = switch();
    assert_eq!(send(&mut switch, 0, own(0), EVERYBODY), Ok(Way::All));
    assert_eq!(send(&mut switch, 0, own(0), STRANGER), Ok(Way::All));
    assert_eq!(send(&mut switch, 0, own(0), own(3)), Ok(Way::All), "a VM without a network is nobody");
    assert_eq!(flooded(&switch, Port(0)), [1, 2, 4, UPLINK.0]);
    assert_eq!(flooded(&switch, Port(2)), [0, 1, 4]);
    assert_eq!(flooded(&switch, UPLINK), [0, 1]);
    assert_eq!(flooded(&switch, Port(3)), [0; 0]);
}

#[test]
fn who_has_no_uplink_is_not_reached_from_there_nor_reaches_it() {
    let mut switch = switch();
    assert_eq!(send(&mut switch, UPLINK.0, STRANGER, own(2)), Err(Dropped::Apart));
    assert_eq!(send(&mut switch, 2, own(2), STRANGER), Err(Dropped::Apart));
    assert_eq!(send(&mut switch, 2, own(2), own(4)), Ok(Way::To(Port(4))));
}

#[test]
fn a_station_is_found_where_it_was_seen_lately() {
    let mut switch = switch();
    let mut send =
        |from, source, destination, now| switch.forward(Port(from), Header { destination, source }, now);
    send(1, STRANGER, EVERYBODY, 0).unwrap();
    assert_eq!(send(0, own(0), STRANGER, LIFETIME), Ok(Way::To(Port(1))));
    assert_eq!(send(0, own(0), STRANGER, LIFETIME + 1), Ok(Way::All));
    send(UPLINK.0, STRANGER, EVERYBODY, LIFETIME + 2).unwrap();
    assert_eq!(send(1, own(1), STRANGER, LIFETIME + 2), Ok(Way::To(UPLINK)));
}

#[test]
fn nobody_can_send_in_the_name_of_another_port() {
    let mut switch = switch();
    send(&mut switch, 1, STRANGER, EVERYBODY).unwrap();
    for (from, source) in [(0, own(1)), (UPLINK.0, own(0)), (0, STRANGER), (0, EVERYBODY), (0, Mac::NONE)] {
        assert_eq!(send(&mut switch, from, source, own(1)), Err(Dropped::Sender), "{from} {source}");
    }
    send(&mut switch, UPLINK.0, STRANGER, EVERYBODY).unwrap();
    assert_eq!(send(&mut switch, 0, own(0), STRANGER), Ok(Way::To(UPLINK)), "the uplink comes first");
    assert_eq!(send(&mut switch, 1, STRANGER, own(0)), Err(Dropped::Sender));
}

#[test]
fn a_board_without_an_uplink_has_a_switch() {
    let mut switch = Switch::new(VmAddresses::default(), [Some(Reach::Vms); 2].into_iter(), false, LIFETIME);
    let own = |index| VmAddresses::default().of_vm(index).unwrap();
    assert_eq!(send(&mut switch, 0, own(0), own(1)), Ok(Way::To(Port(1))));
    assert_eq!(flooded(&switch, Port(0)), [1]);
    assert_eq!(send(&mut switch, 2, STRANGER, own(1)), Err(Dropped::Apart));
}

#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    source: Mac,
    destination: Mac,
}

fn station() -> impl Strategy<Value = Mac> {
    prop_oneof![
        (0..VMS.len()).prop_map(own),
        (0_u64..40).prop_map(other),
        Just(EVERYBODY),
        any::<[u8; 6]>().prop_map(Mac::from_bytes),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..=VMS.len(), station(), station()).prop_map(|(from, source, destination)| Sent {
        from,
        source,
        destination,
    })
}

proptest! {
    /// Whatever was sent before, by whomever.
    #[test]
    fn ports_stay_apart_and_own_addresses_stay(frames in prop::collection::vec(sent(), 0..300)) {
        let mut switch = switch();
        for Sent { from, source, destination } in frames {
            let way = send(&mut switch, from, source, destination);
            let ends = match way {
                Ok(Way::To(to)) => vec![to.0],
                Ok(Way::All) => flooded(&switch, Port(from)),
                Err(_) => vec![],
            };
            for to in ends {
                prop_assert_ne!(to, from);
                let pair = [from, to].map(|port| VMS.get(port).copied().unwrap_or(Some(Reach::Uplink)));
                prop_assert!(!pair.contains(&None));
                let over_uplink = from == UPLINK.0 || to == UPLINK.0;
                prop_assert!(!over_uplink || pair == [Some(Reach::Uplink); 2]);
            }
            let owner = (0..VMS.len()).find(|index| own(*index) == source && VMS[*index].is_some());
            prop_assert!(way.is_err() || owner.is_none_or(|owner| owner == from));
        }
        for (index, _) in VMS.iter().enumerate().filter(|(index, reach)| *index != 4 && reach.is_some()) {
            prop_assert_eq!(send(&mut switch, 4, own(4), own(index)), Ok(Way::To(Port(index))));
        }
    }

    /// However many addresses a VM and the stations behind the uplink use.
    #[test]
    fn a_port_pushes_out_its_own_addresses_only(numbers in prop::collection::vec(any::<u64>(), 0..2000)) {
        let mut switch = switch();
        send(&mut switch, 1, STRANGER, EVERYBODY).unwrap();
        for (count, number) in numbers.into_iter().enumerate() {
            let from = [0, 4][count % 2];
            let _ = send(&mut switch, from, other(number), EVERYBODY);
        }
        prop_assert_eq!(send(&mut switch, 0, own(0), STRANGER), Ok(Way::To(Port(1))));
    }
}
