//! No more packets go upstream in a second than may; what is above waits, or is turned away at once.

use std::collections::VecDeque;
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use wire::ede::relay as ede;

use super::lab::{
    FIRST, Lab, Look, Query, SECOND, THIRD, error, ms, query, secs, servfail_with, www, www_is,
};
use crate::records::a;
use crate::{Ask, Failed};

/// Of 900 packets a second 90 may go out at once, and 810 in the second that follows.
const BURST: usize = 90;
const RATE: usize = 810;

const OVER_QUOTA: Option<u16> = Some(32);

fn lab() -> Lab {
    Lab::with_quota(&[FIRST], 900)
}

fn numbered(number: usize) -> Query {
    query(&format!("{number}.test"), RecordType::A).edns(1232)
}

/// So many names, from `first` on, are asked for.
fn ask_for(lab: &mut Lab, first: usize, count: usize) -> Vec<usize> {
    let numbers = first..first + count;
    numbers.map(|number| lab.query(&numbered(number))).collect()
}

fn name(ask: &Ask) -> String {
    let asked = Message::from_vec(&ask.message).unwrap();
    asked.queries[0].name().to_string()
}

/// The names that went upstream by now, in their order.
fn names(lab: &mut Lab) -> Vec<String> {
    let asks = std::mem::take(&mut lab.asks);
    asks.iter().map(name).collect()
}

fn answer(lab: &mut Lab, ask: &Ask, ttl: u32) {
    let mut message = error(ask, ResponseCode::NoError);
    message.add_answer(a(&name(ask), ttl, 1));
    lab.answer(ask, &message);
}

#[track_caller]
fn assert_turned_away(lab: &Lab, client: usize) {
    let reply = lab.reply(client);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, OVER_QUOTA)
    );
}

/// Takes the bucket's packets and lets them be answered.
fn spend(lab: &mut Lab, count: usize) {
    ask_for(lab, 1_000_000, count);
    for ask in std::mem::take(&mut lab.asks) {
        answer(lab, &ask, 300);
    }
}

#[test]
fn a_tenth_goes_out_at_once_and_nine_tenths_in_the_second_that_follows() {
    let mut lab = lab();
    let clients = ask_for(&mut lab, 0, 1000);
    assert_eq!(lab.asks.len(), BURST);
    for client in &clients[BURST + RATE..] {
        assert_turned_away(&lab, *client);
    }
    assert_eq!(lab.waiting(), BURST + RATE);
    let counters = lab.shard.counters();
    assert_eq!(
        (counters.over_quota, counters.servfail, counters.queued),
        (100, 100, RATE as u64)
    );
    lab.pass(ms(1000));
    assert_eq!(lab.asks.len(), BURST + RATE - 1);
    lab.pass(ms(1));
    // Who came first went first.
    let expected = (0..BURST + RATE).map(|number| format!("{number}.test."));
    assert!(names(&mut lab).into_iter().eq(expected));
    let counters = lab.shard.counters();
    assert_eq!((counters.delayed, counters.queued), (RATE as u64, 0));
    assert_eq!((counters.packets, counters.asked), (900, 900));
}

/// The promise, whatever is asked and however it is answered.
#[test]
fn no_second_sees_more_packets_than_the_quota() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    let mut sent: VecDeque<Instant> = VecDeque::new();
    let mut number = 0;
    let mut most = 0;
    for milli in 0..3000 {
        // 5,000 names a second, in bunches, with a pause in between.
        if milli % 7 == 0 && !(1200..1700).contains(&milli) {
            ask_for(&mut lab, number, 35);
            number += 35;
        }
        for ask in std::mem::take(&mut lab.asks) {
            sent.push_back(lab.now);
            match sent.len() % 7 {
                0 => lab.answer(&ask, &error(&ask, ResponseCode::FormErr)),
                1 => lab.answer(&ask, &error(&ask, ResponseCode::ServFail)),
                2 => {}
                _ => answer(&mut lab, &ask, 300),
            }
        }
        while sent.front().is_some_and(|at| *at + secs(1) <= lab.now) {
            sent.pop_front();
        }
        // Those that are on their way since the last look are counted a moment late.
        most = most.max(sent.len() + lab.asks.len());
        lab.pass(ms(1));
    }
    assert!((880..=900).contains(&most), "{most}");
    lab.pass(secs(4));
    assert_eq!(lab.waiting(), 0);
    let counters = lab.shard.counters();
    assert_eq!(counters.asked, counters.packets);
}

