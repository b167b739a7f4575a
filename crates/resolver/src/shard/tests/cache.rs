//! Fresh answers: their bytes, the order of addresses, and how many are kept.

use hickory_proto::rr::RecordType;

use super::lab::{FIRST, Lab, Look, SECOND, query, www};
use crate::records::{With, a, aaaa, cname, opaque, response};

#[test]
fn unknown_types_come_through_byte_for_byte() {
    let mut lab = Lab::new(&[FIRST]);
    let asker = query("www.test", RecordType::from(65280));
    let rdata = b"\xc0\x0c\x03www\x04test\0\xff\xff\xff\xff";
    let answer =
        response("www.test", RecordType::from(65280)).answer(opaque("www.test", 60, 65280, rdata));
    let expected = answer.to_vec().unwrap()[12..].to_vec();
    let client = lab.query(&asker);
    let ask = lab.asked();
    lab.answer(&ask, &answer);
    assert_eq!(lab.bytes(client)[12..], expected);
    let again = lab.query(&asker);
    assert_eq!(lab.bytes(again)[12..], expected);
}

#[test]
fn the_cache_keeps_within_its_bytes_and_the_newest_answers() {
    let mut lab = Lab::with_cache(&[FIRST, SECOND], 20_000);
    for number in 0..1000 {
        let name = format!("{number}.test");
        let answer = response(&name, RecordType::A).answer(a(&name, 60, 1));
        lab.miss(&query(&name, RecordType::A), &answer);
        assert!(lab.shard.counters().cache_bytes <= 20_000);
    }
    assert!(lab.shard.counters().cache_entries > 50);
    assert!(lab.shard.counters().cache_bytes > 10_000);
    lab.hit(&query("999.test", RecordType::A));
    assert!(lab.is_miss(&query("0.test", RecordType::A)));
}

#[test]
fn addresses_rotate_from_hit_to_hit() {
    let mut lab = Lab::new(&[FIRST]);
    let answer = response("www.test", RecordType::A)
        .answer(cname("www.test", 60, "b.test"))
        .answer(a("b.test", 60, 1))
        .answer(a("b.test", 60, 2))
        .answer(a("b.test", 60, 3));
    let order = lab.miss(&www(), &answer);
    assert_eq!(order.hosts(), [1, 2, 3]);
    for hosts in [[2, 3, 1], [3, 1, 2], [1, 2, 3], [2, 3, 1]] {
        let reply = lab.hit(&www());
        assert_eq!(reply.hosts(), hosts);
        assert_eq!(reply.answers[0].record_type(), RecordType::CNAME);
    }
    let asker = query("www.test", RecordType::AAAA);
    let answer = response("www.test", RecordType::AAAA)
        .answer(aaaa("www.test", 60, 1))
        .answer(aaaa("www.test", 60, 2));
    lab.miss(&asker, &answer);
    assert_eq!(lab.hit(&asker).hosts(), [2, 1]);
    assert_eq!(lab.hit(&asker).hosts(), [1, 2]);
}
