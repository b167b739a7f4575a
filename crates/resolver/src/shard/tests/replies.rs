//! What every reply looks like: flags, case, size, OPT; and what is not a query to be answered.

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::RecordType;

use wire::rcode;

use super::lab::{FIRST, Lab, Look, Query, error, ms, query, secs, www, www_is};
use crate::records::{With, a, cname, opaque, response, soa, txt};
use crate::{MAX_UDP_REPLY, Transport};

/// A type whose rdata may be of any size.
const LARGE: u16 = 65280;

fn large() -> Query {
    query("www.test", RecordType::from(LARGE))
}

/// Answers [`large`] so that the reply to a client without OPT has `size` bytes.
fn reply_of(lab: &mut Lab, size: usize) {
    let rdata = vec![7; size - 12 - 14 - 12];
    let answer =
        response("www.test", RecordType::from(LARGE)).answer(opaque("www.test", 60, LARGE, &rdata));
    assert_eq!(answer.to_vec().unwrap().len(), size);
    lab.miss(&large().tcp(), &answer);
}

#[test]
fn a_reply_over_udp_is_no_larger_than_the_client_takes() {
    const OPT: usize = 11;
    let cases = [
        (large(), 512, 0),
        (large().edns(512), 512, OPT),
        (
            large().with(|message| message.edns = Some(small())),
            512,
            OPT,
        ),
        (large().edns(1400), 1400, OPT),
        (large().edns(4096), 4096, OPT),
        // Whatever it offers.
        (large().edns(u16::MAX), MAX_UDP_REPLY, OPT),
    ];
    for (asker, limit, opt) in cases {
        for (size, is_cut) in [(limit - opt, false), (limit - opt + 1, true)] {
            let mut lab = Lab::new(&[FIRST]);
            reply_of(&mut lab, size);
            let reply = lab.hit(&asker);
            assert_eq!(reply.metadata.truncation, is_cut, "{size}");
            assert_eq!(reply.answers.is_empty(), is_cut);
            assert_eq!(reply.edns.is_some(), opt > 0);
            // Over TCP there is no limit.
            let whole = lab.hit(&asker.clone().tcp());
            assert!(!whole.metadata.truncation);
            assert_eq!(whole.answers.len(), 1);
        }
    }
}

/// OPT with a UDP size of 0.
fn small() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(0);
    edns
}

#[test]
fn the_largest_message_comes_whole_over_tcp() {
    let mut lab = Lab::new(&[FIRST]);
    reply_of(&mut lab, usize::from(u16::MAX));
    let client = lab.query(&large().tcp());
    assert_eq!(lab.bytes(client).len(), usize::from(u16::MAX));
    assert!(lab.hit(&large()).metadata.truncation);
}

#[test]
fn a_cut_reply_has_the_addresses_that_fit() {
    let mut lab = Lab::new(&[FIRST]);
    let answer = (1..=100).fold(
        response("www.test", RecordType::A).answer(cname("www.test", 60, "b.test")),
        |answer, host| answer.answer(a("b.test", 60, host)),
    );
    lab.miss(&www().tcp(), &answer);
    // Behind 26 bytes of header and question and 16 of the CNAME: 16 an address, 11 of OPT.
    let plain = query("www.test", RecordType::A);
    for (asker, turn, addresses) in [(plain.clone(), 1, 29), (plain.edns(512), 2, 28)] {
        let reply = lab.hit(&asker);
        assert!(reply.metadata.truncation);
        assert_eq!(reply.answers[0].record_type(), RecordType::CNAME);
        let expected: Vec<u8> = (1 + turn..).take(addresses).collect();
        assert_eq!(reply.hosts(), expected);
    }
    let whole = lab.hit(&www().edns(4096));
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 101);
}

#[test]
fn a_cut_reply_keeps_its_response_code() {
    let mut lab = Lab::new(&[FIRST]);
    let denial = response("www.test", RecordType::A)
        .says(ResponseCode::NXDomain)
        .authority(soa("test", 60, 60))
        .authority(txt("test", 60, 2000));
    let reply = lab.miss(&www(), &denial);
    assert!(reply.metadata.truncation);
    assert_eq!(reply.rcode(), ResponseCode::NXDomain);
    assert!(reply.authorities.is_empty());
}

