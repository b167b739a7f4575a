//! What the log of queries has of each.

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::RecordType;

use super::lab::{
    FIRST, Lab, config, error, ms, query, secs, servfail_with, www, www_is, www_is_not,
};
use crate::{Config, Failed, Logged, Pin, Pins, Routes};

/// A lab that notes queries.
fn logging(mut lab: Lab) -> Lab {
    lab.shard.log_queries(lab.now);
    lab
}

/// What was noted since the last call, a line each.
fn noted(lab: &mut Lab) -> Vec<String> {
    let line = |logged: Logged| {
        let name = logged.question.map(|(name, _)| name.to_string());
        let mut line = vec![
            name.unwrap_or_default(),
            format!("{:?}", logged.transport),
            logged.outcome.to_string(),
            logged.rcode.to_string(),
        ];
        line.extend(logged.ede.map(|ede| format!("ede {ede}")));
        line.extend(logged.nameserver.map(|server| server.to_string()));
        line.extend(logged.waited.map(|waited| format!("{waited:?}")));
        line.join(" ")
    };
    lab.shard.take_logged().into_iter().map(line).collect()
}

#[test]
fn a_name_from_its_first_question_to_its_end() {
    let mut lab = logging(Lab::new(&[FIRST]));
    lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(15));
    lab.query(&www().tcp());
    assert_eq!(noted(&mut lab), [""; 0], "nobody has a reply yet");
    lab.pass(ms(5));
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(
        noted(&mut lab),
        [
            "www.test Udp upstream 0 10.0.0.2:53 20ms",
            "www.test Tcp upstream 0 10.0.0.2:53 5ms"
        ]
    );
    lab.hit(&www());
    assert_eq!(noted(&mut lab), ["www.test Udp hit 0"]);
    lab.pass(secs(60));
    lab.query(&www());
    let ask = lab.asked();
    lab.pass(ms(500));
    assert_eq!(
        noted(&mut lab),
        ["www.test Udp stale 0 ede 3 10.0.0.2:53 500ms"]
    );
    lab.query(&www());
    assert_eq!(noted(&mut lab), ["www.test Udp stale 0 ede 3"]);
    lab.answer(&ask, &www_is_not(60));
    lab.hit(&www());
    assert_eq!(noted(&mut lab), ["www.test Udp negative 3"]);
}

#[test]
fn a_type_that_is_not_there_is_negative() {
    let mut lab = logging(Lab::new(&[FIRST]));
    let mut nodata = www_is_not(60);
    nodata.metadata.response_code = ResponseCode::NoError;
    lab.miss(&www(), &nodata);
    lab.hit(&www());
    let noted_of_it = noted(&mut lab);
    assert_eq!(noted_of_it[1..], ["www.test Udp negative 0"]);
}

#[test]
fn failures_have_their_reason_also_for_who_sent_no_opt() {
    let mut lab = logging(Lab::new(&[FIRST]));
    let plain = query("www.test", RecordType::A);
    lab.query(&plain);
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    lab.query(&plain);
    assert_eq!(
        noted(&mut lab),
        [
            "www.test Udp failed 2 ede 0 10.0.0.2:53 0ns",
            "www.test Udp failed 2 ede 13"
        ]
    );
    lab.query(&query("other.test", RecordType::A));
    let ask = lab.asked();
    lab.answer(&ask, &servfail_with(&ask, wire::ede::relay::OVER_QUOTA));
    assert_eq!(noted(&mut lab), ["other.test Udp over_quota 2 ede 32 0ns"]);
    let mut lab = logging(Lab::new(&[FIRST]));
    lab.query(&www());
    let ask = lab.asked();
    lab.fail(&ask, Failed::Unreachable);
    lab.asks.clear();
    lab.pass(secs(4));
    assert_eq!(
        noted(&mut lab),
        ["www.test Udp failed 2 ede 22 10.0.0.2:53 4s"]
    );
}

#[test]
fn what_leads_out_of_a_pin_is_blocked() {
    let pin = Pin {
        suffix: "test".parse().unwrap(),
        networks: vec!["192.0.2.0/24".parse().unwrap()],
    };
    let config = Config {
        pins: Pins::new(vec![pin]).unwrap(),
        ..config(Routes::default(), 1 << 20)
    };
    let mut lab = logging(Lab::configured(&[FIRST], config));
    lab.miss(&www(), &www_is(1, 60));
    lab.query(&www());
    assert_eq!(
        noted(&mut lab),
        [
            "www.test Udp blocked 2 ede 15 10.0.0.2:53 0ns",
            "www.test Udp blocked 2 ede 15"
        ]
    );
}

#[test]
fn what_is_answered_without_anybody_is_policy_or_malformed() {
    let mut lab = logging(Lab::new(&[FIRST]));
    lab.query(&query("localhost", RecordType::A));
    lab.query(&query("www.test", RecordType::AXFR));
    lab.query(&www().with(|message| message.metadata.op_code = OpCode::Update));
    assert_eq!(
        noted(&mut lab),
        [
            "localhost Udp policy 0",
            "www.test Udp policy 5",
            " Udp malformed 4"
        ]
    );
}

#[test]
fn operators_questions_are_not_noted_nor_is_anything_unless_asked_for() {
    let mut lab = logging(Lab::new(&[FIRST]));
    lab.look_up("www.test", RecordType::A);
    let ask = lab.asked();
    lab.answer(&ask, &www_is(1, 60));
    assert_eq!(noted(&mut lab), [""; 0]);
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.hit(&www());
    assert_eq!(noted(&mut lab), [""; 0]);
}
