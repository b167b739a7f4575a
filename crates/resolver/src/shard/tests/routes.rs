//! Names under some suffixes are asked at nameservers of their own, and nowhere else.

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{RData, Record, RecordType};

use super::lab::{FIRST, Lab, Look, Query, SECOND, THIRD, error, ms, query, secs, www, www_is};
use crate::records::{a, name, response, soa};
use crate::{Ask, Failed};

/// Whom all names are asked at that no route takes.
const DISCOVERED: SocketAddr = FIRST;

/// Discovered is FIRST; `corp.test` has SECOND and THIRD.
fn corp_lab() -> Lab {
    Lab::with_routes(&[DISCOVERED], &[("corp.test", &[SECOND, THIRD])])
}

fn corp() -> Query {
    query("db.corp.test", RecordType::A).edns(1232)
}

fn corp_is(host: u8, ttl: u32) -> Message {
    let mut message = response("db.corp.test", RecordType::A);
    message.add_answer(a("db.corp.test", ttl, host));
    message
}

/// Whom a new question for `asker` goes to, which then stays without an answer.
fn asks(lab: &mut Lab, asker: &Query) -> SocketAddr {
    lab.query(asker);
    lab.asked().nameserver
}

#[test]
fn the_longest_suffix_of_a_name_says_whom_to_ask() {
    let mut lab = Lab::with_routes(
        &[DISCOVERED],
        &[
            ("test", &[SECOND]),
            ("CORP.test.", &[THIRD]),
            ("10.in-addr.arpa", &[THIRD]),
        ],
    );
    for (name, nameserver, route) in [
        ("corp.test", THIRD, "corp.test"),
        ("a.b.corp.test", THIRD, "corp.test"),
        ("DB.Corp.TEST", THIRD, "corp.test"),
        ("notcorp.test", SECOND, "test"),
        ("test", SECOND, "test"),
        ("17.1.0.10.in-addr.arpa", THIRD, "10.in-addr.arpa"),
        ("17.1.0.110.in-addr.arpa", DISCOVERED, "."),
        ("corp.test.example", DISCOVERED, "."),
        (".", DISCOVERED, "."),
    ] {
        lab.query(&query(name, RecordType::MX));
        let ask = lab.asked();
        assert_eq!(ask.nameserver, nameserver, "{name}");
        assert_eq!(ask.route.to_string(), route, "{name}");
    }
}

#[test]
fn a_routed_answer_is_cached_as_any_other() {
    let mut lab = corp_lab();
    assert_eq!(lab.miss(&corp(), &corp_is(1, 60)).hosts(), [1]);
    assert_eq!(lab.hit(&corp()).hosts(), [1]);
    assert_eq!(lab.miss(&www(), &www_is(2, 60)).hosts(), [2]);
}

#[test]
fn routed_names_resolve_before_any_nameserver_is_discovered() {
    let mut lab = Lab::with_routes(&[], &[("corp.test", &[SECOND])]);
    let waits = lab.query(&www());
    assert!(lab.asks.is_empty());
    assert_eq!(lab.miss(&corp(), &corp_is(1, 60)).hosts(), [1]);
    lab.set_nameservers(&[DISCOVERED]);
    let ask = lab.asked();
    assert_eq!(ask.nameserver, DISCOVERED);
    lab.answer(&ask, &www_is(2, 60));
    assert_eq!(lab.reply(waits).hosts(), [2]);
}

#[test]
fn a_route_fails_over_within_itself() {
    let mut lab = corp_lab();
    let client = lab.query(&corp());
    assert_eq!(lab.asked().nameserver, SECOND);
    lab.pass(ms(1500));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, THIRD);
    lab.answer(&ask, &corp_is(3, 60));
    assert_eq!(lab.reply(client).hosts(), [3]);
    // The silent one rests.
    assert_eq!(asks(&mut lab, &query("b.corp.test", RecordType::A)), THIRD);
}

/// How nameservers treat a question.
type Manner = fn(&mut Lab, &Ask);

