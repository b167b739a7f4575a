//! Lookups that gave no answer, by kind.

use std::collections::BTreeMap;
use std::fmt;

use wire::{ede, rcode};

/// Kinds counted each for itself; a hostile server could make up one for each lookup.
const MAX_KINDS: usize = 32;

/// Why a lookup gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The name does not exist.
    NxDomain,
    /// Another response code than NOERROR, with the Extended DNS Error (RFC 8914) if the reply had one.
    Rcode {
        /// The header's code.
        rcode: u8,
        /// The info-code.
        ede: Option<u16>,
    },
    /// No reply in time.
    Timeout,
    /// Nobody listens there, or the way there is closed.
    Unreachable,
    /// The connection ended in place of a reply.
    Closed,
    /// getaddrinfo failed, and said this.
    Libc(String),
    /// The system refused: the text of its error.
    System(String),
    /// More kinds than are counted each for itself.
    Other,
}

/// How many lookups failed in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    /// Counts one.
    pub(crate) fn count(&mut self, failure: Failure) {
        let kind = match self.0.len() < MAX_KINDS || self.0.contains_key(&failure) {
            true => failure,
            false => Failure::Other,
        };
        *self.0.entry(kind).or_default() += 1;
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each kind, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&Failure, u64)> {
        self.0.iter().map(|(failure, count)| (failure, *count))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NxDomain => f.write_str("NXDOMAIN"),
            Self::Rcode { rcode, ede } => {
                match *rcode {
                    rcode::FORMERR => f.write_str("FORMERR")?,
                    rcode::SERVFAIL => f.write_str("SERVFAIL")?,
                    rcode::NOTIMP => f.write_str("NOTIMP")?,
                    rcode::REFUSED => f.write_str("REFUSED")?,
                    other => write!(f, "RCODE {other}")?,
                }
                match ede {
                    None => Ok(()),
                    Some(code) => match meaning(*code) {
                        Some(meaning) => write!(f, ", EDE {code} ({meaning})"),
                        None => write!(f, ", EDE {code}"),
                    },
                }
            }
            Self::Timeout => f.write_str("timeout"),
            Self::Unreachable => f.write_str("nobody listens there"),
            Self::Closed => f.write_str("closed without a reply"),
            Self::Libc(text) | Self::System(text) => f.write_str(text),
            Self::Other => f.write_str("of other kinds"),
        }
    }
}

/// What IANA's registry calls the info-codes that proxify gives.
fn meaning(code: u16) -> Option<&'static str> {
    Some(match code {
        ede::OTHER => "Other Error",
        ede::CACHED_ERROR => "Cached Error",
        ede::NOT_READY => "Not Ready",
        ede::NOT_SUPPORTED => "Not Supported",
        ede::NO_REACHABLE_AUTHORITY => "No Reachable Authority",
        ede::NETWORK_ERROR => "Network Error",
        ede::OVER_QUOTA => "Over Quota",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_without_end_are_one_kind() {
        let mut failures = Failures::default();
        for ede in 0..1000 {
            failures.count(Failure::Rcode {
                rcode: rcode::SERVFAIL,
                ede: Some(ede),
            });
        }
        failures.count(Failure::Timeout);
        assert_eq!(failures.total(), 1001);
        assert_eq!(failures.iter().count(), MAX_KINDS + 1);
    }

    #[test]
    fn a_failure_says_what_it_was() {
        let failed = |rcode, ede| Failure::Rcode { rcode, ede }.to_string();
        assert_eq!(
            failed(rcode::SERVFAIL, Some(22)),
            "SERVFAIL, EDE 22 (No Reachable Authority)"
        );
        assert_eq!(failed(rcode::REFUSED, Some(99)), "REFUSED, EDE 99");
        assert_eq!(failed(9, None), "RCODE 9");
    }
}
