//! An answer that leads out of a pin is refused as a whole, told of, and never given later.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

use super::lab::{FIRST, Lab, Look, Query, SECOND, config, query, secs};
use crate::pins::{Lead, Pin, Pins};
use crate::records::{With, a, name, response};
use crate::{Config, Routes};

/// Extended DNS Errors (RFC 8914): Blocked, and Stale Answer.
const BLOCKED: Option<u16> = Some(15);
const STALE: Option<u16> = Some(3);

/// `pinned.test` leads to 10.0.0.0/8 only.
fn pinned_lab(nameservers: &[std::net::SocketAddr]) -> Lab {
    let pin = Pin {
        suffix: "pinned.test".parse().unwrap(),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let config = Config {
        pins: Pins::new(vec![pin]).unwrap(),
        ..config(Routes::default(), 1 << 20)
    };
    Lab::configured(nameservers, config)
}

fn pinned() -> Query {
    query("a.pinned.test", RecordType::A).edns(1232)
}

fn inside(host: u8) -> Message {
    response("a.pinned.test", RecordType::A).answer(a("a.pinned.test", 60, host))
}

/// One address inside, one outside.
fn forged() -> Message {
    let address = RData::A(A::new(3, 218, 180, 17));
    inside(1).answer(Record::from_rdata(name("a.pinned.test"), 60, address))
}

#[track_caller]
fn assert_blocked(reply: &Message) {
    assert_eq!(
        (reply.rcode(), reply.ede()),
        (ResponseCode::ServFail, BLOCKED)
    );
    assert!(reply.answers.is_empty());
}

#[test]
fn it_is_refused_with_servfail_and_blocked() {
    let mut lab = pinned_lab(&[FIRST]);
    assert_blocked(&lab.miss(&pinned(), &forged()));
    // Who asks again within a second is told the same.
    assert_blocked(&lab.hit(&pinned()));
    lab.pass(secs(1));
    assert_eq!(lab.miss(&pinned(), &inside(1)).hosts(), [1]);
    let counters = lab.shard.counters();
    assert_eq!((counters.blocked, counters.answers), (1, 1));
    assert_eq!((counters.failed_attempts, counters.servfail), (1, 2));
}

#[test]
fn the_next_nameserver_may_know_better() {
    let mut lab = pinned_lab(&[FIRST, SECOND]);
    let client = lab.query(&pinned());
    let ask = lab.asked();
    lab.answer(&ask, &forged());
    assert!(lab.is_waiting(client));
    let ask = lab.asked();
    assert_eq!(ask.nameserver, SECOND);
    lab.answer(&ask, &inside(1));
    assert_eq!(lab.reply(client).hosts(), [1]);
}

/// The endpoint is gone: what was known is wrong, not stale.
#[test]
fn what_was_known_before_is_given_no_more() {
    let mut lab = pinned_lab(&[FIRST]);
    lab.miss(&pinned(), &inside(1));
    lab.pass(secs(60));
    assert_blocked(&lab.miss(&pinned(), &forged()));
    lab.pass(secs(1));
    let client = lab.query(&pinned());
    lab.pass(secs(4));
    let reply = lab.reply(client);
    assert_eq!(
        reply.rcode(),
        ResponseCode::ServFail,
        "upstream is silent, and nothing is stale"
    );
    assert_ne!(reply.ede(), STALE);
}

#[test]
fn a_refresh_that_is_refused_leaves_what_is_fresh() {
    let mut lab = pinned_lab(&[FIRST]);
    lab.miss(&pinned(), &inside(1));
    lab.pass(secs(55));
    let client = lab.query(&pinned());
    let ask = lab.asked();
    assert_eq!(lab.reply(client).hosts(), [1]);
    lab.answer(&ask, &forged());
    assert_eq!(lab.hit(&pinned()).hosts(), [1]);
    lab.pass(secs(5));
    assert_blocked(&lab.miss(&pinned(), &forged()));
}

#[test]
fn the_operator_is_told_of_the_pin_and_the_address() {
    let mut lab = pinned_lab(&[FIRST]);
    lab.miss(&pinned(), &forged());
    let told = lab.shard.take_refusal().unwrap();
    assert_eq!(told.suffix.to_string(), "pinned.test");
    assert_eq!(told.lead, Lead::Address([3, 218, 180, 17].into()));
    assert_eq!((told.nameserver, told.left_out), (FIRST, 0));
    lab.pass(secs(30));
    lab.miss(&pinned(), &forged());
    assert_eq!(lab.shard.take_refusal(), None);
    lab.pass(secs(30));
    lab.miss(&pinned(), &forged());
    assert_eq!(lab.shard.take_refusal().unwrap().left_out, 1);
}
