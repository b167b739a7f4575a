//! What became of each query, for an operator who asks to see it (`--query-log`).
//!
//! Off, a hit costs one test of a pointer for it, and what notes stands out of the way. On, notes wait for
//! the driver, who takes them after each batch, answer or tick. A flood is cut to [`RATE`], and what was
//! left out is counted.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::{Flags, HEADER, Name, ede, rcode, rtype};

use crate::reply::{Asker, Content, Transport};

/// Most queries noted in a second, and at once after a rest: some 150 KiB of text, which a log can take for
/// hours, and all that people read.
const RATE: u32 = 1000;

/// A query that has had its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The name and type that were asked for, unless it could not be read.
    pub question: Option<(Name, u16)>,
    /// How it came.
    pub transport: Transport,
    /// What became of it.
    pub outcome: Outcome,
    /// The reply's.
    pub rcode: u8,
    /// The Extended DNS Error's code (RFC 8914), also where the client sent no OPT and does not see it.
    pub ede: Option<u16>,
    /// Who answered, or failed to.
    pub nameserver: Option<SocketAddr>,
    /// From the query to the reply, for one that was not answered at once.
    pub waited: Option<Duration>,
    /// Queries before this one that were more than may be noted.
    pub left_out: u64,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From the cache, within its TTL.
    Hit,
    /// The same, and it says that there is no such name or type.
    Negative,
    /// From the cache past its TTL, since upstream does not answer.
    Stale,
    /// A nameserver's answer, asked for this query or one beside it.
    Upstream,
    /// Answered or refused by what this name, type or class is.
    Policy,
    /// Not a query that can be answered: malformed, or of another kind.
    Malformed,
    /// No nameserver gave a usable answer, now or shortly before.
    Failed,
    /// The answer leads out of a pin.
    Blocked,
    /// More than may go upstream in a second.
    OverQuota,
    /// Too many lookups under way, or too large replies.
    Overload,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "hit",
            Self::Negative => "negative",
            Self::Stale => "stale",
            Self::Upstream => "upstream",
            Self::Policy => "policy",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::OverQuota => "over_quota",
            Self::Overload => "overload",
        })
    }
}

impl Outcome {
    /// What a failure with this Extended DNS Error is.
    pub(crate) const fn of_failure(code: u16) -> Self {
        match code {
            ede::BLOCKED => Self::Blocked,
            ede::OVER_QUOTA => Self::OverQuota,
            _ => Self::Failed,
        }
    }
}

impl Logged {
    /// The type's name, or as RFC 3597 section 5 writes one without.
    #[must_use]
    pub fn qtype(&self) -> Option<String> {
        let (_, qtype) = self.question.as_ref()?;
        let named = rtype::name(*qtype).map(str::to_owned);
        Some(named.unwrap_or_else(|| format!("TYPE{qtype}")))
    }

    /// The code's name (RFC 1035 section 4.1.1, RFC 6891 section 9), or its number.
    #[must_use]
    pub fn rcode(&self) -> String {
        match self.rcode {
            rcode::NOERROR => "NOERROR".to_owned(),
            rcode::FORMERR => "FORMERR".to_owned(),
            rcode::SERVFAIL => "SERVFAIL".to_owned(),
            rcode::NXDOMAIN => "NXDOMAIN".to_owned(),
            rcode::NOTIMP => "NOTIMP".to_owned(),
            rcode::REFUSED => "REFUSED".to_owned(),
            rcode::BADVERS => "BADVERS".to_owned(),
            other => other.to_string(),
        }
    }
}

/// The notes, if anybody wants them.
#[derive(Debug, Default)]
pub(crate) struct QueryLog(Option<Box<Notes>>);

#[derive(Debug)]
pub(crate) struct Notes {
    logged: Vec<Logged>,
    /// When [`Notes::room`] was counted.
    counted: Instant,
    /// How many may be noted still.
    room: u32,
    left_out: u64,
}

impl QueryLog {
    pub(crate) fn start(&mut self, now: Instant) {
        self.0 = Some(Box::new(Notes {
            logged: Vec::new(),
            counted: now,
            room: RATE,
            left_out: 0,
        }));
    }

    /// The notes; none where nobody wants them.
    pub(crate) fn notes(&mut self) -> Option<&mut Notes> {
        self.0.as_deref_mut()
    }

