//! What is kept of a message: its bytes, the denial alone, and which addresses may rotate.

use hickory_proto::op::{Edns, Message as HickoryMessage};
use hickory_proto::rr::RecordType;
use wire::rtype;

use super::super::{Answer, TSIG};
use super::{judge, key, nxdomain, www};
use crate::packed::Kind;
use crate::pins::Pins;
use crate::records::{With, a, cname, opaque, response, soa, txt};

#[test]
fn a_denial_is_for_all_types_of_its_name() {
    let denial = |message: &HickoryMessage| judge(message).unwrap().without_type;
    let without_type = denial(&nxdomain().authority(soa("test", 60, 30))).unwrap();
    assert_eq!(without_type.key(), key(1).without_type().as_bytes());
    // The SOA in full, since there is no telling what the next question's name looks like.
    let soa_record = [
        &b"\x04test\0\0\x06\0\x01\0\0\0\x1e\0\x1f"[..],
        b"\x02ns\0\x05admin\0",
        &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 30],
    ];
    assert_eq!(without_type.tail(), soa_record.concat());

    assert!(denial(&nxdomain()).is_none());
    assert!(denial(&www().authority(soa("test", 60, 30))).is_none());
    // It is the chain's end that does not exist.
    let chain = nxdomain().answer(cname("www.test", 60, "b.test"));
    assert!(denial(&chain.authority(soa("test", 60, 30))).is_none());
    for rdata in [&b"\0\0too short"[..], b"\0\0this is more than 20 bytes"] {
        let odd_soa = opaque("test", 60, rtype::SOA, rdata);
        let more = opaque("test", 60, 16, b"\x0fmore than enough");
        assert!(denial(&nxdomain().authority(odd_soa).authority(more)).is_none());
    }
}

#[test]
fn unknown_types_are_kept_byte_for_byte() {
    // A pointer, a name and numbers: nothing of it is touched.
    let rdata = b"\xc0\x0c\x03www\x04test\0\xff\xff\xff\xff";
    let message =
        response("www.test", RecordType::from(65280)).answer(opaque("www.test", 60, 65280, rdata));
    let bytes = message.to_vec().unwrap();
    let answer = Answer::validate(&key(65280), &bytes, &Pins::default()).unwrap();
    assert_eq!(answer.packed.kind, Kind::Positive);
    assert_eq!(answer.packed.tail(), &bytes[12 + 10 + 4..]);
    // A known type with rdata that is none.
    let odd = www().answer(opaque("www.test", 60, 1, b"not an address"));
    assert_eq!(judge(&odd).unwrap().packed.kind, Kind::Positive);
}

#[test]
fn opt_and_what_stands_behind_it_is_this_hops() {
    let mut message = www().answer(a("www.test", 60, 1));
    message.additionals.push(a("extra.test", 60, 2));
    let plain = message.to_vec().unwrap();
    message.edns = Some(Edns::new());
    let mut bytes = message.to_vec().unwrap();
    // A TSIG behind OPT, and hickory's count of 2 additional records made 3.
    bytes.extend_from_slice(&[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
    bytes[11] = 3;
    let packed = Answer::validate(&key(1), &bytes, &Pins::default())
        .unwrap()
        .packed;
    assert_eq!(packed.counts, [1, 0, 1]);
    assert_eq!(
        packed.tail(),
        Answer::validate(&key(1), &plain, &Pins::default())
            .unwrap()
            .packed
            .tail()
    );
}

#[test]
fn a_tsig_among_the_answers_hides_nothing_behind_it() {
    let message = www()
        .answer(opaque("www.test", 60, TSIG, b"x"))
        .answer(a("www.test", 60, 1))
        .answer(a("www.test", 60, 2));
    assert_eq!(judge(&message).unwrap().packed.counts, [3, 0, 0]);
}

#[test]
fn the_largest_message_is_kept() {
    let rdata = vec![7; usize::from(u16::MAX) - 12 - 14 - 12];
    let message = www().answer(opaque("www.test", 60, 1, &rdata));
    let bytes = message.to_vec().unwrap();
    assert_eq!(bytes.len(), usize::from(u16::MAX));
    let packed = Answer::validate(&key(1), &bytes, &Pins::default())
        .unwrap()
        .packed;
    assert_eq!(packed.tail(), &bytes[12 + 14..]);
}

/// Place of the first and count of the addresses that may rotate.
fn run(message: &HickoryMessage) -> (u16, u16) {
    let rotation = judge(message).unwrap().packed.rotation;
    (rotation.first, rotation.count)
}

#[test]
fn addresses_that_stand_together_may_rotate() {
    let two = www()
        .answer(a("www.test", 60, 1))
        .answer(a("www.test", 60, 2));
    assert_eq!(run(&two), (0, 2));
    let behind_a_link = www()
        .answer(cname("www.test", 60, "b.test"))
        .answer(a("b.test", 60, 1))
        .answer(a("b.test", 60, 2))
        .answer(a("b.test", 60, 3));
    assert_eq!(run(&behind_a_link), (1, 3));
    let signed = two
        .clone()
        .answer(opaque("www.test", 60, rtype::RRSIG, b"signature"));
    assert_eq!(run(&signed), (0, 2));
}

#[test]
fn nothing_else_rotates() {
    assert_eq!(run(&www().authority(soa("test", 60, 60))).1, 0);
    let odd_size = www()
        .answer(a("www.test", 60, 1))
        .answer(opaque("www.test", 60, 1, b"longer"));
    assert_eq!(run(&odd_size).1, 1);
    let apart = www()
        .answer(a("www.test", 60, 1))
        .answer(opaque("www.test", 60, rtype::RRSIG, b"signature"))
        .answer(a("www.test", 60, 2));
    assert_eq!(run(&apart).1, 1);
    let text = response("www.test", RecordType::TXT)
        .answer(txt("www.test", 60, 100))
        .answer(txt("www.test", 60, 100));
    let text = Answer::validate(&key(16), &text.to_vec().unwrap(), &Pins::default()).unwrap();
    assert_eq!(text.packed.rotation.count, 0);
}

#[test]
fn owners_in_full_stand_still_while_addresses_change_places() {
    let record = |last| {
        [
            b"\x03www\x04test\0\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0",
            &[last][..],
        ]
        .concat()
    };
    let pointer = b"\xc0\x1a\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x02";
    let mut bytes = www().to_vec().unwrap();
    bytes[7] = 2;
    let question = bytes.len();
    assert_eq!(question, 0x1a);
    bytes.extend(record(1));
    bytes.extend(pointer);
    let packed = Answer::validate(&key(1), &bytes, &Pins::default())
        .unwrap()
        .packed;
    let mut buffer = [0; 100];
    let mut out = wire::Writer::new(&mut buffer);
    packed
        .write(&mut out, packed.whole(), crate::packed::Ttls::Aged(0), 1)
        .unwrap();
    let mut expected = record(2);
    expected.extend(&pointer[..15]);
    expected.push(1);
    assert_eq!(out.written(), expected);
}

#[test]
fn addresses_that_rotate_have_one_ttl() {
    let message = www()
        .answer(a("www.test", 60, 1))
        .answer(a("www.test", 50, 2));
    let tail = judge(&message).unwrap().packed.tail().to_vec();
    assert_eq!([&tail[6..10], &tail[22..26]], [[0, 0, 0, 50]; 2]);
}
