//! Nameservers become known, change and go.

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::lab::{
    FIRST, Lab, Look, SECOND, THIRD, error, ms, query, secs, www, www_is, www_is_not,
};
use crate::{Failed, MAX_NAMESERVERS};

#[test]
fn without_a_nameserver_the_failure_says_not_ready_and_is_not_remembered() {
    let mut lab = Lab::new(&[]);
    for _ in 0..2 {
        let client = lab.query(&www());
        lab.pass(ms(3999));
        assert!(lab.is_waiting(client));
        lab.pass(ms(1));
        let reply = lab.reply(client);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::ServFail, Some(14))
        );
    }
}

#[test]
fn older_denials_are_stale_too() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(300));
    lab.set_nameservers(&[SECOND]);
    assert!(lab.is_miss(&query("www.test", RecordType::AAAA)));
    assert_eq!(lab.miss(&www(), &www_is(2, 60)).hosts(), [2]);
}

#[test]
fn a_late_answer_of_an_old_nameserver_is_not_taken_for_a_new_ones() {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.query(&www());
    let old = lab.asked();
    lab.set_nameservers(&[SECOND]);
    lab.pass(ms(1500));
    assert_eq!(lab.asked().nameserver, SECOND);
    lab.answer(&old, &www_is(1, 3600));
    assert_eq!(lab.reply(client).hosts(), [1]);
    assert!(lab.is_miss(&www()));
}

#[test]
fn what_an_old_nameserver_fails_a_new_one_is_asked_for() {
    for failed in [None, Some(Failed::Link), Some(Failed::Unreachable)] {
        let mut lab = Lab::new(&[FIRST]);
        let client = lab.query(&www());
        let old = lab.asked();
        lab.set_nameservers(&[SECOND]);
        match failed {
            None => lab.answer(&old, &error(&old, ResponseCode::FormErr)),
            Some(failed) => lab.fail(&old, failed),
        }
        let new = lab.asked();
        assert_eq!(new.nameserver, SECOND);
        lab.answer(&new, &www_is(2, 60));
        assert_eq!(lab.reply(client).hosts(), [2]);
        assert_eq!(lab.hit(&www()).hosts(), [2]);
    }
}

#[test]
fn what_an_old_nameserver_keeps_silent_about_a_new_one_is_asked_for() {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.query(&www());
    let _silent = lab.asked();
    lab.pass(ms(1400));
    lab.set_nameservers(&[SECOND, THIRD]);
    lab.pass(ms(100));
    let new = lab.asked();
    assert_eq!(new.nameserver, SECOND);
    lab.answer(&new, &www_is(2, 60));
    assert_eq!(lab.reply(client).hosts(), [2]);
}

#[test]
fn nameservers_may_go_and_come_while_lookups_wait() {
    for failed in [Failed::Unreachable, Failed::Link] {
        let mut lab = Lab::new(&[FIRST]);
        let client = lab.query(&www());
        let ask = lab.asked();
        lab.set_nameservers(&[]);
        lab.fail(&ask, failed);
        lab.pass(secs(1));
        assert!(lab.is_waiting(client) && lab.asks.is_empty());
        lab.set_nameservers(&[SECOND]);
        let ask = lab.asked();
        lab.answer(&ask, &www_is(2, 60));
        assert_eq!(lab.reply(client).hosts(), [2]);
    }
}

#[test]
fn a_nameserver_that_has_just_become_known_may_be_silent_too() {
    let mut lab = Lab::new(&[]);
    let client = lab.query(&www());
    lab.pass(secs(1));
    lab.set_nameservers(&[FIRST, SECOND]);
    let _silent = lab.asked();
    lab.pass(ms(1500));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, SECOND);
    lab.answer(&ask, &www_is(2, 60));
    assert_eq!(lab.reply(client).hosts(), [2]);
}

#[test]
fn no_more_nameservers_are_used_than_the_limit() {
    let nameservers: Vec<SocketAddr> = (1..=20)
        .map(|host| SocketAddr::from(([10, 1, 0, host], 53)))
        .collect();
    let mut lab = Lab::new(&nameservers);
    let client = lab.query(&www());
    for nameserver in &nameservers[..MAX_NAMESERVERS] {
        let ask = lab.asked();
        assert_eq!(ask.nameserver, *nameserver);
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    assert_eq!(lab.reply(client).rcode(), ResponseCode::ServFail);
}
