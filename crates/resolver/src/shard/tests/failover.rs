//! One nameserver fails, another is asked.

use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, ResponseCode};

use super::lab::{
    FIRST, Lab, Look, SECOND, THIRD, error, ms, query, secs, servfail_with, www, www_is,
};
use crate::records::{With, a, cname, response};
use crate::{Ask, Failed};
use hickory_proto::rr::RecordType;
use wire::ede::relay as ede;

#[test]
fn the_first_may_still_answer_when_the_second_is_asked_too() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www());
    let first = lab.asked();
    lab.pass(ms(1500));
    let second = lab.asked();
    lab.pass(ms(200));
    lab.answer(&first, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
    // The other's answer is late, and nobody is told twice.
    lab.answer(&second, &www_is(2, 60));
    assert_eq!(lab.hit(&www()).hosts(), [1]);
}

/// Ways of a nameserver to say that it will not do.
fn refusals(ask: &Ask) -> Vec<Message> {
    let other_question = response("other.test", RecordType::A).answer(a("other.test", 60, 66));
    let endless = response("www.test", RecordType::A).answer(cname("www.test", 60, "www.test"));
    let mut cut = www_is(1, 60);
    cut.metadata.truncation = true;
    let mut refusals = vec![other_question, endless, cut];
    let rcodes = [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NotImp,
    ];
    refusals.extend(rcodes.map(|rcode| error(ask, rcode)));
    refusals
}

#[test]
fn the_second_is_asked_at_once_after_an_error() {
    for kind in 0..6 {
        let mut lab = Lab::new(&[FIRST, SECOND]);
        let client = lab.query(&www());
        let first = lab.asked();
        lab.answer(&first, &refusals(&first)[kind]);
        assert!(lab.is_waiting(client));
        let second = lab.asked();
        assert_eq!(second.nameserver, SECOND);
        lab.answer(&second, &www_is(1, 60));
        assert_eq!(lab.reply(client).hosts(), [1]);
        // One error is no reason to turn away from a nameserver.
        lab.query(&query("other.test", RecordType::A));
        assert_eq!(lab.asked().nameserver, FIRST);
    }
}

#[test]
fn a_nameserver_out_of_reach_is_passed_by_at_once() {
    for unreachable in [true, false] {
        let mut lab = Lab::new(&[FIRST, SECOND]);
        let client = lab.query(&www());
        let ask = lab.asked();
        if unreachable {
            lab.fail(&ask, Failed::Unreachable);
        } else {
            lab.answer(&ask, &servfail_with(&ask, ede::UNREACHABLE));
        }
        let ask = lab.asked();
        assert_eq!(ask.nameserver, SECOND);
        lab.answer(&ask, &www_is(1, 60));
        assert_eq!(lab.reply(client).hosts(), [1]);
        lab.query(&query("other.test", RecordType::A));
        assert_eq!(lab.asked().nameserver, SECOND);
    }
}

/// Lets `nameserver`, the first that is asked, stay silent once; the other answers.
fn be_silent(lab: &mut Lab) {
    lab.query(&query("silence.test", RecordType::A));
    lab.asks.clear();
    lab.pass(ms(1500));
    let ask = lab.asked();
    lab.answer(
        &ask,
        &response("silence.test", RecordType::A).answer(a("silence.test", 0, 1)),
    );
}

/// Whom the shard would ask now.
fn preferred(lab: &mut Lab) -> SocketAddr {
    lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 0));
    ask.nameserver
}

#[test]
fn a_silent_one_rests_and_is_asked_last() {
    let mut lab = Lab::new(&[FIRST, SECOND, THIRD]);
    be_silent(&mut lab);
    assert_eq!(preferred(&mut lab), SECOND);
    // Last, but it is asked.
    let client = lab.query(&www());
    for nameserver in [SECOND, THIRD, FIRST] {
        let ask = lab.asked();
        assert_eq!(ask.nameserver, nameserver);
        lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    }
    assert_eq!(lab.reply(client).rcode(), ResponseCode::ServFail);
    lab.pass(secs(1));
    assert_eq!(preferred(&mut lab), FIRST);
}

#[test]
fn many_lookups_that_meet_one_silence_count_it_once() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    for number in 0..50 {
        lab.query(&query(&format!("{number}.test"), RecordType::A));
    }
    // The other answers one of them.
    lab.query(&query("last.test", RecordType::A));
    lab.asks.clear();
    lab.pass(ms(1500));
    let (last, others) = lab.asks.split_last().unwrap();
    assert!(others.iter().all(|ask| ask.nameserver == SECOND));
    let ask = last.clone();
    lab.asks.clear();
    lab.answer(
        &ask,
        &response("last.test", RecordType::A).answer(a("last.test", 60, 1)),
    );
    lab.pass(secs(1));
    assert_eq!(preferred(&mut lab), FIRST);
}

#[test]
fn who_answers_with_an_error_is_not_taken_for_silent() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www());
    let _silent = lab.asked();
    lab.pass(ms(1500));
    let second = lab.asked();
    lab.answer(&second, &error(&second, ResponseCode::ServFail));
    // The lookup waits for the first still, and ends with what the second said.
    lab.pass(ms(2499));
    assert!(lab.is_waiting(client));
    lab.pass(ms(1));
    assert_eq!(lab.reply(client).ede(), Some(0));
}