#[test]
fn nobody_else_is_asked_when_a_route_fails() {
    let refuse = |lab: &mut Lab, ask: &Ask| {
        lab.answer(ask, &error(ask, ResponseCode::Refused));
    };
    let unreachable = |lab: &mut Lab, ask: &Ask| lab.fail(ask, Failed::Unreachable);
    let silent = |_: &mut Lab, _: &Ask| {};
    let manners: [(Manner, u16); 3] = [(refuse, 22), (unreachable, 23), (silent, 22)];
    for (manner, ede) in manners {
        let mut lab = corp_lab();
        let client = lab.query(&corp());
        let mut asked = Vec::new();
        while lab.is_waiting(client) {
            for ask in std::mem::take(&mut lab.asks) {
                asked.push(ask.nameserver);
                manner(&mut lab, &ask);
            }
            lab.pass(ms(10));
        }
        assert_eq!(asked[..2], [SECOND, THIRD]);
        assert!(!asked.contains(&DISCOVERED));
        let reply = lab.reply(client);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::ServFail, Some(ede))
        );
        // All other names are as well as before.
        assert_eq!(lab.miss(&www(), &www_is(1, 60)).hosts(), [1]);
    }
}

#[test]
fn other_names_keep_off_the_routes_nameservers() {
    let mut lab = corp_lab();
    let client = lab.query(&www());
    while lab.is_waiting(client) {
        while let Some(ask) = lab.asks.pop() {
            assert_eq!(ask.nameserver, DISCOVERED);
            lab.fail(&ask, Failed::Unreachable);
        }
        lab.pass(ms(10));
    }
    assert_eq!(lab.reply(client).ede(), Some(23));
}

#[test]
fn a_change_of_the_discovered_nameservers_ages_no_routed_answer() {
    let mut lab = corp_lab();
    lab.miss(&corp(), &corp_is(1, 3600));
    let mut denial = error_of("gone.corp.test");
    denial.add_authority(soa("corp.test", 300, 300));
    lab.miss(&query("gone.corp.test", RecordType::A), &denial);
    lab.miss(&www(), &www_is(2, 3600));
    lab.set_nameservers(&[THIRD]);
    assert_eq!(lab.hit(&corp()).hosts(), [1]);
    let denied = lab.hit(&query("gone.corp.test", RecordType::AAAA));
    assert_eq!(denied.rcode(), ResponseCode::NXDomain);
    assert_eq!(asks(&mut lab, &www()), THIRD);
    // What comes by the route afterwards is fresh, too.
    let later = query("later.corp.test", RecordType::A);
    let mut answer = response("later.corp.test", RecordType::A);
    answer.add_answer(a("later.corp.test", 60, 7));
    lab.miss(&later, &answer);
    assert_eq!(lab.hit(&later).hosts(), [7]);
}

fn error_of(owner: &str) -> Message {
    let mut message = response(owner, RecordType::A);
    message.metadata.response_code = ResponseCode::NXDomain;
    message
}

