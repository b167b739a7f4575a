//! Bytes of an adversary: nothing panics, nothing loops, nothing is read that is not there.

use hickory_proto::op::Message as HickoryMessage;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::{MAX_NAME, Message, Name, Query, Reader};

use crate::generate::{query, response};
use crate::messages::assert_agree;

/// Reads `bytes` in every way that there is.
fn read_all(bytes: &[u8]) {
    if let Ok(query) = Query::parse(bytes) {
        assert!(query.question.name.len() <= MAX_NAME);
    }
    for at in 0..=bytes.len() {
        let name = Name::read(bytes, at);
        assert!(name.is_ok_and(|name| name.as_bytes().len() <= MAX_NAME) || name.is_err());
        let mut reader = Reader::new(bytes, at);
        if reader.skip_name().is_ok() {
            assert!((at + 1..=bytes.len()).contains(&reader.at()));
        }
    }
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let mut at = message.records_at();
    let mut records = 0;
    for record in message.records() {
        assert!(record.start == at && record.ttl_at > at && record.rdata_at >= record.ttl_at + 6);
        assert_eq!(&bytes[record.rdata_at..record.end], record.rdata);
        at = record.end;
        records += 1;
    }
    let [_, promised @ ..] = message.header.counts.map(usize::from);
    assert_eq!(records, promised.iter().sum::<usize>());
    if let Ok(theirs) = HickoryMessage::from_vec(bytes) {
        assert_agree(&message, &theirs);
    }
}

/// A message with some bytes overwritten, and perhaps cut.
fn mutated(message: impl Strategy<Value = HickoryMessage>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    let cut = proptest::option::of(any::<prop::sample::Index>());
    (message, edits, cut).prop_map(|(message, edits, cut)| {
        let mut bytes = message.to_vec().unwrap();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    /// Mostly pointers and short labels, where names are at their worst.
    #[test]
    fn bytes_full_of_pointers(
        bytes in vec(prop_oneof![Just(0), Just(1), Just(0xc0), 0..80_u8, any::<u8>()], 0..200),
    ) {
        read_all(&bytes);
    }

    #[test]
    fn mutated_queries(bytes in mutated(query())) {
        read_all(&bytes);
    }

    #[test]
    fn mutated_responses(bytes in mutated(response())) {
        read_all(&bytes);
    }
}
