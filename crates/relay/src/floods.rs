//! One line in a while for what a peer makes the relay say again and again, with a count of those left
//! out: a minute for a failure, a second for news.
//!
//! A guest can cause complaints as fast as it can connect, and the parent's disk is not its own to
//! fill. Time is passed in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::time::Duration;

use link::Peer;
use tokio::time::Instant;

/// How often the same failure of the same peer is written.
pub(crate) const FAILURE: Duration = Duration::from_secs(60);

/// How often news of one kind are, such as connections: each is another one.
pub(crate) const NEWS: Duration = Duration::from_secs(1);

/// Lines remembered: a line or two of each of some thousand peers (a parent has four enclaves, a
/// relay on TCP as many peers as connect). When full, no new line is written until the next flush.
const REMEMBERED: usize = 8192;

/// The lines of the last interval.
#[derive(Debug)]
pub(crate) struct Floods {
    interval: Duration,
    lines: HashMap<(Option<Peer>, &'static str), Line>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
    /// What the last of those was about: it may be another cause than the line's.
    last: String,
}

/// Lines of one kind that a peer has had left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) peer: Option<Peer>,
    pub(crate) kind: &'static str,
    pub(crate) count: u64,
    /// What the last of them was about.
    pub(crate) last: String,
}

impl Floods {
    /// Of lines that are written once in `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            lines: HashMap::new(),
        }
    }

    /// Whether a line of this kind may be written for this peer now.
    pub(crate) fn admit(
        &mut self,
        peer: Option<Peer>,
        kind: &'static str,
        detail: &dyn Display,
        now: Instant,
    ) -> bool {
        let full = self.lines.len() >= REMEMBERED;
        match self.lines.entry((peer, kind)) {
            Entry::Occupied(mut line) => {
                // Until a flush has told of it, the line stays shut.
                let line = line.get_mut();
                line.left_out += 1;
                line.last = detail.to_string();
                false
            }
            Entry::Vacant(_) if full => false,
            Entry::Vacant(line) => {
                line.insert(Line {
                    written: now,
                    left_out: 0,
                    last: String::new(),
                });
                true
            }
        }
    }

    /// Lines older than the interval are forgotten; those that hid others give their count, and
    /// stay shut for another interval, as this count is a line too.
    pub(crate) fn flush(&mut self, now: Instant) -> Vec<More> {
        let mut counts = Vec::new();
        self.lines.retain(|&(peer, kind), line| {
            if now.saturating_duration_since(line.written) < self.interval {
                return true;
            }
            if line.left_out == 0 {
                return false;
            }
            counts.push(More {
                peer,
                kind,
                count: line.left_out,
                last: std::mem::take(&mut line.last),
            });
            line.written = now;
            line.left_out = 0;
            true
        });
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn more(peer: Option<Peer>, count: u64) -> More {
        More {
            peer,
            kind: "malformed",
            count,
            last: "why".to_owned(),
        }
    }

    #[test]
    fn the_same_line_of_a_peer_comes_once_a_second_with_a_count() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut floods = Floods::new(NEWS);
        let (noisy, other) = (Some(Peer::Cid(16)), Some(Peer::Cid(17)));
        assert!(floods.admit(noisy, "malformed", &"why", at(0)));
        for millisecond in 1..500 {
            assert!(!floods.admit(noisy, "malformed", &"why", at(millisecond)));
        }
        assert!(
            floods.admit(noisy, "stalled", &"why", at(500)),
            "another line"
        );
        assert!(
            floods.admit(other, "malformed", &"why", at(500)),
            "another peer"
        );
        assert_eq!(floods.flush(at(999)), []);
        assert_eq!(floods.flush(at(1000)), [more(noisy, 499)]);
        assert!(
            !floods.admit(noisy, "malformed", &"why", at(1001)),
            "the count was this second's line"
        );
        assert_eq!(floods.flush(at(2000)), [more(noisy, 1)]);
        assert_eq!(floods.flush(at(3000)), []);
        assert!(floods.lines.is_empty());
        assert!(floods.admit(noisy, "malformed", &"why", at(3001)));
    }

    #[test]
    fn a_failure_that_repeats_is_a_line_a_minute() {
        let start = Instant::now();
        let mut floods = Floods::new(FAILURE);
        let mut written = 0;
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            written += usize::from(floods.admit(None, "cannot accept", &"why", now));
            written += floods.flush(now).len();
        }
        assert_eq!(written, 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut floods = Floods::new(NEWS);
        for cid in 0..20_000 {
            floods.admit(Some(Peer::Cid(cid)), "malformed", &"why", now);
        }
        assert_eq!(floods.lines.len(), REMEMBERED);
    }
}
