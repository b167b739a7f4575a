//! How long it took: questions upstream from their going out, clients from their query.

use hickory_proto::rr::RecordType;

use super::lab::{FIRST, Lab, SECOND, ms, secs, www, www_is};

/// Those counted upstream and of clients, and how long they took together, in milliseconds.
fn taken(lab: &Lab) -> ((u64, u64), (u64, u64)) {
    let told = |of: &histogram::Histogram| {
        let millis = std::time::Duration::from_secs_f64(of.sum_seconds()).as_micros();
        (of.count(), u64::try_from(millis.div_ceil(1000)).unwrap())
    };
    let durations = lab.shard.durations();
    (told(&durations.upstream), told(&durations.lookups))
}

#[test]
fn each_client_has_waited_since_its_own_query_and_hits_not_at_all() {
    let mut lab = Lab::new(&[FIRST]);
    lab.query(&www());
    lab.pass(ms(3));
    lab.query(&www());
    lab.pass(ms(2));
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(taken(&lab), ((1, 5), (2, 7)));
    for _ in 0..100 {
        lab.pass(ms(1));
        lab.hit(&www());
    }
    assert_eq!(taken(&lab), ((1, 5), (2, 7)));
}

#[test]
fn a_refresh_is_measured_from_its_own_question() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(57));
    lab.query(&www());
    lab.pass(ms(4));
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(taken(&lab), ((2, 4), (1, 0)), "nobody waited for it");
}

#[test]
fn a_stale_reply_ends_the_wait_and_the_answer_comes_later() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(secs(60));
    lab.query(&www());
    lab.pass(ms(500));
    assert_eq!(taken(&lab), ((1, 0), (2, 500)));
    lab.pass(ms(200));
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(taken(&lab), ((2, 700), (2, 500)));
}

#[test]
fn another_nameservers_answer_is_measured_from_its_own_question() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    lab.query(&www());
    let _silent = lab.asked();
    lab.pass(ms(1500));
    let ask = lab.asked();
    lab.pass(ms(10));
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(taken(&lab), ((1, 10), (1, 1510)));
}

#[test]
fn a_failure_is_a_reply_and_no_answer_and_operators_are_no_clients() {
    let mut lab = Lab::new(&[FIRST]);
    lab.query(&www());
    lab.pass(secs(4));
    assert_eq!(taken(&lab), ((0, 0), (1, 4000)));
    lab.look_up("www.test", RecordType::A);
    let ask = lab.asks.pop().unwrap();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(taken(&lab), ((1, 0), (1, 4000)));
}
