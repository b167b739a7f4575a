//! Bytes of an adversary: nothing panics, nothing loops, nothing is read that is not there.

use hickory_proto::op::Message as HickoryMessage;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::fuzz;

use crate::generate::{query, response};

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
        fuzz::message(&bytes);
    }

    /// Mostly pointers and short labels, where names are at their worst.
    #[test]
    fn bytes_full_of_pointers(
        bytes in vec(prop_oneof![Just(0), Just(1), Just(0xc0), 0..80_u8, any::<u8>()], 0..200),
    ) {
        fuzz::message(&bytes);
    }

    #[test]
    fn mutated_queries(bytes in mutated(query())) {
        fuzz::message(&bytes);
    }

    #[test]
    fn mutated_responses(bytes in mutated(response())) {
        fuzz::message(&bytes);
    }
}
