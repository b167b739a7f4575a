//! Failures of upstream are remembered for a while (RFC 9520).

use hickory_proto::op::{Message, ResponseCode};

use super::lab::{FIRST, Lab, Look, SECOND, error, ms, query, secs, www, www_is};
use crate::Failed;
use hickory_proto::rr::RecordType;

/// The Extended DNS Error of a failure that is remembered.
const CACHED: Option<u16> = Some(13);

/// Asks, and upstream answers SERVFAIL.
fn fail(lab: &mut Lab) -> Message {
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    lab.reply(client)
}

#[test]
fn a_failure_is_remembered_for_a_second() {
    let mut lab = Lab::new(&[FIRST]);
    let reply = fail(&mut lab);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, Some(0))
    );
    lab.pass(ms(999));
    let reply = lab.hit(&www());
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, CACHED)
    );
    // It is this question that failed.
    assert!(lab.is_miss(&query("www.test", RecordType::AAAA)));
    lab.pass(ms(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn each_further_failure_is_remembered_twice_as_long_up_to_thirty_seconds() {
    let mut lab = Lab::new(&[FIRST]);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(fail(&mut lab).ede(), Some(0));
        lab.pass(secs(seconds) - ms(1));
        assert_eq!(lab.hit(&www()).ede(), CACHED);
        lab.pass(ms(1));
    }
    // Long after, it is a new failure.
    lab.pass(secs(30));
    fail(&mut lab);
    lab.pass(secs(1));
    assert!(lab.is_miss(&www()));
}

/// A lookup that meets silence takes 4 s to fail; that is no time in which all was well.
#[test]
fn silence_is_a_failure_like_any_other() {
    let mut lab = Lab::new(&[FIRST]);
    for seconds in [1, 2, 4, 8, 16, 30] {
        let client = lab.query(&www());
        lab.asks.clear();
        lab.pass(secs(4));
        assert_eq!(lab.reply(client).ede(), Some(22));
        lab.pass(secs(seconds) - ms(1));
        assert_eq!(lab.hit(&www()).ede(), CACHED, "{seconds}");
        lab.pass(ms(1));
    }
}

#[test]
fn an_answer_ends_the_doubling() {
    let mut lab = Lab::new(&[FIRST]);
    fail(&mut lab);
    lab.pass(secs(1));
    // Its TTL is 0: with anything longer, a stale answer would stand before the next failure.
    lab.miss(&www(), &www_is(1, 0));
    fail(&mut lab);
    lab.pass(secs(1));
    assert!(lab.is_miss(&www()));
}

#[test]
fn failures_are_forgotten_when_link_or_nameservers_come_back() {
    let returns: [fn(&mut Lab); 2] = [Lab::link_is_up, |lab| lab.set_nameservers(&[SECOND])];
    for comes_back in returns {
        let mut lab = Lab::new(&[FIRST]);
        fail(&mut lab);
        lab.pass(secs(1));
        fail(&mut lab);
        comes_back(&mut lab);
        assert_eq!(fail(&mut lab).ede(), Some(0));
        // The doubling too.
        lab.pass(secs(1));
        assert!(lab.is_miss(&www()));
    }
}

#[test]
fn failures_are_forgotten_when_a_silent_nameserver_answers_again() {
    let mut lab = Lab::new(&[FIRST]);
    let slow = lab.query(&query("slow.test", RecordType::A));
    let slow_ask = lab.asked();
    lab.pass(ms(1500));
    fail(&mut lab);
    assert_eq!(lab.hit(&www()).ede(), CACHED);
    // An error is no sign of health.
    lab.answer(&slow_ask, &error(&slow_ask, ResponseCode::ServFail));
    assert!(!lab.is_waiting(slow));
    assert_eq!(lab.hit(&www()).ede(), CACHED);
    let well = lab.query(&query("well.test", RecordType::A));
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::NoError));
    assert_eq!(lab.reply(well).rcode(), ResponseCode::NoError);
    assert!(lab.is_miss(&www()));
}

#[test]
fn failures_of_the_link_are_not_remembered() {
    let mut lab = Lab::new(&[FIRST]);
    for _ in 0..3 {
        let client = lab.query(&www());
        while lab.is_waiting(client) {
            while let Some(ask) = lab.asks.pop() {
                lab.fail(&ask, Failed::Link);
            }
            lab.pass(ms(5));
        }
        let reply = lab.reply(client);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::ServFail, Some(23))
        );
    }
    assert_eq!(lab.shard.counters().cached_failures, 0);
}

#[test]
fn a_client_without_opt_gets_the_bare_failure() {
    let mut lab = Lab::new(&[FIRST]);
    fail(&mut lab);
    let reply = lab.hit(&query("www.test", RecordType::A));
    assert_eq!(reply.rcode(), ResponseCode::ServFail);
    assert!(reply.edns.is_none());
}