#[test]
fn a_change_of_the_discovered_nameservers_forgets_and_hurries_nothing_of_a_route() {
    let mut lab = corp_lab();
    let fails = query("fails.corp.test", RecordType::A).edns(1232);
    lab.query(&fails);
    for _ in 0..2 {
        let ask = lab.asked();
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    // This one rests before the next round ...
    let rests = lab.query(&corp());
    for _ in 0..2 {
        let ask = lab.asked();
        lab.fail(&ask, Failed::Unreachable);
    }
    // ... and this one has asked one of two.
    let other = lab.query(&query("other.corp.test", RecordType::A));
    let first = lab.asked();
    lab.set_nameservers(&[THIRD]);
    assert!(lab.asks.is_empty());
    assert_eq!(lab.hit(&fails).ede(), Some(13));
    lab.fail(&first, Failed::Unreachable);
    let second = lab.asked();
    assert_ne!(second.nameserver, first.nameserver);
    lab.answer(&second, &error(&second, ResponseCode::NoError));
    assert_eq!(lab.reply(other).rcode(), ResponseCode::NoError);
    assert!(lab.is_waiting(rests));
    lab.pass(ms(300));
    assert_eq!(lab.asked().route.to_string(), "corp.test");
}

#[test]
fn the_return_of_the_link_is_for_the_routes_too() {
    let mut lab = corp_lab();
    let fails = query("fails.corp.test", RecordType::A).edns(1232);
    lab.query(&fails);
    for _ in 0..2 {
        let ask = lab.asked();
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    lab.query(&corp());
    for _ in 0..2 {
        let ask = lab.asked();
        lab.fail(&ask, Failed::Unreachable);
    }
    lab.link_is_up();
    // What waited goes out, and failures are forgotten.
    assert_eq!(lab.asked().nameserver, SECOND);
    assert_eq!(asks(&mut lab, &fails), SECOND);
    // Nobody rests any more.
    let mut lab = corp_lab();
    lab.query(&corp());
    let ask = lab.asked();
    lab.fail(&ask, Failed::Unreachable);
    let ask = lab.asked();
    lab.answer(&ask, &corp_is(1, 0));
    assert_eq!(asks(&mut lab, &corp()), THIRD);
    lab.link_is_up();
    assert_eq!(asks(&mut lab, &query("b.corp.test", RecordType::A)), SECOND);
}

#[test]
fn what_is_known_of_a_nameserver_is_known_for_its_route_alone() {
    let mut lab = Lab::with_routes(
        &[FIRST, SECOND],
        &[("corp.test", &[FIRST, SECOND]), ("lab.test", &[FIRST])],
    );
    // Silent for one route ...
    lab.query(&corp());
    let _silent = lab.asked();
    lab.pass(ms(1500));
    let ask = lab.asked();
    lab.answer(&ask, &corp_is(1, 0));
    assert_eq!(asks(&mut lab, &corp()), SECOND);
    // ... and not for the others.
    assert_eq!(asks(&mut lab, &www()), FIRST);
}

#[test]
fn failures_of_a_route_are_forgotten_when_its_own_silent_nameserver_answers() {
    let mut lab = corp_lab();
    let fail = |lab: &mut Lab| {
        lab.query(&corp());
        while let Some(ask) = lab.asks.pop() {
            lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
        }
    };
    let silent = |lab: &mut Lab, asker: &Query| {
        lab.query(asker);
        let ask = lab.asked();
        lab.pass(ms(1500));
        lab.asks.clear();
        ask
    };
    let well = |lab: &mut Lab, ask: &Ask| lab.answer(ask, &error(ask, ResponseCode::NoError));
    let elsewhere = silent(&mut lab, &www());
    let own = silent(&mut lab, &query("slow.corp.test", RecordType::A));
    fail(&mut lab);
    well(&mut lab, &elsewhere);
    assert_eq!(lab.hit(&corp()).ede(), Some(13));
    well(&mut lab, &own);
    assert_eq!(asks(&mut lab, &corp()), SECOND);
}

#[test]
fn what_the_link_lost_of_a_route_is_asked_again_at_the_same_nameserver() {
    let mut lab = corp_lab();
    let client = lab.query(&corp());
    let ask = lab.asked();
    lab.fail(&ask, Failed::Link);
    let again = lab.asked();
    assert_eq!(again.nameserver, SECOND);
    lab.answer(&again, &corp_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

#[test]
fn a_routed_nameserver_that_cannot_read_opt_is_asked_without() {
    let mut lab = corp_lab();
    let client = lab.query(&corp());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::FormErr));
    let again = lab.asked();
    assert_eq!(again.nameserver, SECOND);
    assert!(Message::from_vec(&again.message).unwrap().edns.is_none());
    lab.answer(&again, &corp_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

#[test]
fn stale_answers_of_a_route_go_out_while_it_fails_and_until_the_link_returns() {
    let mut lab = corp_lab();
    lab.miss(&corp(), &corp_is(1, 10));
    lab.pass(secs(11));
    let client = lab.query(&corp());
    for _ in 0..2 {
        let ask = lab.asked();
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    assert_eq!(lab.reply(client).ede(), Some(3));
    assert_eq!(lab.hit(&corp()).ede(), Some(3));
    lab.set_nameservers(&[THIRD]);
    assert_eq!(lab.hit(&corp()).ede(), Some(3));
    lab.link_is_up();
    assert_eq!(asks(&mut lab, &corp()), SECOND);
}

/// AmazonDNS and every other resolver answer with the whole chain.
#[test]
fn a_chain_out_of_the_suffix_is_taken_as_given() {
    let mut lab = corp_lab();
    let mut answer = response("db.corp.test", RecordType::A);
    let alias = RData::CNAME(CNAME(name("www.test")));
    answer.add_answer(Record::from_rdata(name("db.corp.test"), 60, alias));
    answer.add_answer(a("www.test", 60, 9));
    assert_eq!(lab.miss(&corp(), &answer).hosts(), [9]);
    assert_eq!(lab.hit(&corp()).hosts(), [9]);
    // It is the answer to this question, and says nothing about the other name.
    assert_eq!(asks(&mut lab, &www()), DISCOVERED);
}
