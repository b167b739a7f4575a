//! What operators are told, and that asking changes nothing that clients see.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::lab::{
    FIRST, Lab, Look, SECOND, THIRD, error, ms, query, secs, www, www_is, www_is_not,
};
use crate::shard::{Explained, Left, Local};
use crate::{Failed, Health};

fn explain(lab: &mut Lab, name: &str) -> Explained {
    let a = RecordType::A.into();
    lab.shard.explain(lab.now, &name.parse().unwrap(), a)
}

/// What the cache has of [`www`]: for how long, and the reply.
fn cached(lab: &mut Lab) -> Option<(Left, Message)> {
    let cached = explain(lab, "www.test").cached?;
    Some((cached.left, Message::from_vec(&cached.message).unwrap()))
}

#[test]
fn an_answer_is_fresh_then_stale_then_gone() {
    let mut lab = Lab::new(&[FIRST]);
    assert_eq!(cached(&mut lab), None);
    lab.miss(&www(), &www_is(7, 60));
    lab.pass(secs(20));
    let (left, message) = cached(&mut lab).unwrap();
    assert_eq!(left, Left::Fresh(secs(40)));
    assert_eq!((message.hosts(), message.ttls()), (vec![7], vec![40]));
    assert_eq!(explain(&mut lab, "www.test").cached.unwrap().age, secs(20));
    // In any case of letters, since a name is one.
    assert!(explain(&mut lab, "WWW.Test").cached.is_some());
    lab.pass(secs(41));
    let (left, message) = cached(&mut lab).unwrap();
    assert_eq!(left, Left::Stale(secs(86_399)));
    assert_eq!((message.ttls(), message.ede()), (vec![30], Some(3)));
    lab.pass(secs(86_399));
    assert_eq!(cached(&mut lab), None);
}

#[test]
fn a_denial_is_that_of_the_whole_name() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&query("www.test", RecordType::AAAA), &{
        let mut message = www_is_not(60);
        message.queries[0].set_query_type(RecordType::AAAA);
        message
    });
    let (left, message) = cached(&mut lab).unwrap();
    assert_eq!(left, Left::Fresh(secs(60)));
    assert_eq!(message.rcode(), ResponseCode::NXDomain);
    assert_eq!(message.queries[0].query_type(), RecordType::A);
}

#[test]
fn an_answer_of_nameservers_that_changed_is_told_from_an_old_one() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(7, 60));
    lab.set_nameservers(&[SECOND]);
    let (left, _) = cached(&mut lab).unwrap();
    assert_eq!(left, Left::Superseded(secs(86_460)));
}

#[test]
fn a_failure_is_told_while_it_is_given_and_remembered_after() {
    let mut lab = Lab::new(&[FIRST]);
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::Refused));
    lab.pass(ms(400));
    let explained = explain(&mut lab, "www.test");
    assert_eq!(explained.cached.unwrap().left, Left::Failure(ms(600)));
    let (ago, failure) = explained.failure.unwrap();
    assert_eq!((ago, failure.code), (ms(400), 22));
    assert_eq!(failure.text, "10.0.0.2:53 answered REFUSED");
    lab.pass(ms(600));
    let explained = explain(&mut lab, "www.test");
    assert_eq!(explained.cached, None);
    assert!(explained.failure.is_some());
    // Of this question, and of no other.
    assert_eq!(explain(&mut lab, "other.test").failure, None);
}

#[test]
fn a_failure_that_is_not_cached_is_remembered_too() {
    let mut lab = Lab::new(&[]);
    lab.query(&www());
    lab.pass(secs(5));
    let explained = explain(&mut lab, "www.test");
    assert_eq!(explained.cached, None);
    let (ago, failure) = explained.failure.unwrap();
    assert_eq!(
        (ago, &*failure.text),
        (secs(1), "no nameserver is known yet")
    );
    assert!(failure.is_told);
}