#[test]
fn what_is_below_the_quota_is_not_delayed() {
    let mut lab = lab();
    for number in 0..2000 {
        lab.query(&numbered(number));
        let ask = lab.asked();
        answer(&mut lab, &ask, 300);
        lab.pass(ms(2));
    }
    let counters = lab.shard.counters();
    assert_eq!((counters.delayed, counters.over_quota), (0, 0));
}

#[test]
fn without_a_limit_all_goes_out() {
    let mut lab = Lab::new(&[FIRST]);
    ask_for(&mut lab, 0, 4000);
    assert_eq!(lab.asks.len(), 4000);
    assert_eq!(lab.shard.counters().packets, 4000);
}

#[test]
fn the_smallest_quota_is_ten_a_second() {
    let mut lab = Lab::with_quota(&[FIRST], 1);
    ask_for(&mut lab, 0, 100);
    assert_eq!(lab.asks.len(), 1);
    lab.pass(ms(111));
    assert_eq!(lab.asks.len(), 1);
    lab.pass(ms(1));
    assert_eq!(lab.asks.len(), 2);
    lab.pass(ms(888));
    assert_eq!(lab.asks.len(), 9);
    // Whole milliseconds each.
    lab.pass(ms(8));
    assert_eq!(lab.asks.len(), 10);
    lab.pass(secs(9));
    assert_eq!(lab.asks.len(), 10, "the others were turned away");
}

#[test]
fn a_stale_answer_goes_out_at_once_and_its_refresh_before_new_names() {
    let mut lab = lab();
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(60));
    ask_for(&mut lab, 0, BURST + 10);
    lab.asks.clear();
    let client = lab.query(&www());
    lab.pass(ms(0));
    let reply = lab.reply(client);
    assert_eq!((reply.hosts(), reply.ede()), (vec![1], Some(3)));
    // The next one needs no tick.
    assert_eq!(lab.hit(&www()).ede(), Some(3));
    lab.pass(ms(2));
    assert_eq!(names(&mut lab), ["www.test."]);
}

#[test]
fn a_known_name_takes_the_place_of_the_newest_that_is_new() {
    let mut lab = lab();
    let mut known = Vec::new();
    for number in 0..3 {
        let known_query = query(&format!("known-{number}.test"), RecordType::A).edns(1232);
        lab.query(&known_query);
        let ask = lab.asked();
        answer(&mut lab, &ask, 60);
        known.push(known_query);
    }
    lab.pass(secs(60));
    let clients = ask_for(&mut lab, 0, BURST + RATE);
    lab.asks.clear();
    let refreshed: Vec<_> = known.iter().map(|query| lab.query(query)).collect();
    lab.pass(ms(0));
    for client in refreshed {
        assert_eq!(lab.reply(client).ede(), Some(3));
    }
    for client in &clients[BURST + RATE - 3..] {
        assert_turned_away(&lab, *client);
    }
    assert!(lab.is_waiting(clients[BURST + RATE - 4]));
    assert_eq!(lab.shard.counters().over_quota, 3);
    lab.pass(ms(5));
    assert_eq!(
        names(&mut lab)[..4],
        [
            "known-0.test.",
            "known-1.test.",
            "known-2.test.",
            "90.test."
        ]
    );
    // Whose place was taken can be asked for again.
    lab.pass(secs(2));
    assert!(lab.is_miss(&numbered(BURST + RATE - 1)));
}

#[test]
fn stale_answers_go_out_where_known_names_alone_fill_the_queue() {
    let mut lab = Lab::with_quota(&[FIRST], 10);
    let clients = ask_for(&mut lab, 0, 10);
    // Each name is asked for a second time.
    let seconds = ask_for(&mut lab, 1, 9);
    let stranger = lab.query(&www());
    assert_turned_away(&lab, stranger);
    lab.pass(secs(4));
    for client in clients.iter().chain(&seconds) {
        assert_eq!(lab.reply(*client).rcode(), ResponseCode::ServFail);
    }
    lab.asks.clear();

    lab.miss(&www(), &www_is(1, 1));
    lab.pass(secs(1));
    ask_for(&mut lab, 20, 10);
    ask_for(&mut lab, 20, 10);
    let asked = lab.asks.len();
    let client = lab.query(&www());
    assert_eq!(lab.reply(client).ede(), Some(3));
    assert_eq!(lab.asks.len(), asked);
    assert_eq!(lab.shard.counters().queued, 9);
}

/// The bucket has room again, and the driver has not come round yet.
#[test]
fn nobody_passes_those_who_wait() {
    let mut lab = lab();
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(54));
    ask_for(&mut lab, 0, BURST + 1);
    lab.asks.clear();
    lab.now += ms(500);
    lab.query(&numbered(1000));
    assert_eq!(lab.hit(&www()).hosts(), [1]);
    lab.pass(ms(0));
    assert_eq!(names(&mut lab), ["90.test.", "1000.test."]);
    lab.query(&www());
    assert_eq!(names(&mut lab), ["www.test."], "the refresh comes last");
}

