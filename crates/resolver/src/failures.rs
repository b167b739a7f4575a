//! The lookups that failed last, for operators: the cache forgets a failure with the next answer, and
//! those of the link and of the quota it never knows.

use std::collections::VecDeque;
use std::net::SocketAddr;

use wire::Name;

use crate::Millis;
use crate::failure::Failure;
use crate::key::Key;

/// Failures that are remembered, each of another question: some 50 KiB at the most.
const MAX: usize = 128;

/// A lookup that ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// What was asked for.
    pub name: Name,
    /// The type.
    pub qtype: u16,
    /// What the client got.
    pub rcode: u8,
    /// The Extended DNS Error's code (RFC 8914).
    pub code: u16,
    /// Its text.
    pub text: String,
    /// Who failed, if a nameserver did.
    pub nameserver: Option<SocketAddr>,
    /// What went wrong: one of a few texts, whatever a nameserver sends.
    pub what: &'static str,
    /// Whether the log has it otherwise: as the link's, or there is no nameserver yet, so that all names
    /// fail alike; as a [`Fault`](crate::Fault) or a [`Refusal`](crate::Refusal).
    pub is_told: bool,
}

/// Oldest first.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    last: VecDeque<Noted>,
    /// How many there have been.
    count: u64,
}

#[derive(Debug)]
struct Noted {
    hash: u64,
    at: Millis,
    number: u64,
    failure: LastFailure,
}

impl Failures {
    /// Notes a failure in the place of what was known of its question.
    pub(crate) fn add(&mut self, now: Millis, hash: u64, key: &Key, failure: Failure) {
        let Ok(name) = Name::read(key.as_bytes(), 0) else {
            return;
        };
        self.last.retain(|noted| noted.hash != hash);
        if self.last.len() >= MAX {
            self.last.pop_front();
        }
        self.count += 1;
        let shown = failure.show();
        self.last.push_back(Noted {
            hash,
            at: now,
            number: self.count,
            failure: LastFailure {
                name,
                qtype: key.qtype(),
                rcode: shown.rcode,
                code: shown.code,
                text: shown.text,
                nameserver: failure.nameserver(),
                what: failure.what(),
                is_told: failure.is_told(),
            },
        });
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Those that came after the first `count`, as far as they are remembered.
    pub(crate) fn since(&self, count: u64) -> impl Iterator<Item = &LastFailure> {
        let is_new = move |noted: &&Noted| noted.number > count;
        self.last.iter().filter(is_new).map(|noted| &noted.failure)
    }

    /// The last of this question, and when it was.
    pub(crate) fn of(&self, hash: u64, key: &Key) -> Option<(Millis, &LastFailure)> {
        let noted = self.last.iter().rev().find(|noted| {
            let failure = &noted.failure;
            noted.hash == hash && failure.name.as_bytes() == key.name()
        })?;
        Some((noted.at, &noted.failure))
    }
}
