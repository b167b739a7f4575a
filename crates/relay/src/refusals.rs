//! One line a minute for a destination that the policy refuses, with a count of those left out.
//!
//! A program that retries for ever must not hide the other destinations that it is refused, and one
//! that walks through a network must not fill the parent's disk: beyond [`DESTINATIONS`] the rest
//! share one line. Time is passed in.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use link::Peer;
use tokio::time::Instant;

/// How often the same refusal is written.
const INTERVAL: Duration = Duration::from_secs(60);

/// Destinations of one enclave with a line of their own within [`INTERVAL`]: more than a program's
/// configuration names, and 6 KiB of log a minute.
const DESTINATIONS: usize = 32;

/// Enclaves remembered: a parent has four, a relay on TCP as many peers as connect.
const PEERS: usize = 256;

/// The refusals of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    peers: HashMap<Peer, HashMap<Destination, Line>>,
}

/// What a line speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    One(SocketAddr),
    /// Whatever came after [`DESTINATIONS`] others.
    Others,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl Refusals {
    /// What may be written now of a refusal: a line of its own, the first of the others, or nothing.
    pub(crate) fn admit(
        &mut self,
        peer: Peer,
        to: SocketAddr,
        now: Instant,
    ) -> Option<Destination> {
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            return None;
        }
        let lines = self.peers.entry(peer).or_default();
        let own = Destination::One(to);
        let destination = if lines.contains_key(&own) || lines.len() < DESTINATIONS {
            own
        } else {
            Destination::Others
        };
        if let Some(line) = lines.get_mut(&destination) {
            line.left_out += 1;
            return None;
        }
        let line = Line {
            written: now,
            left_out: 0,
        };
        lines.insert(destination, line);
        Some(destination)
    }

    /// Lines older than [`INTERVAL`] are forgotten; those that hid others give their count, and
    /// stay shut for another interval, as this count is a line too.
    pub(crate) fn flush(&mut self, now: Instant) -> Vec<(Peer, Destination, u64)> {
        let mut counts = Vec::new();
        self.peers.retain(|peer, lines| {
            lines.retain(|destination, line| {
                if now.saturating_duration_since(line.written) < INTERVAL {
                    return true;
                }
                if line.left_out == 0 {
                    return false;
                }
                counts.push((*peer, *destination, line.left_out));
                *line = Line {
                    written: now,
                    left_out: 0,
                };
                true
            });
            !lines.is_empty()
        });
        counts
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(to) => write!(f, "{to}"),
            Self::Others => write!(f, "more than {DESTINATIONS} destinations"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCLAVE: Peer = Peer::Cid(16);

    fn to(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 443))
    }

    #[test]
    fn a_destination_has_one_line_a_minute_with_a_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut refusals = Refusals::default();
        let line = |host| Some(Destination::One(to(host)));
        assert_eq!(refusals.admit(ENCLAVE, to(1), at(0)), line(1));
        for second in 1..60 {
            assert_eq!(refusals.admit(ENCLAVE, to(1), at(second)), None);
        }
        assert_eq!(refusals.admit(ENCLAVE, to(2), at(30)), line(2), "another");
        assert_eq!(refusals.admit(Peer::Cid(17), to(1), at(30)), line(1));
        assert_eq!(refusals.flush(at(59)), []);
        let one = Destination::One(to(1));
        assert_eq!(refusals.flush(at(60)), [(ENCLAVE, one, 59)]);
        assert_eq!(
            refusals.admit(ENCLAVE, to(1), at(61)),
            None,
            "the count was this minute's line"
        );
        assert_eq!(refusals.flush(at(120)), [(ENCLAVE, one, 1)]);
        assert_eq!(refusals.flush(at(180)), []);
        assert!(refusals.peers.is_empty());
        assert_eq!(refusals.admit(ENCLAVE, to(1), at(181)), line(1));
    }

    #[test]
    fn destinations_beyond_the_limit_share_a_line() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let lines: Vec<_> = (0..=255)
            .filter_map(|host| refusals.admit(ENCLAVE, to(host), now))
            .collect();
        assert_eq!(lines.len(), DESTINATIONS + 1);
        assert_eq!(lines.last(), Some(&Destination::Others));
        let counts = refusals.flush(now + INTERVAL);
        assert_eq!(counts, [(ENCLAVE, Destination::Others, 223)]);
    }

    #[test]
    fn what_is_remembered_of_peers_is_bounded() {
        let mut refusals = Refusals::default();
        for cid in 0..20_000 {
            refusals.admit(Peer::Cid(cid), to(1), Instant::now());
        }
        assert_eq!(refusals.peers.len(), PEERS);
    }
}
