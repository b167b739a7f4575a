use std::time::{Duration, Instant};

use histogram::Histogram;

use crate::{Millis, SECOND};

/// What a shard has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that were queries.
    pub queries: u64,
    /// Packets dropped: too short, or responses.
    pub dropped: u64,
    /// Answered by policy, without cache or upstream.
    pub local: u64,
    /// Answered from the cache while fresh.
    pub hits: u64,
    /// Stale answers given.
    pub stale: u64,
    /// Failures given from the cache.
    pub cached_failures: u64,
    /// Lookups begun because the cache had no fresh answer.
    pub misses: u64,
    /// Queries that joined a lookup under way.
    pub coalesced: u64,
    /// Lookups begun because a name that is asked for again was about to expire.
    pub prefetches: u64,
    /// Queries handed to a nameserver, retries included.
    pub asked: u64,
    /// Packets counted against the upstream quota, those that the link lost included.
    pub packets: u64,
    /// Of `asked`, those that waited for the quota before.
    pub delayed: u64,
    /// Lookups that wait for the quota now.
    pub queued: u64,
    /// Answers from nameservers that were accepted.
    pub answers: u64,
    /// Attempts that failed: no answer, an error, an answer that does not fit, or the link's.
    pub failed_attempts: u64,
    /// Of `failed_attempts`, answers that lead out of a pin.
    pub blocked: u64,
    /// Replies with SERVFAIL, cached ones included.
    pub servfail: u64,
    /// Queries turned away because too many lookups or waiters were in flight.
    pub overload: u64,
    /// Queries turned away because they did not fit into the quota, here or at the relay.
    pub over_quota: u64,
    /// Entries in the cache.
    pub cache_entries: u64,
    /// Bytes in the cache.
    pub cache_bytes: u64,
}

/// How long it took since the shard was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// From an [`Ask`](crate::Ask) to the answer that was accepted.
    pub upstream: Histogram,
    /// From a client's query to the reply, for clients that waited.
    pub lookups: Histogram,
}

/// Durations, and the time that it is: the shard's own counts milliseconds only. Hits leave it alone.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    pub(crate) now: Instant,
    pub(crate) durations: Durations,
}

impl Stopwatch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            now,
            durations: Durations::default(),
        }
    }

    /// An answer to what was sent at this time is accepted.
    pub(crate) fn answered(&mut self, sent: Instant) {
        let took = self.now.saturating_duration_since(sent);
        self.durations.upstream.record(took);
    }

    /// A client that has waited since then gets its reply; for how long it has.
    pub(crate) fn replied(&mut self, since: Instant) -> Duration {
        let took = self.now.saturating_duration_since(since);
        self.durations.lookups.record(took);
        took
    }
}

/// Packets of the last whole second, seconds being counted from the shard's start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    second: u64,
    this: u64,
    last: u64,
}

impl Rate {
    pub(crate) fn add(&mut self, now: Millis, packets: u32) {
        self.last = self.at(now);
        let second = now / SECOND;
        if self.second != second {
            self.second = second;
            self.this = 0;
        }
        self.this += u64::from(packets);
    }

    pub(crate) fn at(&self, now: Millis) -> u64 {
        match (now / SECOND).saturating_sub(self.second) {
            0 => self.last,
            1 => self.this,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_second_before() {
        let mut rate = Rate::default();
        for now in [0, 10, 999, 1000, 1999] {
            rate.add(now, 2);
        }
        assert_eq!(
            [1999, 2000, 2999, 3000].map(|now| rate.at(now)),
            [6, 4, 4, 0]
        );
        rate.add(9000, 1);
        assert_eq!([9000, 10_000, 11_000].map(|now| rate.at(now)), [0, 1, 0]);
    }
}
