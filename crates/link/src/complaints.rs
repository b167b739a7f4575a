//! One line of log a minute for what goes wrong with one peer for one reason, with a count of those
//! left out: programs retry, and a hostile parent can fail as often as it likes. Time is passed in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How often the same failure is written.
const INTERVAL: Duration = Duration::from_secs(60);

/// Lines remembered, some 64 KiB of them. Beyond it the oldest are forgotten.
const REMEMBERED: usize = 1024;

/// The lines of the last minute.
#[derive(Debug, Default)]
pub struct Complaints {
    lines: HashMap<(SocketAddr, &'static str), Line>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl Complaints {
    /// Whether a line may be written now, and then how many of its like were left out before it.
    pub fn admit(&mut self, peer: SocketAddr, reason: &'static str, now: Instant) -> Option<u64> {
        if let Some(line) = self.lines.get_mut(&(peer, reason)) {
            if now.saturating_duration_since(line.written) < INTERVAL {
                line.left_out += 1;
                return None;
            }
            line.written = now;
            return Some(std::mem::take(&mut line.left_out));
        }
        if self.lines.len() >= REMEMBERED {
            self.forget_half();
        }
        let line = Line {
            written: now,
            left_out: 0,
        };
        self.lines.insert((peer, reason), line);
        Some(0)
    }

    /// Half of them at a time, so that a flood of peers costs little for each.
    fn forget_half(&mut self) {
        let mut times: Vec<Instant> = self.lines.values().map(|line| line.written).collect();
        times.sort_unstable();
        let Some(middle) = times.get(times.len() / 2).copied() else {
            return;
        };
        self.lines.retain(|_, line| line.written > middle);
    }
}

/// The same for a line that has no peer.
#[derive(Debug)]
pub struct Seldom {
    interval: Duration,
    written: Option<Instant>,
    left_out: u64,
}

impl Default for Seldom {
    /// Of a failure.
    fn default() -> Self {
        Self::new(INTERVAL)
    }
}

impl Seldom {
    /// Of a line that is written once in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            written: None,
            left_out: 0,
        }
    }

    /// Whether the line may be written now, and then how many were left out before it.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        let since = self.written.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < self.interval) {
            self.left_out += 1;
            return None;
        }
        self.written = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_a_line_a_minute() {
        let start = Instant::now();
        let mut line = Seldom::default();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let written: Vec<_> = (0..1300)
            .filter_map(|tenth| line.admit(at(100 * tenth)))
            .collect();
        assert_eq!(written, [0, 599, 599]);
    }

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, 17], port))
    }

    #[test]
    fn the_same_line_comes_once_a_minute_with_a_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut complaints = Complaints::default();
        assert_eq!(complaints.admit(to(1), "refused", at(0)), Some(0));
        assert_eq!(complaints.admit(to(1), "refused", at(1)), None);
        assert_eq!(complaints.admit(to(1), "refused", at(59)), None);
        assert_eq!(complaints.admit(to(1), "denied", at(59)), Some(0));
        assert_eq!(complaints.admit(to(2), "refused", at(59)), Some(0));
        assert_eq!(complaints.admit(to(1), "refused", at(60)), Some(2));
        assert_eq!(complaints.admit(to(1), "refused", at(61)), None);
        assert_eq!(complaints.admit(to(1), "refused", at(120)), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        for port in 0..10_000 {
            let now = start + Duration::from_micros(port.into());
            assert_eq!(complaints.admit(to(port), "refused", now), Some(0));
            assert!(complaints.lines.len() <= REMEMBERED);
        }
    }
}
