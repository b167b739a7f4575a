//! Bounds, and what comes late or twice.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::super::{MAX_LOOKUPS, MAX_WAITERS};
use super::lab::{FIRST, Lab, Look, Query, SECOND, THIRD, error, ms, query, secs, www, www_is};
use crate::Failed;

fn numbered(number: usize) -> Query {
    query(&format!("{number}.test"), RecordType::A).edns(1232)
}

/// Asserts that a query is turned away at once, with the reason.
fn assert_turned_away(lab: &mut Lab, asker: &Query) {
    let asked = lab.asks.len();
    let client = lab.query(asker);
    let reply = lab.reply(client);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, Some(0))
    );
    assert_eq!(lab.asks.len(), asked);
}

#[test]
fn no_more_lookups_go_on_than_the_limit() {
    let mut lab = Lab::new(&[FIRST]);
    for number in 0..MAX_LOOKUPS {
        lab.query(&numbered(number));
    }
    assert_eq!(lab.asks.len(), MAX_LOOKUPS);
    assert_turned_away(&mut lab, &www());
    // Who asks for what is under way may wait with the others.
    let joined = lab.query(&numbered(7));
    assert!(lab.is_waiting(joined));
    // One ends, one may begin.
    let ask = lab.asks.remove(0);
    lab.answer(&ask, &error(&ask, ResponseCode::NoError));
    let client = lab.query(&www());
    assert!(lab.is_waiting(client));
    assert_eq!(lab.shard.counters().overload, 1);
}

#[test]
fn no_more_clients_wait_than_the_limit() {
    let mut lab = Lab::new(&[FIRST]);
    for _ in 0..MAX_WAITERS {
        lab.query(&www());
    }
    let ask = lab.asked();
    assert_turned_away(&mut lab, &www());
    assert_turned_away(&mut lab, &numbered(1));
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(lab.hit(&www()).hosts(), [1]);
    let client = lab.query(&numbered(1));
    assert!(lab.is_waiting(client));
}

#[test]
fn under_overload_stale_answers_go_out_at_once_and_fresh_ones_as_ever() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(30));
    for number in 0..MAX_LOOKUPS {
        lab.query(&numbered(number));
    }
    lab.asks.clear();
    assert_eq!(lab.hit(&www()).ede(), None);
    lab.pass(secs(30));
    for number in 0..MAX_LOOKUPS {
        lab.query(&numbered(10_000 + number));
    }
    lab.asks.clear();
    let reply = lab.hit(&www());
    assert_eq!((reply.hosts(), reply.ede()), (vec![1], Some(3)));
}

#[test]
fn who_has_a_stale_answer_waits_no_longer() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(60));
    for _ in 0..MAX_WAITERS {
        lab.query(&www());
    }
    assert_turned_away(&mut lab, &numbered(1));
    lab.pass(ms(500));
    let client = lab.query(&numbered(1));
    assert!(lab.is_waiting(client));
}

#[test]
fn late_answers_are_ignored() {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.pass(secs(4));
    assert_eq!(lab.reply(client).rcode(), ResponseCode::ServFail);
    lab.answer(&ask, &www_is(1, 60));
    lab.pass(secs(1));
    // The slot of the lookup has a new owner; the old ticket is not its.
    let client = lab.query(&numbered(1));
    lab.answer(&ask, &www_is(1, 60));
    lab.fail(&ask, Failed::Link);
    assert!(lab.is_waiting(client));
    assert!(lab.is_miss(&www()));
}

#[test]
fn a_result_counts_once() {
    let mut lab = Lab::new(&[FIRST, SECOND, THIRD]);
    let client = lab.query(&www());
    let first = lab.asked();
    lab.answer(&first, &error(&first, ResponseCode::ServFail));
    let second = lab.asked();
    for _ in 0..3 {
        lab.answer(&first, &error(&first, ResponseCode::ServFail));
        lab.fail(&first, Failed::Unreachable);
    }
    // The second is still awaited, and no third is asked.
    assert!(lab.is_waiting(client) && lab.asks.is_empty());
    lab.answer(&second, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
    lab.answer(&second, &www_is(2, 60));
    assert_eq!(lab.hit(&www()).hosts(), [1]);
}

#[test]
fn nothing_is_due_when_nothing_is_under_way() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    assert_eq!(lab.shard.next_tick(), None);
    for number in 0..100 {
        lab.query(&numbered(number));
        lab.pass(ms(20));
    }
    assert!(lab.shard.next_tick().is_some());
    for ask in std::mem::take(&mut lab.asks) {
        lab.answer(&ask, &error(&ask, ResponseCode::NoError));
    }
    lab.pass(secs(4));
    assert_eq!(lab.shard.next_tick(), None);

    // At once, not when what would have been due has passed.
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(lab.shard.next_tick(), None);
}

#[test]
fn a_tick_before_anything_is_due_does_nothing() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    lab.query(&www());
    let due = lab.shard.next_tick();
    assert_eq!(due, Some(lab.now + ms(1500)));
    let mut actions = Vec::new();
    lab.shard.tick(lab.now, &mut actions);
    assert!(actions.is_empty());
    assert_eq!(lab.shard.next_tick(), due);
}
