//! Fresh answers: how long they live, what they are kept for, and in which order addresses stand.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::lab::{FIRST, Lab, Look, SECOND, ms, query, secs, www, www_is, www_is_not};
use crate::records::{With, a, aaaa, cname, opaque, response, soa};

const DAY: u64 = 86_400;

#[test]
fn ttls_count_down_and_end() {
    let mut lab = Lab::new(&[FIRST]);
    assert_eq!(lab.miss(&www(), &www_is(1, 60)).ttls(), [60]);
    assert_eq!(lab.hit(&www()).ttls(), [60]);
    lab.pass(ms(999));
    assert_eq!(lab.hit(&www()).ttls(), [60]);
    lab.pass(ms(1));
    assert_eq!(lab.hit(&www()).ttls(), [59]);
    lab.pass(ms(58_999));
    assert_eq!(lab.last_hit(&www()).ttls(), [1]);
    lab.pass(ms(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn a_positive_answer_lives_one_day_at_most() {
    let mut lab = Lab::new(&[FIRST]);
    assert_eq!(lab.miss(&www(), &www_is(1, 1_000_000)).ttls(), [86_400]);
    lab.pass(secs(DAY - 1));
    assert_eq!(lab.last_hit(&www()).ttls(), [1]);
    lab.pass(secs(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn a_negative_answer_lives_as_its_soa_says_and_five_minutes_at_most() {
    for (soa_ttl, lifetime) in [(60, 60), (100_000, 300)] {
        let no_data = response("www.test", RecordType::A).authority(soa("test", soa_ttl, soa_ttl));
        for answer in [www_is_not(soa_ttl), no_data] {
            let mut lab = Lab::new(&[FIRST]);
            let shown = u32::try_from(lifetime).unwrap();
            assert_eq!(lab.miss(&www(), &answer).ttls(), [shown]);
            lab.pass(secs(lifetime - 1));
            let reply = lab.last_hit(&www());
            assert_eq!(reply.rcode(), answer.rcode());
            assert_eq!(reply.ttls(), [1]);
            assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
            lab.pass(secs(1));
            assert!(lab.is_miss(&www()));
        }
    }
}

#[test]
fn a_negative_answer_without_soa_is_not_kept() {
    let mut lab = Lab::new(&[FIRST]);
    let nxdomain = response("www.test", RecordType::A).says(ResponseCode::NXDomain);
    for answer in [nxdomain, response("www.test", RecordType::A)] {
        assert_eq!(lab.miss(&www(), &answer).rcode(), answer.rcode());
    }
    assert!(lab.is_miss(&www()));
}

#[test]
fn a_chain_lives_as_long_as_its_shortest_link() {
    let mut lab = Lab::new(&[FIRST]);
    let chain = response("www.test", RecordType::A)
        .answer(cname("www.test", 300, "b.test"))
        .answer(cname("b.test", 20, "c.test"))
        .answer(a("c.test", 60, 1));
    assert_eq!(lab.miss(&www(), &chain).ttls(), [300, 20, 60]);
    lab.pass(secs(19));
    assert_eq!(lab.last_hit(&www()).ttls(), [281, 1, 41]);
    lab.pass(secs(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn an_answer_with_ttl_zero_is_given_once() {
    let mut lab = Lab::new(&[FIRST]);
    for host in 1..4 {
        assert_eq!(lab.miss(&www(), &www_is(host, 0)).hosts(), [host]);
    }
}

#[test]
fn a_name_that_does_not_exist_has_no_type() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    lab.pass(secs(10));
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::MX] {
        let reply = lab.hit(&query("www.test", rtype));
        assert_eq!(reply.rcode(), ResponseCode::NXDomain);
        assert_eq!(reply.ttls(), [50]);
        assert!(
            reply.authorities[0]
                .name
                .eq_ignore_root(&"test.".parse().unwrap())
        );
    }
    lab.pass(secs(50));
    assert!(lab.is_miss(&query("www.test", RecordType::AAAA)));
}

/// Private hosted zones are laid over the public tree: below a name that exists nowhere, and below
/// one that the public root denies, private names can live.
#[test]
fn a_denial_covers_its_own_name_only() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    let by_the_root = response("internal", RecordType::A)
        .says(ResponseCode::NXDomain)
        .authority(soa("", 60, 60));
    lab.miss(&query("internal", RecordType::A), &by_the_root);
    for name in [
        "a.www.test",
        "b.a.www.test",
        "test",
        "awww.test",
        "db.internal",
    ] {
        assert!(lab.is_miss(&query(name, RecordType::A)), "{name}");
    }
}

#[test]
fn no_data_is_for_its_type_only() {
    let mut lab = Lab::new(&[FIRST]);
    let no_data = response("www.test", RecordType::A).authority(soa("test", 60, 60));
    lab.miss(&www(), &no_data);
    assert_eq!(lab.hit(&www()).rcode(), ResponseCode::NoError);
    assert!(lab.is_miss(&query("www.test", RecordType::AAAA)));
    assert!(lab.is_miss(&query("a.www.test", RecordType::A)));
}

#[test]
fn a_name_that_comes_into_being_is_no_longer_denied() {
    let mut lab = Lab::new(&[FIRST]);
    let query_aaaa = query("www.test", RecordType::AAAA);
    let client = lab.query(&query_aaaa);
    let ask = lab.asked();
    lab.miss(&www(), &www_is_not(60));
    let answer = response("www.test", RecordType::AAAA).answer(aaaa("www.test", 60, 7));
    lab.answer(&ask, &answer);
    assert_eq!(lab.reply(client).hosts(), [7]);
    assert_eq!(lab.hit(&query_aaaa).hosts(), [7]);
    assert!(lab.is_miss(&www()));
}

#[test]
fn do_and_cd_have_answers_of_their_own() {
    let mut lab = Lab::new(&[FIRST]);
    let askers = [
        www(),
        www().dnssec_ok(),
        www().checking_disabled(),
        www().dnssec_ok().checking_disabled(),
    ];
    for (asker, host) in askers.iter().zip(1..) {
        assert_eq!(lab.miss(asker, &www_is(host, 60)).hosts(), [host]);
    }
    for (asker, host) in askers.iter().zip(1..) {
        assert_eq!(lab.hit(asker).hosts(), [host]);
    }
    // Neither size nor transport nor OPT alone changes what upstream would say.
    for asker in [
        query("www.test", RecordType::A),
        www().edns(4000),
        www().tcp(),
    ] {
        assert_eq!(lab.hit(&asker).hosts(), [1]);
    }
}

#[test]
fn a_denial_to_a_client_without_do_has_no_proof_for_one_with_it() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    assert!(lab.is_miss(&www().dnssec_ok()));
    // Nor has the proof for one type that for another.
    lab.pass(secs(5));
    lab.miss(&www().dnssec_ok(), &www_is_not(60));
    assert!(lab.is_miss(&query("www.test", RecordType::AAAA).dnssec_ok()));
}

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
    lab.hit(&query("999.test", RecordType::A));
    assert!(lab.is_miss(&query("0.test", RecordType::A)));
}
