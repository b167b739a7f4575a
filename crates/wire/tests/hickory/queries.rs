//! What a client sends.

use hickory_proto::op::{Edns, Message, OpCode, Query as HickoryQuery};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use proptest::prelude::*;
use wire::{Flags, Query, QueryError, rcode};

use crate::generate::query;
use wire::fuzz::cased;

proptest! {
    #[test]
    fn a_query_reads_as_hickory_wrote_it(message in query()) {
        let bytes = message.to_vec().unwrap();
        let query = Query::parse(&bytes).unwrap();
        prop_assert_eq!(query.id, message.metadata.id);
        prop_assert_eq!(query.flags.has(Flags::RD), message.metadata.recursion_desired);
        prop_assert_eq!(query.flags.has(Flags::CD), message.metadata.checking_disabled);
        let asked = &message.queries[0];
        prop_assert_eq!(query.question.name, cased(&asked.name));
        prop_assert_eq!(query.question.qtype, u16::from(asked.query_type));
        prop_assert_eq!(query.question.qclass, u16::from(asked.query_class));
        prop_assert_eq!(query.edns.is_some(), message.edns.is_some());
        if let (Some(ours), Some(theirs)) = (query.edns, message.edns) {
            prop_assert_eq!(ours.udp_size, theirs.max_payload());
            prop_assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
            prop_assert_eq!(ours.version, theirs.version());
        }
    }
}

/// A query of hickory's, changed by `change`, on the wire.
fn bytes(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    let name = Name::from_ascii("Example.com.").unwrap();
    message.add_query(HickoryQuery::query(name, RecordType::A));
    change(&mut message);
    message.to_vec().unwrap()
}

/// Length of header and question of [`bytes`].
const QUESTION_END: usize = 12 + 13 + 4;

/// An OPT record of `version` and with `rdata`, owned by `owner`.
fn opt(owner: &[u8], version: u8, rdata: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
    let fixed = [0, 41, 0, 100, 0, version, 0, 0];
    [owner, &fixed, &length, rdata].concat()
}

/// [`bytes`] with OPT records behind them.
fn with_opts(opts: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = bytes(|_| {});
    packet[11] = u8::try_from(opts.len()).unwrap();
    packet.extend(opts.iter().flatten());
    packet
}

fn rejected(packet: &[u8]) -> (u8, usize) {
    match Query::parse(packet) {
        Err(QueryError::Reject {
            rcode,
            question_end,
        }) => (rcode, question_end),
        other => panic!("{other:?}"),
    }
}

#[test]
fn responses_and_scraps_are_ignored() {
    let response = bytes(|message| *message = message.clone().into_response());
    assert_eq!(Query::parse(&response).err(), Some(QueryError::Ignore));
    for length in 0..12 {
        let scrap = &bytes(|_| {})[..length];
        assert_eq!(Query::parse(scrap).err(), Some(QueryError::Ignore));
    }
}

#[test]
fn other_opcodes_are_not_implemented() {
    for opcode in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let packet = bytes(|message| message.metadata.op_code = opcode);
        assert_eq!(rejected(&packet), (rcode::NOTIMP, 0));
    }
}

#[test]
fn only_one_question_and_no_records_but_additional_ones() {
    let none = bytes(|message| message.queries.clear());
    let two = bytes(|message| {
        message.add_query(message.queries[0].clone());
    });
    assert_eq!(rejected(&none), (rcode::FORMERR, 0));
    assert_eq!(rejected(&two), (rcode::FORMERR, 0));
    for count in [7, 9] {
        let mut packet = bytes(|_| {});
        packet[count] = 1;
        assert_eq!(rejected(&packet), (rcode::FORMERR, 0));
    }
}

#[test]
fn a_query_cut_anywhere_is_a_format_error() {
    let whole = bytes(|message| message.edns = Some(Edns::new()));
    for length in 12..whole.len() {
        let (code, end) = rejected(&whole[..length]);
        assert_eq!(code, rcode::FORMERR);
        assert_eq!(
            end,
            if length < QUESTION_END {
                0
            } else {
                QUESTION_END
            }
        );
    }
}

#[test]
fn a_question_has_plain_labels_only() {
    let labels = [
        &[0xc0, 12][..],
        &[0x40, 0],
        &[&[64][..], &[b'a'; 64], &[0]].concat(),
    ];
    for name in labels {
        let packet = [&bytes(|_| {})[..12], name, &[0, 1, 0, 1]].concat();
        assert_eq!(rejected(&packet), (rcode::FORMERR, 0));
    }
}

#[test]
fn bytes_behind_a_query_are_a_format_error() {
    let mut packet = bytes(|_| {});
    packet.push(0);
    assert_eq!(rejected(&packet), (rcode::FORMERR, QUESTION_END));
}

#[test]
fn one_opt_owned_by_the_root_and_filled_by_its_options() {
    let format_error = (rcode::FORMERR, QUESTION_END);
    let fine = opt(&[0], 0, &[0, 15, 0, 2, 0, 3]);
    assert!(Query::parse(&with_opts(std::slice::from_ref(&fine))).is_ok());
    assert_eq!(rejected(&with_opts(&[fine.clone(), fine])), format_error);
    assert_eq!(
        rejected(&with_opts(&[opt(&[1, b'a', 0], 0, &[])])),
        format_error
    );
    for options in [&[0, 15, 0, 3, 0, 3][..], &[0, 15, 0], &[0]] {
        assert_eq!(rejected(&with_opts(&[opt(&[0], 0, options)])), format_error);
    }
}

#[test]
fn another_edns_version_is_told_so_whatever_its_options() {
    for options in [&[][..], &[1, 2, 3]] {
        let packet = with_opts(&[opt(&[0], 1, options)]);
        assert_eq!(rejected(&packet), (rcode::BADVERS, QUESTION_END));
    }
}

#[test]
fn a_udp_size_under_512_counts_as_512() {
    let packet = with_opts(&[opt(&[0], 0, &[])]);
    assert_eq!(Query::parse(&packet).unwrap().edns.unwrap().udp_size, 512);
}

#[test]
fn other_classes_are_read() {
    let packet = bytes(|message| {
        message.queries[0].set_query_class(DNSClass::CH);
    });
    assert_eq!(Query::parse(&packet).unwrap().question.qclass, 3);
}
