//! What a message off the wire is to a lookup.

use wire::{Flags, HEADER, Header, Message, rcode};

use super::Answer;
use crate::Failure;
use crate::questions::Lookup;

/// What it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// No reply to this query: one that came too late, or somebody's guess.
    NotOurs,
    /// The whole reply is to be had over TCP.
    Truncated,
    /// The end of the lookup.
    Ended(Result<Answer, Failure>),
}

/// Judges a message by id and question.
pub(super) fn judge(lookup: &Lookup, message: &[u8]) -> Judged {
    let Some((header, sent)) = Header::read(message).zip(Header::read(&lookup.packet)) else {
        return Judged::NotOurs;
    };
    if header.id != sent.id || !header.flags.has(Flags::QR) {
        return Judged::NotOurs;
    }
    let question = HEADER..lookup.question_end;
    let is_repeated = message.get(question.clone()) == lookup.packet.get(question);
    // A server that cannot read a query has no question to repeat.
    let has_none = header.counts[0] == 0 && header.flags.rcode() != rcode::NOERROR;
    if !is_repeated && !has_none {
        return Judged::NotOurs;
    }
    if header.flags.has(Flags::TC) {
        return Judged::Truncated;
    }
    Judged::Ended(match header.flags.rcode() {
        rcode::NOERROR => Ok(Answer {
            is_empty: header.counts[1] == 0,
        }),
        rcode::NXDOMAIN => Err(Failure::NxDomain),
        rcode => {
            let edns = Message::parse(message).ok().and_then(|reply| reply.edns);
            Err(Failure::Rcode {
                rcode,
                ede: edns.and_then(|edns| edns.ede),
            })
        }
    })
}