#[test]
fn a_name_asked_for_twice_goes_before_those_asked_for_once() {
    let mut lab = lab();
    ask_for(&mut lab, 0, BURST + 20);
    lab.asks.clear();
    lab.query(&numbered(BURST + 10));
    lab.pass(ms(3));
    assert_eq!(names(&mut lab), ["100.test.", "90.test."]);
    assert_eq!(lab.shard.counters().queued, 18);
}

#[test]
fn the_wait_counts_in_the_lookups_four_seconds() {
    let mut lab = Lab::with_quota(&[FIRST], 10);
    ask_for(&mut lab, 0, 1);
    let new = lab.query(&www());
    // Names asked for twice push before it, again and again.
    for number in (1..).take(400) {
        if lab.waiting() > 0 && !lab.is_waiting(new) {
            break;
        }
        ask_for(&mut lab, number, 1);
        ask_for(&mut lab, number, 1);
        lab.pass(ms(100));
    }
    assert_turned_away(&lab, new);
}

#[test]
fn each_attempt_costs_a_packet() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    spend(&mut lab, BURST - 2);
    // Without OPT, then at the second nameserver: for that the budget is short.
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::FormErr));
    let ask = lab.asked();
    let plain = Message::from_vec(&ask.message).unwrap();
    assert!(plain.edns.is_none() && ask.nameserver == FIRST);
    lab.answer(&ask, &error(&ask, ResponseCode::FormErr));
    assert!(lab.asks.is_empty());
    lab.pass(ms(2));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, SECOND);
    assert_eq!(lab.shard.counters().packets, BURST as u64 + 1);
}

#[test]
fn a_retry_without_opt_waits_too() {
    let mut lab = lab();
    spend(&mut lab, BURST - 1);
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::FormErr));
    assert!(lab.asks.is_empty());
    lab.pass(ms(2));
    let ask = lab.asked();
    assert!(Message::from_vec(&ask.message).unwrap().edns.is_none());
}

#[test]
fn a_second_attempt_that_waits_goes_to_the_nameservers_there_are_then() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    lab.query(&www());
    lab.pass(ms(1499));
    lab.now += ms(1);
    ask_for(&mut lab, 0, BURST);
    lab.pass(ms(0));
    lab.asks.clear();
    lab.set_nameservers(&[THIRD]);
    lab.pass(ms(5));
    let ask = lab.asked();
    assert_eq!((ask.nameserver, name(&ask)), (THIRD, "www.test.".into()));
}

/// What one nameserver cannot read, others may.
#[test]
fn new_nameservers_are_asked_with_opt() {
    let mut lab = lab();
    lab.query(&www());
    let ask = lab.asked();
    ask_for(&mut lab, 0, BURST);
    lab.asks.clear();
    lab.answer(&ask, &error(&ask, ResponseCode::FormErr));
    lab.set_nameservers(&[SECOND]);
    lab.pass(ms(5));
    let asks = std::mem::take(&mut lab.asks);
    let ask = asks.iter().find(|ask| name(ask) == "www.test.").unwrap();
    assert_eq!(ask.nameserver, SECOND);
    assert!(Message::from_vec(&ask.message).unwrap().edns.is_some());
}

/// Only a lookup with nothing in flight ends when there is no room for its next attempt.
#[test]
fn a_retry_that_does_not_fit_ends_the_lookup() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    let client = lab.query(&www());
    let ask = lab.asked();
    let silent = lab.query(&numbered(1));
    let late = lab.asked();
    lab.pass(ms(1499));
    ask_for(&mut lab, 10, BURST + RATE);
    lab.asks.clear();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    assert_turned_away(&lab, client);
    // This one's second nameserver would be due now; the first may yet answer.
    lab.pass(ms(0));
    ask_for(&mut lab, 2000, 1);
    lab.pass(ms(1));
    assert!(lab.is_waiting(silent));
    answer(&mut lab, &late, 300);
    assert_eq!(lab.reply(silent).hosts(), [1]);
}

#[test]
fn an_answer_that_comes_while_the_next_attempt_waits_ends_that_too() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(1400));
    ask_for(&mut lab, 10, BURST + 200);
    lab.asks.clear();
    lab.pass(ms(100));
    let queued = lab.shard.counters().queued;
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
    assert_eq!(lab.shard.counters().queued, queued - 1);
    lab.asks.clear();
    lab.pass(secs(1));
    assert!(!names(&mut lab).contains(&"www.test.".to_owned()));
}

