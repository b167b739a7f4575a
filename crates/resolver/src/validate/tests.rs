//! What is an answer to `www.test A`, and for how long.

mod kept;
mod pinned;

use hickory_proto::op::{Edns, Message as HickoryMessage, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

use super::{Answer, Invalid, MAX_CHAIN, MAX_NEGATIVE_TTL, MAX_TTL};
use crate::key::Key;
use crate::packed::Kind;
use crate::pins::Pins;
use crate::records::{With, a, cname, opaque, response, soa};
use wire::{Malformed, rcode, rtype};

/// The question that all messages here are judged by: `www.test A`.
fn key(qtype: u16) -> Key {
    let question = wire::Question {
        name: b"\x03www\x04test\0",
        qtype,
        qclass: 1,
    };
    Key::new(&question, 0)
}

fn www() -> HickoryMessage {
    response("www.test", RecordType::A)
}

fn judge(message: &HickoryMessage) -> Result<Answer, Invalid> {
    Answer::validate(&key(1), &message.to_vec().unwrap(), &Pins::default())
}

fn kind_and_lifetime(message: &HickoryMessage) -> (Kind, u32) {
    let answer = judge(message).unwrap();
    (answer.packed.kind, answer.lifetime)
}

fn nxdomain() -> HickoryMessage {
    www().says(ResponseCode::NXDomain)
}

#[test]
fn it_answers_the_question_that_was_asked() {
    let fine = www().answer(a("www.test", 60, 1));
    assert_eq!(kind_and_lifetime(&fine), (Kind::Positive, 60));
    let shouted = response("WWW.Test", RecordType::A).answer(a("www.TEST", 60, 1));
    assert_eq!(kind_and_lifetime(&shouted), (Kind::Positive, 60));

    let other_name = response("ww.test", RecordType::A);
    let other_type = response("www.test", RecordType::AAAA);
    let mut other_class = www();
    other_class.queries[0].set_query_class(DNSClass::CH);
    for message in [other_name, other_type, other_class] {
        assert_eq!(judge(&message).err(), Some(Invalid::Question));
    }
    let mut none = www();
    none.queries.clear();
    let mut two = www();
    two.add_query(two.queries[0].clone());
    for message in [none, two] {
        let malformed = Some(Invalid::Malformed(Malformed::Question));
        assert_eq!(judge(&message).err(), malformed);
    }
}

#[test]
fn it_is_a_whole_response_to_a_query() {
    let mut query = www();
    query.metadata.message_type = MessageType::Query;
    let mut notify = www();
    notify.metadata.op_code = OpCode::Notify;
    for message in [query, notify] {
        assert_eq!(judge(&message).err(), Some(Invalid::NotAResponse));
    }
    let mut cut = www();
    cut.metadata.truncation = true;
    assert_eq!(judge(&cut).err(), Some(Invalid::Truncated));

    let bytes = www().answer(a("www.test", 60, 1)).to_vec().unwrap();
    for length in 0..bytes.len() {
        let invalid = Answer::validate(&key(1), &bytes[..length], &Pins::default()).err();
        assert!(
            matches!(invalid, Some(Invalid::Malformed(_))),
            "{invalid:?}"
        );
    }
}

#[test]
fn bytes_behind_the_message_are_not_kept() {
    let mut bytes = www().answer(a("www.test", 60, 1)).to_vec().unwrap();
    let whole = Answer::validate(&key(1), &bytes, &Pins::default()).unwrap();
    bytes.extend_from_slice(b"more");
    let trailed = Answer::validate(&key(1), &bytes, &Pins::default()).unwrap();
    assert_eq!(trailed.packed.tail(), whole.packed.tail());
}

#[test]
fn an_error_is_told_with_its_extended_error() {
    let rcode = |message: &HickoryMessage| match judge(message) {
        Err(Invalid::Rcode { rcode, ede }) => (rcode, ede),
        other => panic!("{other:?}"),
    };
    let servfail = www().says(ResponseCode::ServFail);
    assert_eq!(rcode(&servfail), (2, None));
    let mut with_ede = servfail.clone();
    let mut edns = Edns::new();
    let error = hickory_proto::rr::rdata::opt::EdnsOption::Unknown(15, vec![0, 22, b'x']);
    edns.options_mut().insert(error);
    with_ede.edns = Some(edns);
    assert_eq!(rcode(&with_ede), (2, Some(22)));
    let mut badvers = www().says(ResponseCode::BADVERS);
    badvers.edns = Some(Edns::new());
    assert_eq!(rcode(&badvers), (16, None));
    // Not NOERROR, though the low bits say so; and not some other code for being large.
    let mut large = www().says(ResponseCode::from(0x10, 0));
    large.edns = Some(Edns::new());
    assert_eq!(rcode(&large), (255, None));
}

#[test]
fn an_error_may_come_without_the_question() {
    let mut bare = www().says(ResponseCode::FormErr);
    bare.queries.clear();
    let formerr = Invalid::Rcode {
        rcode: rcode::FORMERR,
        ede: None,
    };
    assert_eq!(judge(&bare).err(), Some(formerr));
    let malformed = Some(Invalid::Malformed(Malformed::Question));
    assert_eq!(
        judge(&bare.clone().says(ResponseCode::NXDomain)).err(),
        malformed
    );
    bare.metadata.message_type = MessageType::Query;
    assert_eq!(judge(&bare).err(), malformed);
}

#[test]
fn a_chain_is_followed_in_whatever_order_it_stands() {
    let links = [
        a("c.test", 50, 1),
        cname("b.test", 40, "C.test"),
        cname("www.test", 60, "b.TEST"),
    ];
    let chain = links.into_iter().fold(www(), With::answer);
    assert_eq!(kind_and_lifetime(&chain), (Kind::Positive, 40));
}

#[test]
fn a_chain_has_an_end() {
    let itself = www().answer(cname("www.test", 60, "www.test"));
    let circle = www()
        .answer(cname("www.test", 60, "b.test"))
        .answer(cname("b.test", 60, "www.test"));
    let fork = www()
        .answer(cname("www.test", 60, "b.test"))
        .answer(cname("www.test", 60, "c.test"));
    for message in [itself, circle, fork] {
        assert_eq!(judge(&message).err(), Some(Invalid::Chain));
    }
    let twice = www()
        .answer(cname("www.test", 60, "b.test"))
        .answer(cname("www.test", 60, "b.test"))
        .answer(a("b.test", 60, 1));
    assert_eq!(kind_and_lifetime(&twice), (Kind::Positive, 60));
}

#[test]
fn a_chain_is_not_too_long() {
    let chain = |links: usize| {
        let name = |link: usize| match link {
            0 => "www.test".to_owned(),
            link => format!("{link}.test"),
        };
        (0..links)
            .fold(www(), |message, link| {
                message.answer(cname(&name(link), 60, &name(link + 1)))
            })
            .answer(a(&name(links), 60, 1))
    };
    assert_eq!(
        judge(&chain(MAX_CHAIN - 1)).unwrap().packed.kind,
        Kind::Positive
    );
    assert_eq!(judge(&chain(MAX_CHAIN)).err(), Some(Invalid::Chain));
    assert_eq!(judge(&chain(1000)).err(), Some(Invalid::Chain));
}

#[test]
fn a_cname_that_was_asked_for_is_not_followed() {
    let message = response("www.test", RecordType::CNAME).answer(cname("www.test", 60, "www.test"));
    let answer = Answer::validate(
        &key(rtype::CNAME),
        &message.to_vec().unwrap(),
        &Pins::default(),
    )
    .unwrap();
    assert_eq!(answer.packed.kind, Kind::Positive);
}

#[test]
fn a_cname_fills_its_rdata() {
    let long = www().answer(opaque("www.test", 60, rtype::CNAME, b"\x01b\0\0"));
    let short = www()
        .answer(opaque("www.test", 60, rtype::CNAME, b"\x01"))
        .answer(a("www.test", 60, 1));
    for message in [long, short] {
        let malformed = Some(Invalid::Malformed(Malformed::Record));
        assert_eq!(judge(&message).err(), malformed);
    }
}

#[test]
fn records_of_another_name_are_foreign() {
    let beside = www()
        .answer(a("www.test", 60, 1))
        .answer(a("bank.test", 60, 66));
    let instead = www().answer(a("bank.test", 60, 66));
    let no_link = www()
        .answer(cname("b.test", 60, "c.test"))
        .answer(a("c.test", 60, 66));
    let above = www().answer(a("test", 60, 66));
    let mut class = a("www.test", 60, 1);
    class.dns_class = DNSClass::CH;
    for message in [beside, instead, no_link, above, www().answer(class)] {
        assert_eq!(judge(&message).err(), Some(Invalid::Foreign));
    }
}

#[test]
fn a_dname_and_its_signature_lead_from_one_name_to_the_next() {
    let message = |dname: &str| {
        www()
            .answer(opaque(dname, 30, rtype::DNAME, b"\x05other\0"))
            .answer(opaque(dname, 30, rtype::RRSIG, b"signature"))
            .answer(cname("www.test", 60, "www.other"))
            .answer(a("www.other", 60, 1))
    };
    assert_eq!(kind_and_lifetime(&message("test")), (Kind::Positive, 30));
    assert_eq!(judge(&message("example")).err(), Some(Invalid::Foreign));
}

#[test]
fn a_ttl_with_its_top_bit_set_counts_as_zero() {
    for ttl in [1 << 31, u32::MAX] {
        let message = www().answer(a("www.test", ttl, 1));
        assert_eq!(kind_and_lifetime(&message), (Kind::Positive, 0));
    }
    let longest = www().answer(a("www.test", (1 << 31) - 1, 1));
    assert_eq!(kind_and_lifetime(&longest), (Kind::Positive, MAX_TTL));
}

#[test]
fn a_negative_answer_lives_as_its_soa_says() {
    let lifetime =
        |ttl, minimum| kind_and_lifetime(&nxdomain().authority(soa("test", ttl, minimum)));
    assert_eq!(lifetime(60, 3600), (Kind::NxDomain, 60));
    assert_eq!(lifetime(3600, 60), (Kind::NxDomain, 60));
    assert_eq!(lifetime(9000, 9000), (Kind::NxDomain, MAX_NEGATIVE_TTL));
    assert_eq!(lifetime(0, 60), (Kind::NxDomain, 0));
    assert_eq!(lifetime(u32::MAX, 60), (Kind::NxDomain, 0));
    let no_data = www().authority(soa("test", 60, 30));
    assert_eq!(kind_and_lifetime(&no_data), (Kind::NoData, 30));
    let link = www()
        .answer(cname("www.test", 20, "b.other"))
        .authority(soa("other", 60, 30));
    assert_eq!(kind_and_lifetime(&link), (Kind::NoData, 20));
}

#[test]
fn a_negative_answer_without_a_fitting_soa_is_not_kept() {
    assert_eq!(kind_and_lifetime(&nxdomain()), (Kind::NxDomain, 0));
    assert_eq!(kind_and_lifetime(&www()), (Kind::NoData, 0));
    let elsewhere = nxdomain().authority(soa("example", 60, 60));
    assert_eq!(kind_and_lifetime(&elsewhere), (Kind::NxDomain, 0));
    let only_a_link = www().answer(cname("www.test", 60, "b.test"));
    assert_eq!(kind_and_lifetime(&only_a_link), (Kind::NoData, 0));
}
