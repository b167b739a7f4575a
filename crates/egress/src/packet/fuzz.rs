//! Packets of any bytes: what is answered to them is a packet, and addressed to who sent them.

use std::net::IpAddr;

use super::{
    FLAGS, HEADER_V4, ICMP, ICMP_V6_LIMIT, Packet, RST, Unreachable, checksum, parse_ip,
    pseudo_header, rejection,
};

/// Reads a packet, and writes all that may be answered to it or sent in its place.
pub fn packet(bytes: &[u8]) {
    match Packet::parse(bytes) {
        Packet::Syn(syn) => {
            let (near, far) = (syn.from.ip(), syn.to.ip());
            assert_resets(&syn.refusal(), far, near);
            assert_resets(&syn.withdrawal(), near, far);
            let Packet::Syn(marked) = Packet::parse(&syn.marked()) else {
                panic!("not a SYN any more");
            };
            assert!(marked.is_marked() && marked.sequence == syn.sequence);
            assert_eq!((marked.from, marked.to), (syn.from, syn.to));
            for why in [
                Unreachable::Network,
                Unreachable::Host,
                Unreachable::Prohibited,
                Unreachable::Port,
            ] {
                assert_error(&syn.error(why), far, near);
            }
        }
        Packet::Segment(segment) => {
            assert_resets(&segment.reset(), segment.to.ip(), segment.from.ip());
        }
        Packet::Other | Packet::Ignored => {}
    }
    if let Some((to, error)) = rejection(bytes) {
        let (source, destination, ..) = parse_ip(bytes).expect("it was read");
        assert!(to == source && !destination.is_multicast());
        assert_error(&error, destination, source);
    }
}

/// Neither a reset nor an error is ever answered: two that answer each other would not end.
fn assert_resets(packet: &[u8], from: IpAddr, to: IpAddr) {
    assert_leads(packet, from, to);
    let (.., tcp) = parse_ip(packet).expect("it was read");
    assert!(tcp.get(FLAGS).is_some_and(|flags| flags & RST != 0));
    assert_eq!(Packet::parse(packet), Packet::Ignored);
}

fn assert_error(packet: &[u8], from: IpAddr, to: IpAddr) {
    assert_leads(packet, from, to);
    let most = if from.is_ipv4() { 576 } else { ICMP_V6_LIMIT };
    assert!(packet.len() <= most, "{} bytes", packet.len());
    assert_eq!(Packet::parse(packet), Packet::Ignored);
}

fn assert_leads(packet: &[u8], from: IpAddr, to: IpAddr) {
    assert_sums_hold(packet);
    let read = parse_ip(packet).map(|(from, to, ..)| (from, to));
    assert_eq!(read, Some((from, to)));
}

/// The sum over a valid IPv4 header, and over a valid TCP segment or ICMP message, is zero.
pub(super) fn assert_sums_hold(packet: &[u8]) {
    let (from, to, protocol, payload) = parse_ip(packet).expect("a packet");
    if from.is_ipv4() {
        let header = packet.get(..HEADER_V4).expect("a header");
        assert_eq!(checksum(&[header]), 0, "header of {packet:02x?}");
    }
    let sum = match protocol {
        ICMP => checksum(&[payload]),
        _ => checksum(&[&pseudo_header(from, to, protocol, payload.len()), payload]),
    };
    assert_eq!(sum, 0, "payload of {packet:02x?}");
}