#[test]
fn a_failure_with_its_reason_fits_into_what_any_client_takes() {
    let longest = [
        "x".repeat(63),
        "y".repeat(63),
        "z".repeat(63),
        "w".repeat(61),
    ]
    .join(".");
    let mut lab = Lab::new(&["[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
        .parse()
        .unwrap()]);
    let client = lab.query(&query(&longest, RecordType::A).edns(512));
    let ask = lab.asked();
    let refused = error(&ask, ResponseCode::Refused);
    lab.answer(&ask, &refused);
    let reply = lab.reply(client);
    assert!(!reply.metadata.truncation && reply.ede().is_some());
}

/// A client's packet and the reply to it, which is there at once.
fn told(packet: Vec<u8>) -> Message {
    let mut lab = Lab::new(&[FIRST]);
    let client = lab.packet(packet, Transport::Udp);
    assert!(lab.asks.is_empty());
    lab.reply(client)
}

#[test]
fn what_is_no_query_gets_no_reply() {
    let mut lab = Lab::new(&[FIRST]);
    let response = www().with(|message| *message = message.clone().into_response());
    for packet in [response.bytes(), www().bytes()[..11].to_vec(), Vec::new()] {
        let client = lab.packet(packet, Transport::Udp);
        assert!(lab.is_waiting(client));
    }
    lab.pass(secs(10));
    assert_eq!(lab.shard.counters().dropped, 3);
}

#[test]
fn what_cannot_be_read_is_a_format_error() {
    let mut cut = www().bytes();
    cut.truncate(20);
    let mut trailing = www().bytes();
    trailing.push(0);
    let mut two_opts = www().bytes();
    let opt = two_opts[two_opts.len() - 11..].to_vec();
    two_opts.extend_from_slice(&opt);
    two_opts[11] = 2;
    let two_questions = www().with(|message| {
        message.add_query(message.queries[0].clone());
    });
    for packet in [cut, trailing, two_opts, two_questions.bytes()] {
        let reply = told(packet);
        assert_eq!(reply.rcode(), ResponseCode::FormErr);
        assert!(reply.answers.is_empty());
    }
}

#[test]
fn other_operations_are_not_implemented() {
    for opcode in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let reply = told(
            www()
                .with(|message| message.metadata.op_code = opcode)
                .bytes(),
        );
        assert_eq!(reply.rcode(), ResponseCode::NotImp);
        assert_eq!(reply.metadata.op_code, opcode);
    }
}

#[test]
fn a_hit_costs_no_question_and_no_time() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is(1, 60));
    lab.pass(ms(1));
    for _ in 0..100 {
        lab.hit(&www());
    }
    let counters = lab.shard.counters();
    assert_eq!((counters.hits, counters.asked), (100, 1));
    assert_eq!(lab.shard.next_tick(), None);
}

/// Bytes of an adversary in the place of an answer: never a panic, and the client gets its reply.
#[test]
fn garbage_from_upstream_is_an_error_to_the_client() {
    let good = www_is(1, 60).to_vec().unwrap();
    let asker: Query = www();
    for at in 0..good.len() {
        for value in [0, 1, 0x0c, 0x40, 0xc0, 0xff] {
            let mut lab = Lab::new(&[FIRST]);
            let client = lab.query(&asker);
            let ask = lab.asked();
            let mut bytes = good.clone();
            bytes[at] = value;
            lab.answer_bytes(&ask, &bytes);
            lab.asks.clear();
            lab.pass(secs(4));
            let reply = wire::Message::parse(lab.bytes(client)).unwrap();
            let rcode = reply.header.flags.rcode();
            let expected = [rcode::NOERROR, rcode::SERVFAIL, rcode::NXDOMAIN];
            assert!(expected.contains(&rcode), "{rcode} for {value} at {at}");
        }
    }
}
