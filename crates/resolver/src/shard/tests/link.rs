//! The link to the parent breaks: what it lost is asked again, and nobody else is blamed.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::lab::{FIRST, Lab, Look, SECOND, error, ms, query, secs, www, www_is};
use crate::Failed;

#[test]
fn a_lookup_lost_fifty_times_is_answered_in_time() {
    for nameservers in [&[FIRST][..], &[FIRST, SECOND]] {
        let mut lab = Lab::new(nameservers);
        let client = lab.query(&www());
        let begin = lab.now;
        for _ in 0..50 {
            let ask = next_ask(&mut lab);
            assert_eq!(ask.nameserver, FIRST);
            lab.fail(&ask, Failed::Link);
        }
        let ask = next_ask(&mut lab);
        lab.answer(&ask, &www_is(1, 60));
        assert_eq!(lab.reply(client).rcode(), ResponseCode::NoError);
        assert!(lab.now - begin < secs(4));
        assert_eq!(lab.shard.counters().servfail, 0);
    }
}

/// Waits until something is to be asked.
fn next_ask(lab: &mut Lab) -> crate::Ask {
    while lab.asks.is_empty() {
        lab.pass(ms(1));
    }
    lab.asked()
}

#[test]
fn a_hundred_lookups_survive_fifty_cuts() {
    let mut lab = Lab::new(&[FIRST]);
    let askers: Vec<_> = (0..100)
        .map(|number| query(&format!("{number}.test"), RecordType::A))
        .collect();
    let clients: Vec<usize> = askers.iter().map(|asker| lab.query(asker)).collect();
    for _ in 0..50 {
        // Two answers get through, then all is lost, and the link is back some time later.
        let asks = std::mem::take(&mut lab.asks);
        let (answered, lost) = asks.split_at(asks.len().min(2));
        for ask in answered {
            lab.answer(ask, &error(ask, ResponseCode::NoError));
        }
        for ask in lost {
            lab.fail(ask, Failed::Link);
        }
        lab.pass(ms(50));
        lab.link_is_up();
    }
    for ask in std::mem::take(&mut lab.asks) {
        lab.answer(&ask, &error(&ask, ResponseCode::NoError));
    }
    for client in clients {
        assert_eq!(lab.reply(client).rcode(), ResponseCode::NoError);
    }
}

#[test]
fn while_the_link_is_down_attempts_are_spaced() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www());
    let mut attempts = 0;
    while lab.is_waiting(client) {
        if let Some(ask) = lab.asks.pop() {
            lab.fail(&ask, Failed::Link);
            attempts += 1;
        } else {
            lab.pass(ms(1));
        }
    }
    assert!((50..60).contains(&attempts), "{attempts}");
    let reply = lab.reply(client);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, Some(23))
    );
}

#[test]
fn when_the_link_is_up_all_that_waits_goes_out_at_once() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    for name in ["a.test", "b.test", "c.test"] {
        lab.query(&query(name, RecordType::A));
    }
    for _ in 0..10 {
        for ask in std::mem::take(&mut lab.asks) {
            lab.fail(&ask, Failed::Link);
        }
        if lab.asks.is_empty() {
            break;
        }
    }
    assert!(lab.asks.is_empty());
    lab.link_is_up();
    assert_eq!(lab.asks.len(), 3);
    // What is in flight already is not asked twice, neither now nor when it would have been.
    lab.link_is_up();
    lab.pass(secs(1));
    assert_eq!(lab.asks.len(), 3);
}

#[test]
fn a_loss_on_one_nameservers_connection_is_asked_again_though_another_is_silent() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www());
    let _silent = lab.asked();
    lab.pass(ms(1500));
    let second = lab.asked();
    lab.pass(ms(100));
    lab.fail(&second, Failed::Link);
    let again = next_ask(&mut lab);
    assert_eq!(again.nameserver, SECOND);
    lab.answer(&again, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

#[test]
fn a_lost_link_sends_no_nameserver_to_rest() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    lab.query(&www());
    for _ in 0..5 {
        let ask = next_ask(&mut lab);
        lab.fail(&ask, Failed::Link);
    }
    lab.query(&query("other.test", RecordType::A));
    assert_eq!(lab.asked().nameserver, FIRST);
}

#[test]
fn silence_after_a_loss_is_told_as_silence() {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.fail(&ask, Failed::Link);
    let _silent = lab.asked();
    lab.pass(secs(4));
    assert_eq!(lab.reply(client).ede(), Some(22));
}
