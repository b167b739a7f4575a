//! Answers past their TTL (RFC 8767): upstream first, then what was true last.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use wire::ede::relay as ede;

use super::lab::{
    FIRST, Lab, Look, SECOND, error, ms, query, secs, servfail_with, www, www_is, www_is_not,
};
use crate::Failed;

/// Extended DNS Errors of stale answers.
const STALE: Option<u16> = Some(3);
const STALE_NXDOMAIN: Option<u16> = Some(19);

/// A lab that knew `www.test` once: its TTL is over.
fn stale_lab() -> Lab {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(60));
    lab
}

#[test]
fn after_a_failed_refresh_upstream_rests_for_thirty_seconds() {
    let mut lab = stale_lab();
    // A return of the link before the refresh is of no account.
    lab.link_is_up();
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    for _ in 0..30 {
        assert_eq!(lab.hit(&www()).ede(), STALE);
        lab.pass(ms(999));
    }
    lab.pass(ms(30));
    assert!(lab.is_miss(&www()));
}

#[test]
fn the_return_of_link_or_nameservers_ends_the_rest() {
    let returns: [fn(&mut Lab); 2] = [Lab::link_is_up, |lab| lab.set_nameservers(&[SECOND])];
    for comes_back in returns {
        let mut lab = stale_lab();
        lab.query(&www());
        let ask = lab.asked();
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
        lab.hit(&www());
        comes_back(&mut lab);
        assert!(lab.is_miss(&www()));
    }
}

#[test]
fn a_failure_never_shadows_a_stale_answer() {
    let mut lab = stale_lab();
    // Many failed refreshes of all kinds, over hours.
    for hour in 0..20 {
        let client = lab.query(&www());
        let ask = lab.asked();
        match hour % 5 {
            0 => lab.answer(&ask, &error(&ask, ResponseCode::ServFail)),
            1 => lab.answer(&ask, &error(&ask, ResponseCode::Refused)),
            2 => lab.answer(&ask, &servfail_with(&ask, ede::NO_ANSWER)),
            3 => lab.fail(&ask, Failed::Unreachable),
            _ => lab.fail(&ask, Failed::Link),
        }
        lab.pass(secs(4));
        lab.asks.clear();
        assert_eq!(lab.reply(client).hosts(), [1]);
        lab.pass(secs(3600));
    }
}

#[test]
fn the_same_holds_with_the_link_down() {
    let mut lab = stale_lab();
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.fail(&ask, Failed::Link);
    lab.pass(ms(500));
    assert_eq!(lab.reply(client).ede(), STALE);
}

#[test]
fn nothing_stale_goes_out_while_upstream_is_well() {
    let mut lab = stale_lab();
    for host in 2..100 {
        let client = lab.query(&www());
        let ask = lab.asked();
        lab.pass(ms(400));
        lab.answer(&ask, &www_is(host, 1));
        let reply = lab.reply(client);
        assert_eq!((reply.hosts(), reply.ede()), (vec![host], None));
        lab.pass(secs(1));
    }
    assert_eq!(lab.shard.counters().stale, 0);
}

#[test]
fn a_stale_denial_is_not_for_the_names_below() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    lab.pass(secs(60));
    let below = lab.query(&query("a.www.test", RecordType::A).edns(1232));
    let own = lab.query(&query("www.test", RecordType::AAAA).edns(1232));
    lab.pass(ms(500));
    assert!(lab.is_waiting(below));
    assert_eq!(lab.reply(own).ede(), STALE_NXDOMAIN);
}

#[test]
fn an_answer_that_is_not_kept_supersedes_what_was() {
    let mut lab = stale_lab();
    assert_eq!(lab.miss(&www(), &www_is(2, 0)).hosts(), [2]);
    let client = lab.query(&www());
    lab.asks.clear();
    lab.pass(ms(500));
    assert!(lab.is_waiting(client));
}

#[test]
fn stale_addresses_rotate() {
    let mut lab = Lab::new(&[FIRST]);
    let mut answer = www_is(1, 60);
    answer.add_answer(www_is(2, 60).answers[0].clone());
    lab.miss(&www(), &answer);
    lab.pass(secs(60));
    let clients = [(); 2].map(|()| lab.query(&www()));
    lab.pass(ms(500));
    let [one, other] = clients.map(|client| lab.reply(client).hosts());
    assert_ne!(one, other);
}

#[test]
fn a_client_without_opt_gets_it_too() {
    let mut lab = stale_lab();
    let client = lab.query(&query("www.test", RecordType::A));
    lab.pass(ms(500));
    let reply = lab.reply(client);
    assert_eq!((reply.ttls(), reply.edns.is_none()), (vec![30], true));
}