    pub(crate) fn take(&mut self) -> Vec<Logged> {
        let notes = self.0.as_deref_mut();
        notes.map_or_else(Vec::new, |notes| std::mem::take(&mut notes.logged))
    }
}

impl Notes {
    /// Notes a query that was answered at once.
    #[cold]
    pub(crate) fn at_once(
        &mut self,
        now: Instant,
        asker: &Asker<'_>,
        outcome: Outcome,
        ede: Option<u16>,
        reply: &[u8],
    ) {
        if self.admits(now) {
            self.push(noted(asker, outcome, ede, reply));
        }
    }

    /// Notes a query that has `waited` so long.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a line of the log is made of"
    )]
    #[cold]
    pub(crate) fn waited(
        &mut self,
        now: Instant,
        waited: Duration,
        asker: &Asker<'_>,
        outcome: Outcome,
        nameserver: Option<SocketAddr>,
        content: Content<'_>,
        reply: &[u8],
    ) {
        if self.admits(now) {
            let noted = noted(asker, outcome, content.ede(), reply);
            self.push(Logged {
                nameserver,
                waited: Some(waited),
                ..noted
            });
        }
    }

    /// Notes what is no query that can be answered.
    #[cold]
    pub(crate) fn malformed(&mut self, now: Instant, transport: Transport, rcode: u8) {
        if self.admits(now) {
            self.push(Logged {
                question: None,
                transport,
                outcome: Outcome::Malformed,
                rcode,
                ede: None,
                nameserver: None,
                waited: None,
                left_out: 0,
            });
        }
    }

    fn admits(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.counted);
        let more = since.as_micros() * u128::from(RATE) / 1_000_000;
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            self.room = self.room.saturating_add(more).min(RATE);
            self.counted = now;
        }
        let left = self.room.checked_sub(1);
        match left {
            Some(left) => self.room = left,
            None => self.left_out += 1,
        }
        left.is_some()
    }

    fn push(&mut self, logged: Logged) {
        let left_out = std::mem::take(&mut self.left_out);
        self.logged.push(Logged { left_out, ..logged });
    }
}

fn noted(asker: &Asker<'_>, outcome: Outcome, ede: Option<u16>, reply: &[u8]) -> Logged {
    let name = Name::read(asker.question.name, 0).ok();
    let outcome = match outcome {
        Outcome::Hit if is_negative(reply) => Outcome::Negative,
        outcome => outcome,
    };
    Logged {
        question: name.map(|name| (name, asker.question.qtype)),
        transport: asker.transport,
        outcome,
        rcode: flags(reply).rcode(),
        ede,
        nameserver: None,
        waited: None,
        left_out: 0,
    }
}

/// Whether a reply denies the name or the type. One that is cut may only have lost its records.
fn is_negative(reply: &[u8]) -> bool {
    let flags = flags(reply);
    let has_records = reply.get(6..8) != Some(&[0, 0]);
    flags.rcode() == rcode::NXDOMAIN || !has_records && !flags.has(Flags::TC)
}

fn flags(reply: &[u8]) -> Flags {
    let header = reply.get(..HEADER).and_then(|header| header.get(2..4));
    let bytes = header.and_then(|flags| <[u8; 2]>::try_from(flags).ok());
    Flags(bytes.map_or(0, u16::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut log = QueryLog::default();
        assert!(log.notes().is_none());
        log.start(start);
        let mut noted = 0;
        // 10,000 a second for 5 s.
        for query in 0..50_000 {
            let now = start + Duration::from_micros(100 * query);
            let notes = log.notes().unwrap();
            notes.malformed(now, Transport::Udp, rcode::FORMERR);
            noted += log.take().len();
        }
        assert!((5_900..=6_000).contains(&noted), "{noted}");
        let notes = log.notes().unwrap();
        notes.malformed(
            start + Duration::from_secs(6),
            Transport::Udp,
            rcode::FORMERR,
        );
        let last = log.take().pop().unwrap();
        assert!(last.left_out > 0 && last.left_out < 44_100, "{last:?}");
        let notes = log.notes().unwrap();
        notes.malformed(
            start + Duration::from_secs(6),
            Transport::Udp,
            rcode::FORMERR,
        );
        assert_eq!(log.take().pop().unwrap().left_out, 0);
    }
}