#[test]
fn what_the_relay_says_of_silence_is_silence() {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(2500));
    lab.answer(&ask, &servfail_with(&ask, ede::NO_ANSWER));
    assert!(lab.is_waiting(client));
    // There is time for one more attempt.
    lab.pass(ms(300));
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

/// Resolvers that ask the servers of a zone themselves say these codes of them (RFC 8914 section 4.23),
/// and our relay has others: a zone without servers is no reason to turn away from who says so.
#[test]
fn what_a_nameserver_says_of_others_is_no_silence_of_its_own() {
    for code in [22, 23, 32] {
        let mut lab = Lab::new(&[FIRST, SECOND]);
        let client = lab.query(&www());
        for nameserver in [FIRST, SECOND] {
            let ask = lab.asked();
            assert_eq!(ask.nameserver, nameserver);
            lab.answer(&ask, &servfail_with(&ask, code));
        }
        let reply = lab.reply(client);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::ServFail, Some(0))
        );
        lab.query(&query("other.test", RecordType::A));
        assert_eq!(lab.asked().nameserver, FIRST);
    }
}

#[test]
fn out_of_reach_is_tried_again_with_growing_rests() {
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www());
    let mut attempts = 0;
    while lab.is_waiting(client) {
        while let Some(ask) = lab.asks.pop() {
            lab.fail(&ask, Failed::Unreachable);
            attempts += 1;
        }
        lab.pass(ms(100));
    }
    let reply = lab.reply(client);
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, Some(23))
    );
    // Both at once, and after 0.3, 0.6 and 1.2 s more.
    assert_eq!(attempts, 8);
}

#[test]
fn after_a_format_error_it_is_asked_once_more_without_opt() {
    let has_opt = |ask: &Ask| Message::from_vec(&ask.message).unwrap().edns.is_some();
    let mut lab = Lab::new(&[FIRST, SECOND]);
    let client = lab.query(&www().dnssec_ok());
    let ask = lab.asked();
    assert!(has_opt(&ask));
    // Such a nameserver may not repeat the question.
    let mut bare = error(&ask, ResponseCode::FormErr);
    bare.queries.clear();
    bare.edns = None;
    lab.answer(&ask, &bare);
    let again = lab.asked();
    assert_eq!((again.nameserver, has_opt(&again)), (FIRST, false));
    lab.answer(&again, &error(&again, ResponseCode::FormErr));
    let second = lab.asked();
    // The second nameserver did not say that it cannot read OPT.
    assert_eq!((second.nameserver, has_opt(&second)), (SECOND, true));
    let mut answer = www_is(1, 60);
    answer.edns = Some(Edns::new());
    lab.answer(&second, &answer);
    assert_eq!(lab.reply(client).hosts(), [1]);
}

#[test]
fn the_deadline_is_four_seconds() {
    for nameservers in [&[FIRST][..], &[FIRST, SECOND], &[FIRST, SECOND, THIRD]] {
        let mut lab = Lab::new(nameservers);
        let client = lab.query(&www());
        lab.pass(ms(3999));
        assert!(lab.is_waiting(client));
        lab.pass(ms(1));
        let reply = lab.reply(client);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::ServFail, Some(22))
        );
        // Each was asked once: they may be slow, and the link loses nothing.
        assert_eq!(lab.asks.len(), nameservers.len());
    }
}

#[test]
fn the_only_one_that_answers_is_found_wherever_it_stands() {
    let servers: Vec<SocketAddr> = (1..=8)
        .map(|last| SocketAddr::from(([10, 0, 0, last], 53)))
        .collect();
    let last = servers[7];
    let mut lab = Lab::new(&servers);
    let mut asked = Vec::new();
    // Three a lookup.
    for name in ["a.test", "b.test", "c.test", "d.test"] {
        lab.query(&query(name, RecordType::A));
        for _ in 0..45 {
            while !lab.asks.is_empty() {
                let ask = lab.asks.remove(0);
                asked.push(ask.nameserver);
                if ask.nameserver == last {
                    lab.answer(&ask, &response(name, RecordType::A).answer(a(name, 60, 1)));
                }
            }
            lab.pass(ms(100));
        }
    }
    assert!(asked.contains(&last), "{asked:?}");
}

/// Whatever stands before the one that is known to answer, a lookup loses one attempt to it.
#[test]
fn a_lookup_probes_one_silent_nameserver_at_most() {
    let good: SocketAddr = "10.0.0.99:53".parse().unwrap();
    let mut lab = Lab::new(&[FIRST, SECOND, THIRD, good]);
    let finds = |lab: &mut Lab, name: &str| {
        let client = lab.query(&query(name, RecordType::A));
        let mut silent = 0;
        while lab.is_waiting(client) {
            while let Some(ask) = lab.asks.pop() {
                if ask.nameserver == good {
                    lab.answer(&ask, &response(name, RecordType::A).answer(a(name, 60, 1)));
                } else {
                    silent += 1;
                }
            }
            lab.pass(ms(100));
        }
        (lab.reply(client).rcode(), silent)
    };
    // Nobody knows yet who answers.
    for round in 0..4 {
        finds(&mut lab, &format!("round{round}.test"));
    }
    // The rests of all others are over.
    lab.pass(secs(120));
    for number in 0..8 {
        let (rcode, silent) = finds(&mut lab, &format!("n{number}.test"));
        assert_eq!(rcode, ResponseCode::NoError);
        assert!(silent <= 1, "{silent}");
    }
}
