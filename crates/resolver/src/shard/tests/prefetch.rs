//! Names that are asked for again are refreshed before they expire.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::super::MAX_LOOKUPS;
use super::lab::{
    FIRST, Lab, Look, Query, SECOND, error, ms, query, secs, www, www_is, www_is_not,
};
use crate::records::soa;

fn numbered(number: usize) -> Query {
    query(&format!("{number}.test"), RecordType::A).edns(1232)
}

/// A lab that knows `www.test` with a TTL of 60 s, some time later.
fn after(time: u64) -> Lab {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(ms(time));
    lab
}

#[test]
fn a_name_that_nobody_asks_for_again_expires() {
    let mut lab = after(59_999);
    assert!(lab.asks.is_empty());
    assert_eq!(lab.shard.next_tick(), None);
    lab.pass(ms(1));
    assert!(lab.is_miss(&www()));
}

/// It is known by one entry for all types.
#[test]
fn a_name_that_does_not_exist_is_refreshed_too() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    lab.pass(secs(54));
    let mail = query("www.test", RecordType::MX).edns(1232);
    let client = lab.query(&mail);
    assert_eq!(lab.reply(client).rcode(), ResponseCode::NXDomain);
    let ask = lab.asked();
    assert_eq!(lab.hit(&www()).rcode(), ResponseCode::NXDomain);
    // The name has come into being, with another type.
    let mut nodata = error(&ask, ResponseCode::NoError);
    nodata.add_authority(soa("test", 60, 60));
    lab.answer(&ask, &nodata);
    assert_eq!(lab.hit(&mail).rcode(), ResponseCode::NoError);
    assert!(lab.is_miss(&www()));
}

/// AmazonDNS answers from a cache too, and its TTL runs out with ours.
#[test]
fn a_refresh_that_cannot_be_kept_changes_nothing() {
    let mut lab = after(54_000);
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &www_is(2, 0));
    assert_eq!(lab.hit(&www()).hosts(), [1]);
    lab.pass(secs(6));
    assert!(lab.is_miss(&www()));
}

/// The refresh goes on where the first nameserver fails, as every lookup does.
#[test]
fn a_refresh_has_all_nameservers() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(54));
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, SECOND);
    lab.answer(&ask, &www_is(2, 60));
    assert_eq!(lab.hit(&www()).hosts(), [2]);
}

#[test]
fn who_asks_after_the_ttl_waits_for_the_refresh_under_way() {
    let mut lab = after(59_900);
    lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(100));
    let client = lab.query(&www());
    assert!(lab.is_waiting(client) && lab.asks.is_empty());
    // 500 ms after the refresh began.
    lab.pass(ms(399));
    assert!(lab.is_waiting(client));
    lab.pass(ms(1));
    let reply = lab.reply(client);
    assert_eq!((reply.hosts(), reply.ede()), (vec![1], Some(3)));
    // And later ones not at all.
    assert_eq!(lab.hit(&www()).ede(), Some(3));
    lab.answer(&ask, &www_is(2, 60));
    assert_eq!(lab.hit(&www()).hosts(), [2]);
}

/// Somebody waited for it: it is a refresh like others, and stale answers follow at once.
#[test]
fn a_refresh_that_somebody_waited_for_and_that_fails_is_rechecked_after_30_s() {
    let mut lab = after(59_900);
    lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(100));
    let client = lab.query(&www());
    lab.answer(&ask, &error(&ask, ResponseCode::Refused));
    assert_eq!(lab.reply(client).ede(), Some(3));
    lab.pass(ms(29_999));
    assert_eq!(lab.hit(&www()).ede(), Some(3));
    lab.pass(ms(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn under_overload_nothing_is_refreshed() {
    let mut lab = after(54_000);
    for number in 0..MAX_LOOKUPS {
        lab.query(&numbered(number));
    }
    lab.asks.clear();
    assert_eq!(lab.hit(&www()).hosts(), [1]);
    assert_eq!(lab.shard.counters().prefetches, 0);
}

/// What is known of a name can end the wish for another type, whose lookup is on its way.
#[test]
fn what_is_asked_already_is_not_refreshed() {
    let mut lab = Lab::new(&[FIRST]);
    lab.query(&www());
    let ask = lab.asked();
    let mail = query("www.test", RecordType::MX).edns(1232);
    let first = lab.query(&mail);
    lab.asked();
    lab.answer(&ask, &www_is_not(1));
    lab.pass(ms(900));
    assert_eq!(lab.hit(&mail).rcode(), ResponseCode::NXDomain);
    assert!(lab.is_waiting(first));
}
