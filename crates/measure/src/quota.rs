//! Packets that may go where AmazonDNS may be.
//!
//! AmazonDNS drops what is above 1024 packets a second, of everything that the parent instance sends to
//! link-local services, so what a measurement sends is missing elsewhere. A token bucket whose rate and
//! burst together are the limit: no second sees more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The share of a second's packets that may go at once; the others are spread over the second.
const BURST: f64 = 0.1;

/// What packets for one lookup cost at most: A and AAAA. A bucket holds at least these.
const LARGEST: f64 = 2.0;

/// A limit that all its users share.
#[derive(Debug)]
pub(crate) struct Quota {
    rate: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    since: Instant,
}

impl Quota {
    /// At most so many packets in any second, and at least 3.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let limit = f64::from(per_second).max(LARGEST + 1.0);
        let burst = (limit * BURST).max(LARGEST);
        Self {
            rate: limit - burst,
            burst,
            state: Mutex::new(State {
                tokens: burst,
                since: now,
            }),
        }
    }

    /// Lookups of this many packets that are possible a second, for long.
    pub(crate) fn lookups_per_second(&self, packets: u32) -> f64 {
        self.rate / f64::from(packets)
    }

    /// Takes the packets of one lookup, or says how long to wait before asking again.
    pub(crate) fn take(&self, packets: u32, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new = now.saturating_duration_since(state.since).as_secs_f64() * self.rate;
        state.tokens = (state.tokens + new).min(self.burst);
        state.since = state.since.max(now);
        let cost = f64::from(packets).min(self.burst);
        if state.tokens >= cost {
            state.tokens -= cost;
            return Ok(());
        }
        Err(Duration::from_secs_f64((cost - state.tokens) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times at which packets went, in milliseconds, of a user that never rests for ten seconds.
    fn sent(per_second: u32, packets: u32) -> Vec<u64> {
        let start = Instant::now();
        let quota = Quota::new(per_second, start);
        let mut sent = Vec::new();
        for at in 0..10_000 {
            let now = start + Duration::from_millis(at);
            while quota.take(packets, now).is_ok() {
                sent.extend((0..packets).map(|_| at));
            }
        }
        sent
    }

    #[test]
    fn no_second_sees_more() {
        for (per_second, packets) in [(100, 1), (100, 2), (10, 1), (1, 2), (900, 1)] {
            let sent = sent(per_second, packets);
            let limit = usize::try_from(per_second.max(3)).unwrap();
            for (index, &at) in sent.iter().enumerate() {
                let within = sent[index..].iter().take_while(|&&then| then < at + 1000);
                assert!(within.count() <= limit, "{per_second} at {at} ms");
            }
        }
        assert!(sent(100, 1).len() >= 900, "and nine tenths are used");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let now = Instant::now();
        let quota = Quota::new(100, now);
        while quota.take(1, now).is_ok() {}
        let wait = quota.take(1, now).unwrap_err();
        assert!(quota.take(1, now + wait / 2).is_err());
        assert_eq!(
            quota.take(1, now + wait + Duration::from_nanos(100)),
            Ok(())
        );
    }

    #[test]
    fn a_user_that_rested_gets_no_more_than_a_burst() {
        let now = Instant::now();
        let quota = Quota::new(100, now);
        let later = now + Duration::from_secs(3600);
        let taken = (0..).take_while(|_| quota.take(1, later).is_ok()).count();
        assert_eq!(taken, 10);
    }
}
