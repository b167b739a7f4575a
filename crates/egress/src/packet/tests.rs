use super::fuzz::{assert_sums_hold, packet as answer_all};
use super::*;

/// A SYN of Linux from 192.0.2.1:40000 to 10.0.1.17:443, with all its options.
const SYN_V4: [u8; 60] = [
    0x45, 0, 0, 60, 0x1C, 0x46, 0x40, 0, 0x40, 6, 0, 0, 192, 0, 2, 1, 10, 0, 1, 17, //
    0x9C, 0x40, 0x01, 0xBB, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0xA0, 0x02, 0xFF, 0xFF, 0, 0, 0, 0,
    2, 4, 0xFF, 0xD7, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
];

fn syn_v4() -> Syn {
    match Packet::parse(&SYN_V4) {
        Packet::Syn(syn) => syn,
        other => panic!("{other:?}"),
    }
}

fn syn_v6() -> Syn {
    let mut packet = vec![0x60, 0, 0, 0, 0, 40, 6, 64];
    packet.extend([0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xFD, 0, 0x0E, 0xC2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x53]);
    packet.extend(&SYN_V4[20..]);
    match Packet::parse(&packet) {
        Packet::Syn(syn) => syn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_syn_is_read_with_its_addresses_and_options() {
    let syn = syn_v4();
    assert_eq!(syn.from, "192.0.2.1:40000".parse().unwrap());
    assert_eq!(syn.to, "10.0.1.17:443".parse().unwrap());
    assert_eq!(syn.sequence, 0x1122_3344);
    assert!(!syn.is_marked());
    let syn = syn_v6();
    assert_eq!(syn.from, "[fd00::1]:40000".parse().unwrap());
    assert_eq!(syn.to, "[fd00:ec2::253]:443".parse().unwrap());
}

#[test]
fn the_marked_syn_differs_by_psh_alone() {
    for syn in [syn_v4(), syn_v6()] {
        let packet = syn.marked();
        assert_sums_hold(&packet);
        let Packet::Syn(mut marked) = Packet::parse(&packet) else {
            panic!("{packet:02x?}")
        };
        assert!(marked.is_marked());
        marked.header[FLAGS] &= !PSH;
        let unsummed = |mut header: Vec<u8>| {
            set(&mut header, TCP_CHECKSUM, 0);
            header
        };
        assert_eq!(unsummed(marked.header), unsummed(syn.header));
        assert_eq!((marked.from, marked.to), (syn.from, syn.to));
    }
}

#[test]
fn data_of_a_fast_open_is_left_to_the_kernel_to_send_again() {
    let mut packet = SYN_V4.to_vec();
    packet[3] = 65;
    packet.extend(b"hello");
    assert_eq!(Packet::parse(&packet), Packet::Syn(syn_v4()));
}

#[test]
fn resets_carry_the_numbers_that_their_receiver_accepts() {
    // From where, sequence, acknowledgement, flags.
    let fields = |packet: &[u8]| {
        let (from, _, protocol, tcp) = parse_ip(packet).unwrap();
        assert_sums_hold(packet);
        assert_eq!(protocol, TCP);
        (
            from,
            u32_at(tcp, 4).unwrap(),
            u32_at(tcp, 8).unwrap(),
            tcp[FLAGS],
        )
    };
    let syn = syn_v4();
    let (program, far) = (syn.from.ip(), syn.to.ip());
    assert_eq!(fields(&syn.refusal()), (far, 0, 0x1122_3345, RST | ACK));
    assert_eq!(fields(&syn.withdrawal()), (program, 0x1122_3345, 0, RST));

    let mut packet = SYN_V4;
    packet[28..32].copy_from_slice(&[0, 0, 0, 9]);
    packet[33] = ACK;
    let Packet::Segment(segment) = Packet::parse(&packet) else {
        panic!()
    };
    assert_eq!(fields(&segment.reset()), (far, 9, 0, RST));
    // FIN, which counts as one.
    packet[33] = 1;
    let Packet::Segment(segment) = Packet::parse(&packet) else {
        panic!()
    };
    assert_eq!(fields(&segment.reset()), (far, 0, 0x1122_3345, RST | ACK));
}

#[test]
fn errors_quote_the_syn_and_have_the_code_of_their_errno() {
    use Unreachable::{Host, Network, Port, Prohibited};
    for (why, v4, v6) in [
        (Network, 0, 0),
        (Host, 1, 3),
        (Port, 3, 4),
        (Prohibited, 13, 1),
    ] {
        for (syn, kind, code) in [(syn_v4(), 3, v4), (syn_v6(), 1, v6)] {
            let packet = syn.error(why);
            assert_sums_hold(&packet);
            let (from, to, _, message) = parse_ip(&packet).unwrap();
            assert_eq!((from, to), (syn.to.ip(), syn.from.ip()));
            assert_eq!(message[..2], [kind, code], "{why:?}");
            let (quoted_from, quoted_to, _, tcp) = parse_ip(&message[HEADER_ICMP..]).unwrap();
            assert_eq!((quoted_from, quoted_to), (syn.from.ip(), syn.to.ip()));
            assert_eq!(u32_at(tcp, 4), Some(syn.sequence));
        }
    }
}

#[test]
fn other_protocols_are_refused_and_what_needs_no_answer_is_not_answered() {
    let mut udp = SYN_V4;
    udp[9] = 17;
    assert_eq!(Packet::parse(&udp), Packet::Other);
    let (to, answer) = rejection(&udp).unwrap();
    assert_eq!(to, syn_v4().from.ip());
    assert_sums_hold(&answer);
    assert_eq!(answer[20..22], [3, 3]);
    udp[16] = 224;
    assert_eq!(rejection(&udp), None, "multicast");

    let mut icmp = SYN_V4;
    icmp[9] = ICMP;
    assert_eq!(Packet::parse(&icmp), Packet::Ignored);
    let mut reset = SYN_V4;
    reset[33] = RST;
    assert_eq!(Packet::parse(&reset), Packet::Ignored);
    let mut fragment = SYN_V4;
    fragment[7] = 1;
    assert_eq!(Packet::parse(&fragment), Packet::Ignored);
}

#[test]
fn no_cut_or_changed_packet_is_read_beyond_its_end() {
    let v6 = segment(syn_v6().from.ip(), syn_v6().to.ip(), syn_v6().header);
    for packet in [SYN_V4.to_vec(), v6] {
        for end in 0..packet.len() {
            assert_eq!(Packet::parse(&packet[..end]), Packet::Ignored, "{end}");
            answer_all(&packet[..end]);
        }
        for at in 0..packet.len() {
            for value in [0, 1, 0x0F, 0x44, 0x4F, 0x60, 0x80, 0xF0, 0xFF] {
                let mut changed = packet.clone();
                changed[at] = value;
                answer_all(&changed);
            }
        }
    }
}