#[test]
fn the_last_128_failures_are_remembered_and_counted_on() {
    let mut lab = Lab::new(&[FIRST]);
    for number in 0..129 {
        lab.query(&query(&format!("n{number}.test"), RecordType::A));
        let ask = lab.asked();
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    assert_eq!(lab.shard.failed(), 129);
    assert_eq!(explain(&mut lab, "n0.test").failure, None);
    assert!(explain(&mut lab, "n1.test").failure.is_some());
    let since: Vec<_> = lab.shard.failed_since(127).collect();
    assert_eq!(since.len(), 2);
    assert_eq!(since[1].name.to_string(), "n128.test");
}

#[test]
fn who_is_asked_and_who_waits() {
    let mut lab = Lab::with_routes(&[FIRST, SECOND], &[("corp", &[THIRD])]);
    lab.query(&www());
    lab.pass(ms(1600));
    let explained = explain(&mut lab, "www.test");
    let under_way = explained.under_way.unwrap();
    assert_eq!((under_way.since, under_way.waiters), (ms(1600), 1));
    assert_eq!(under_way.asked, Some(SECOND));
    assert_eq!(explained.route.to_string(), ".");
    let [first, second] = explained.nameservers[..] else {
        panic!("{explained:?}")
    };
    assert!(matches!(first.health, Health::Resting { left } if left <= secs(1)));
    assert_eq!((second.address, second.health), (SECOND, Health::Unknown));
    let explained = explain(&mut lab, "a.corp");
    assert_eq!(explained.route.to_string(), "corp");
    assert_eq!(explained.nameservers[0].address, THIRD);
    let all = lab.shard.nameservers(lab.now);
    let all: Vec<_> = all
        .iter()
        .map(|(route, all)| (route.to_string(), all.len()))
        .collect();
    assert_eq!(all, [(".".to_owned(), 2), ("corp".to_owned(), 1)]);
}

#[test]
fn special_names_say_why() {
    let mut lab = Lab::new(&[FIRST]);
    for (name, why) in [
        ("localhost", Local::Localhost),
        ("a.invalid", Local::Invalid),
    ] {
        assert_eq!(explain(&mut lab, name).local, Some(why));
    }
    let name = "www.test".parse().unwrap();
    let mut of = |qtype| lab.shard.explain(lab.now, &name, qtype).local;
    assert_eq!(of(255), Some(Local::Any));
    assert!(matches!(of(252), Some(Local::Refused(why)) if why == "this type is not served"));
    assert_eq!(of(1), None);
}

/// The answer of now differs from the cached one, which stays.
#[test]
fn a_lookup_past_the_cache_leaves_it_as_it_is() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(7, 60));
    let operator = lab.look_up("www.test", RecordType::A);
    let ask = lab.asked();
    lab.answer(&ask, &www_is(9, 60));
    let reply = lab.reply(operator);
    assert_eq!((reply.hosts(), reply.ede()), (vec![9], Some(0)));
    assert!(
        lab.bytes(operator)
            .windows(20)
            .any(|text| text == b"10.0.0.2:53 answered")
    );
    assert_eq!(lab.hit(&www()).hosts(), [7]);
    // What it says of a name that does not exist is not kept either.
    let operator = lab.look_up("www.test", RecordType::A);
    let ask = lab.asked();
    lab.answer(&ask, &www_is_not(60));
    assert_eq!(lab.reply(operator).rcode(), ResponseCode::NXDomain);
    assert_eq!(lab.hit(&www()).hosts(), [7]);
    assert_eq!(lab.shard.counters().cache_entries, 1);
}

/// A stale answer would be no word of upstream's, and a failure of theirs no reason to shadow one.
#[test]
fn a_lookup_past_the_cache_that_fails_says_so_and_nobody_else_minds() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(7, 60));
    lab.pass(secs(61));
    let operator = lab.look_up("www.test", RecordType::A);
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    let reply = lab.reply(operator);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, Some(0))
    );
    assert!(
        lab.is_miss(&www()),
        "upstream first, though a refresh would have failed"
    );
    assert_eq!(lab.shard.failed(), 0);
    assert_eq!(lab.shard.counters().cache_entries, 1);
}

#[test]
fn two_operators_share_a_lookup_and_clients_do_not() {
    let mut lab = Lab::new(&[FIRST]);
    let first = lab.look_up("www.test", RecordType::A);
    let second = lab.look_up("www.test", RecordType::A);
    let ask = lab.asked();
    assert!(lab.is_miss(&www()));
    lab.fail(&ask, Failed::Unreachable);
    lab.pass(secs(4));
    assert_eq!(lab.reply(first), lab.reply(second));
}

#[test]
fn a_lookup_past_the_cache_counts_against_the_quota() {
    let mut lab = Lab::with_quota(&[FIRST], 10);
    let before = lab.shard.counters().packets;
    for number in 0..30 {
        lab.look_up(&format!("n{number}.test"), RecordType::A);
    }
    assert_eq!(lab.asks.len(), 1, "as for clients");
    assert_eq!(lab.shard.counters().packets, before + 1);
    let last = lab.look_up("last.test", RecordType::A);
    assert_eq!(lab.reply(last).ede(), Some(32));
}

#[test]
fn the_cache_forgets_a_name_or_all() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(7, 60));
    lab.miss(&www().dnssec_ok(), &www_is(7, 60));
    let other = query("other.www.test", RecordType::A);
    let mut answer = www_is_not(60);
    answer.queries[0].set_name(crate::records::name("other.www.test"));
    lab.miss(&other, &answer);
    let name = "WWW.test".parse().unwrap();
    assert_eq!(lab.shard.flush(Some(&name)), 2);
    assert_eq!(lab.shard.flush(Some(&name)), 0);
    assert!(lab.is_miss(&www()));
    assert_eq!(lab.hit(&other).rcode(), ResponseCode::NXDomain);
    assert_eq!(lab.shard.flush(None), 1);
    assert_eq!(lab.shard.counters().cache_bytes, 0);
    assert!(lab.is_miss(&other));
}