/// The name that waits longest for its second nameserver gives way to a known one.
fn lab_with_an_evicted_retry() -> (Lab, usize, Ask) {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    let known = query("known.test", RecordType::A).edns(1232);
    lab.query(&known);
    let ask = lab.asked();
    answer(&mut lab, &ask, 1);
    lab.pass(secs(1));
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(1499));
    lab.now += ms(1);
    ask_for(&mut lab, 10, BURST + RATE - 1);
    lab.pass(ms(0));
    lab.asks.clear();
    let place = lab.shard.counters().queued;
    let refreshed = lab.query(&known);
    lab.pass(ms(0));
    assert_eq!(lab.reply(refreshed).ede(), Some(3));
    assert_eq!(lab.shard.counters().queued, place);
    assert!(lab.is_waiting(client));
    (lab, client, ask)
}

#[test]
fn whose_place_is_taken_waits_for_what_is_in_flight() {
    let (mut lab, client, ask) = lab_with_an_evicted_retry();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

#[test]
fn whose_place_was_taken_may_ask_again() {
    let (mut lab, client, ask) = lab_with_an_evicted_retry();
    lab.pass(ms(1100));
    lab.asks.clear();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, SECOND);
    lab.answer(&ask, &www_is(2, 60));
    assert_eq!(lab.reply(client).hosts(), [2]);
}

#[test]
fn what_was_delayed_has_its_second_nameserver_in_time() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    ask_for(&mut lab, 0, BURST);
    lab.query(&www());
    lab.asks.clear();
    lab.pass(ms(2));
    let ask = lab.asked();
    assert_eq!((ask.nameserver, name(&ask)), (FIRST, "www.test.".into()));
    lab.pass(ms(1499));
    lab.asks.retain(|ask| name(ask) == "www.test.");
    assert!(lab.asks.is_empty());
    lab.pass(ms(120));
    lab.asks.retain(|ask| name(ask) == "www.test.");
    assert_eq!(lab.asked().nameserver, SECOND);
}

/// The nameserver's own word, and no wait for a nameserver that there is not.
#[test]
fn who_has_nobody_left_to_ask_does_not_wait() {
    let mut lab = lab();
    let client = lab.query(&www());
    let ask = lab.asked();
    ask_for(&mut lab, 0, BURST);
    lab.answer(&ask, &error(&ask, ResponseCode::Refused));
    assert_eq!(lab.reply(client).ede(), Some(22));
}

#[test]
fn when_the_link_comes_back_nobody_waits_twice_or_loses_his_turn() {
    let mut lab = lab();
    let client = lab.query(&www());
    // Lost twice: the next attempt is after a rest.
    for _ in 0..2 {
        let ask = lab.asked();
        lab.fail(&ask, Failed::Link);
    }
    ask_for(&mut lab, 0, BURST + RATE);
    let counters = lab.shard.counters();
    assert_eq!((counters.queued, counters.over_quota), (RATE as u64, 0));
    lab.link_is_up();
    let counters = lab.shard.counters();
    assert_eq!((counters.queued, counters.over_quota), (RATE as u64, 0));
    assert!(lab.is_waiting(client));
}

#[test]
fn what_never_left_costs_nothing() {
    let mut lab = lab();
    for number in 0..1000 {
        lab.query(&numbered(number));
        for ask in std::mem::take(&mut lab.asks) {
            lab.fail(&ask, Failed::Link);
        }
        lab.pass(ms(1));
    }
    assert_eq!(lab.shard.counters().over_quota, 0);
    let counters = lab.shard.counters();
    assert_eq!((counters.queued, counters.delayed), (0, 0));
}

/// Of what the link lost nobody knows whether it went out: it counts, and so does asking again.
#[test]
fn what_may_have_left_counts() {
    for failed in [Failed::Lost, Failed::Closed] {
        let mut lab = lab();
        ask_for(&mut lab, 0, BURST);
        assert_eq!(lab.asks.len(), BURST);
        for ask in std::mem::take(&mut lab.asks) {
            lab.fail(&ask, failed);
        }
        ask_for(&mut lab, BURST, BURST);
        assert_eq!(lab.asks.len(), 0, "{failed:?}");
    }
}

/// What a question costs may change while it is on its way.
#[test]
fn what_never_left_is_given_back_at_its_own_price() {
    let mut lab = lab();
    ask_for(&mut lab, 0, 10);
    lab.shard.set_cost(5);
    for ask in std::mem::take(&mut lab.asks) {
        lab.fail(&ask, Failed::Link);
    }
    // They go out again, and cost 50 packets now.
    assert_eq!(lab.asks.len(), 10);
    ask_for(&mut lab, 10, BURST);
    assert_eq!(lab.asks.len(), 10 + (BURST - 50) / 5);
}

