//! What a nameserver sends.

use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;
use proptest::prelude::*;
use wire::fuzz::{assert_agree, cased};
use wire::{Malformed, Message};

use crate::generate::response;

proptest! {
    #[test]
    fn a_response_reads_as_hickory_wrote_it(written in response()) {
        let bytes = written.to_vec().unwrap();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.header.id, written.metadata.id);
        prop_assert_eq!(message.header.flags.rcode(), written.metadata.response_code.low());
        prop_assert_eq!(message.question.name, cased(&written.queries[0].name));
        prop_assert_eq!(message.question.qtype, u16::from(written.queries[0].query_type));
        let counts = [1, written.answers.len(), written.authorities.len(),
            written.additionals.len() + usize::from(written.edns.is_some())];
        prop_assert_eq!(message.header.counts.map(usize::from), counts);
        assert_agree(&message, &written);
        prop_assert_eq!(message.edns.is_some(), written.edns.is_some());
        if let (Some(ours), Some(theirs)) = (message.edns, &written.edns) {
            prop_assert_eq!(ours.udp_size, theirs.max_payload());
            prop_assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
            prop_assert_eq!(ours.rcode_high, written.metadata.response_code.high());
            let errors = theirs.options().get_all(15.into());
            let code = errors.into_iter().find_map(|error| match error {
                EdnsOption::Unknown(15, value) => wire::read_u16(value, 0),
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(ours.ede, code);
        }
        // Each record begins where the one before it ends, and the last ends with the message.
        let mut at = message.records_at();
        for record in message.records() {
            prop_assert_eq!(record.start, at);
            prop_assert_eq!(&bytes[record.rdata_at..record.end], record.rdata);
            at = record.end;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn a_response_cut_anywhere_is_malformed(written in response(), cut in any::<prop::sample::Index>()) {
        let bytes = written.to_vec().unwrap();
        let cut = cut.index(bytes.len());
        prop_assert!(Message::parse(&bytes[..cut]).is_err());
    }
}

/// A response to `. A` with `counts` of records, which follow.
fn message(counts: [u8; 3], records: &[u8]) -> Vec<u8> {
    let [answer, authority, additional] = counts;
    let header = [0, 0, 0x80, 0, 0, 1, 0, answer, 0, authority, 0, additional];
    [&header[..], &[0, 0, 1, 0, 1], records].concat()
}

#[test]
fn opt_stands_once_and_among_the_additional_records() {
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let malformed = |counts, records: &[u8]| Message::parse(&message(counts, records)).err();
    assert_eq!(malformed([0, 0, 1], &opt), None);
    assert_eq!(
        malformed([0, 0, 2], &[opt, opt].concat()),
        Some(Malformed::Opt)
    );
    assert_eq!(malformed([1, 0, 0], &opt), Some(Malformed::Opt));
    assert_eq!(malformed([0, 1, 0], &opt), Some(Malformed::Opt));
    let named = [&[1, b'a'], &opt[..]].concat();
    assert_eq!(malformed([0, 0, 1], &named), Some(Malformed::Opt));
}

#[test]
fn counts_that_promise_more_than_the_bytes_hold_are_malformed() {
    let empty = [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    assert!(Message::parse(&message([1, 0, 0], &empty)).is_ok());
    for counts in [[2, 0, 0], [1, 1, 0], [1, 0, 1], [255, 255, 255]] {
        let malformed = Message::parse(&message(counts, &empty)).err();
        assert_eq!(malformed, Some(Malformed::Record));
    }
}

#[test]
fn an_owner_that_cannot_be_read_is_malformed() {
    // A pointer to itself, one forwards, one into the header, a reserved label type.
    for owner in [[0xc0, 17], [0xc0, 28], [0xc0, 4], [0x40, 0]] {
        let record = [&owner[..], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
        for counts in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
            let malformed = Message::parse(&message(counts, &record)).err();
            assert_eq!(malformed, Some(Malformed::Record), "{owner:?}");
        }
    }
}

#[test]
fn the_largest_message_is_walked() {
    let rdata = vec![7; usize::from(u16::MAX) - 17 - 11];
    let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
    let record = [&[0, 255, 0, 0, 1, 0, 0, 0, 9], &length[..], &rdata].concat();
    let bytes = message([1, 0, 0], &record);
    assert_eq!(bytes.len(), usize::from(u16::MAX));
    let records: Vec<_> = Message::parse(&bytes).unwrap().records().collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].rtype, u16::from(RecordType::Unknown(0xff00)));
    assert_eq!(records[0].rdata, rdata);
}
