use std::net::SocketAddr;

use wire::{Name, ede, rcode};

use crate::key::Key;
use crate::validate::Invalid;

/// Why an attempt brought no answer, as the driver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There was no link to the parent, and the question never left; says nothing about the nameserver.
    Link,
    /// The link was lost after the question was put on it: it may have gone out.
    Lost,
    /// The parent is there and will not or cannot reach this nameserver: the question never left.
    Unreachable,
    /// The nameserver was reached, and closed the connection on the question.
    Closed,
}

/// Why a lookup, or a query, has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The type is only for servers among themselves.
    QueryType,
    /// A class other than IN.
    Class,
    /// The nameserver stayed silent.
    Silent(SocketAddr),
    /// The nameserver cannot be reached.
    Unreachable(SocketAddr),
    /// The link to the parent is down.
    Link,
    /// No nameserver is known yet.
    NotReady,
    /// What the nameserver sent is an error or cannot be used.
    Invalid(SocketAddr, Invalid),
    /// Too many lookups or waiters in flight.
    Overload,
    /// More than may go upstream in a second, by our own count or the relay's.
    Quota,
}

/// A message from a nameserver that no honest one sends. An error that the nameserver itself reports is
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who sent it.
    pub nameserver: SocketAddr,
    /// The name that was asked for.
    pub name: Name,
    what: Invalid,
}

impl Fault {
    pub(crate) fn of(failure: Failure, key: &Key) -> Option<Self> {
        match failure {
            // Refused answers are told by pin.
            Failure::Invalid(_, Invalid::Rcode { .. } | Invalid::Outside(_)) => None,
            Failure::Invalid(nameserver, what) => Some(Self {
                nameserver,
                name: Name::read(key.name(), 0).unwrap_or(Name::ROOT),
                what,
            }),
            _ => None,
        }
    }

    /// What was wrong with it, in words that follow the nameserver's address.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what.text()
    }
}

/// A failure as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) rcode: u8,
    pub(crate) code: u16,
    /// At most [`MAX_TEXT`] bytes.
    pub(crate) text: String,
}

/// Longest text of an Extended DNS Error in bytes: with it a reply without records fits into the
/// 512 bytes that any client takes.
pub(crate) const MAX_TEXT: usize = 160;

impl Failure {
    /// The one place where a failure becomes an RCODE and an Extended DNS Error (RFC 8914).
    pub(crate) fn show(self) -> Shown {
        let (rcode, code) = match self {
            Self::QueryType | Self::Class => (rcode::REFUSED, ede::NOT_SUPPORTED),
            Self::Silent(_) => (rcode::SERVFAIL, ede::NO_REACHABLE_AUTHORITY),
            Self::Unreachable(_) | Self::Link => (rcode::SERVFAIL, ede::NETWORK_ERROR),
            Self::NotReady => (rcode::SERVFAIL, ede::NOT_READY),
            Self::Invalid(_, why) => (
                rcode::SERVFAIL,
                match why {
                    Invalid::Rcode {
                        rcode: rcode::REFUSED,
                        ..
                    } => ede::NO_REACHABLE_AUTHORITY,
                    Invalid::Outside(_) => ede::BLOCKED,
                    _ => ede::OTHER,
                },
            ),
            Self::Overload => (rcode::SERVFAIL, ede::OTHER),
            Self::Quota => (rcode::SERVFAIL, ede::OVER_QUOTA),
        };
        let mut text = match (self, self.nameserver()) {
            (Self::Invalid(server, why), _) => format!("{server} {why}"),
            (_, Some(server)) => format!("{server} {}", self.what()),
            (_, None) => self.what().to_owned(),
        };
        text.truncate(MAX_TEXT);
        Shown { rcode, code, text }
    }

    /// Whose it is.
    pub(crate) const fn nameserver(self) -> Option<SocketAddr> {
        match self {
            Self::Silent(server) | Self::Unreachable(server) | Self::Invalid(server, _) => {
                Some(server)
            }
            _ => None,
        }
    }

    /// What went wrong, behind the nameserver's address if it is one's: one of a few texts, whatever is
    /// sent.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::QueryType => "this type is not served",
            Self::Class => "only class IN is served",
            Self::Silent(_) => "did not answer",
            Self::Unreachable(_) => "cannot be reached from the parent",
            Self::Link => "no connection to the parent",
            Self::NotReady => "no nameserver is known yet",
            Self::Invalid(_, why) => why.text(),
            Self::Overload => "too many lookups in flight",
            Self::Quota => "more names are asked for than may be asked upstream",
        }
    }

    /// Whether the failure is upstream's, to be remembered for a while (RFC 9520). The link's and
    /// our own are not: they may be over at any moment.
    pub(crate) const fn is_remembered(self) -> bool {
        matches!(
            self,
            Self::Silent(_) | Self::Unreachable(_) | Self::Invalid(..)
        )
    }

    /// Whether an answer came that is not to be used: one from before would be as little.
    pub(crate) const fn is_blocked(self) -> bool {
        matches!(self, Self::Invalid(_, Invalid::Outside(_)))
    }

    /// Whether lines of its own tell of it, not of the lookup.
    pub(crate) const fn is_told(self) -> bool {
        match self {
            Self::Link | Self::NotReady => true,
            Self::Invalid(_, why) => !matches!(why, Invalid::Rcode { .. }),
            _ => false,
        }
    }

    /// Whether the nameserver is better asked last for a while.
    pub(crate) const fn is_silence(self) -> bool {
        matches!(self, Self::Silent(_) | Self::Unreachable(_))
    }

    /// Whether asking the same nameserver again can help: it may not have got the question.
    pub(crate) const fn is_worth_a_retry(self) -> bool {
        self.is_silence() || matches!(self, Self::Link)
    }
}