#[test]
fn over_tcp_a_question_costs_more() {
    let mut lab = lab();
    lab.shard.set_cost(5);
    let clients = ask_for(&mut lab, 0, 400);
    assert_eq!(lab.asks.len(), BURST / 5);
    assert_eq!(lab.shard.counters().queued, RATE as u64 / 5);
    assert_turned_away(&lab, clients[399]);
    lab.pass(secs(1));
    assert_eq!(lab.asks.len(), (BURST + RATE) / 5);
    assert_eq!(lab.shard.counters().packets, 900);
    // So do connections.
    let mut lab = Lab::with_quota(&[FIRST], 900);
    lab.shard.spend(lab.now, 3);
    ask_for(&mut lab, 0, BURST);
    assert_eq!(lab.asks.len(), BURST - 3);
    assert_eq!(lab.shard.counters().packets, BURST as u64);
    // More than the bucket holds.
    let mut lab = Lab::with_quota(&[FIRST], 10);
    lab.shard.set_cost(5);
    ask_for(&mut lab, 0, 2);
    assert_eq!(lab.asks.len(), 1);
    lab.pass(ms(555));
    assert_eq!(lab.asks.len(), 1);
    lab.pass(ms(1));
    assert_eq!(lab.asks.len(), 2);
}

#[test]
fn nothing_is_refreshed_early_when_the_budget_is_short() {
    let mut lab = lab();
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(54));
    spend(&mut lab, BURST / 2 + 1);
    assert_eq!(lab.hit(&www()).hosts(), [1]);
    assert_eq!(lab.shard.counters().prefetches, 0);
    // But soon after.
    lab.pass(ms(2));
    lab.query(&www());
    assert_eq!(names(&mut lab), ["www.test."]);
}

#[test]
fn a_refresh_that_nobody_waits_for_takes_no_place() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(54));
    lab.query(&www());
    let ask = lab.asked();
    spend(&mut lab, BURST - 1);
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    assert!(lab.asks.is_empty());
    assert_eq!(lab.shard.counters().queued, 0);
    assert_eq!(lab.shard.next_tick(), None, "it has ended");
    assert_eq!(lab.hit(&www()).hosts(), [1]);
}

/// A lookup that nobody answers for the lack of nameservers is not the quota's.
#[test]
fn who_waits_for_nameservers_takes_no_place() {
    let mut lab = Lab::with_quota(&[], 10);
    let clients = ask_for(&mut lab, 0, 100);
    assert_eq!(lab.waiting(), 100);
    assert_eq!(lab.shard.counters().queued, 0);
    lab.set_nameservers(&[FIRST]);
    assert_eq!(lab.asks.len(), 1);
    assert_eq!(lab.shard.counters().queued, 9);
    assert_turned_away(&lab, clients[99]);
}

#[test]
fn who_waits_is_asked_at_the_nameservers_there_are_then() {
    let mut lab = lab();
    ask_for(&mut lab, 0, BURST + 1);
    lab.asks.clear();
    lab.set_nameservers(&[SECOND]);
    lab.pass(ms(2));
    let ask = lab.asked();
    assert_eq!((ask.nameserver, name(&ask)), (SECOND, "90.test.".into()));
    // And at none, if there are none any more.
    ask_for(&mut lab, 200, BURST + 1);
    lab.asks.clear();
    lab.set_nameservers(&[]);
    lab.pass(ms(1000));
    assert!(lab.asks.is_empty());
    lab.set_nameservers(&[FIRST]);
    assert!(lab.asks.iter().any(|ask| ask.nameserver == FIRST));
}

/// The relay's own quota is for all enclaves of the parent: no other nameserver helps, and it may be over
/// at any moment.
#[test]
fn the_relays_refusal_ends_the_lookup_and_is_not_remembered() {
    let mut lab = Lab::with_quota(&[FIRST, SECOND], 900);
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &servfail_with(&ask, ede::OVER_QUOTA));
    assert_turned_away(&lab, client);
    assert_eq!(lab.shard.counters().over_quota, 1);
    assert_eq!(lab.miss(&www(), &www_is(1, 60)).hosts(), [1]);

    // A stale answer goes out, and the next one asks again.
    lab.pass(secs(60));
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &servfail_with(&ask, ede::OVER_QUOTA));
    assert_eq!(lab.reply(client).ede(), Some(3));
    assert_eq!(lab.miss(&www(), &www_is(2, 60)).hosts(), [2]);
}
