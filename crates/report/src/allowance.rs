//! So many of something in a time, and a count of what was left out. Time is passed in.

use std::time::{Duration, Instant};

/// What may still be sent, or taken.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    most: u32,
    every: Duration,
    left: u32,
    /// When the last came back.
    since: Instant,
}

impl Allowance {
    /// `most` at once, and one more after each `every`.
    #[must_use]
    pub const fn new(most: u32, every: Duration, now: Instant) -> Self {
        Self {
            most,
            every,
            left: most,
            since: now,
        }
    }

    /// Takes one, if one is left.
    pub fn take(&mut self, now: Instant) -> bool {
        self.come_back(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Whether nothing has been taken that has not come back: it need not be remembered.
    pub fn is_whole(&mut self, now: Instant) -> bool {
        self.come_back(now);
        self.left == self.most
    }

    fn come_back(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let back = passed.as_nanos() / self.every.as_nanos().max(1);
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= self.most - self.left {
            (self.left, self.since) = (self.most, now);
        } else {
            self.left += back;
            self.since += self.every * back;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_after_each_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut allowance = Allowance::new(10, Duration::from_secs(6), start);
        let taken = |allowance: &mut Allowance, now| {
            std::iter::repeat_with(|| allowance.take(now))
                .take(100)
                .filter(|taken| *taken)
                .count()
        };
        assert_eq!(taken(&mut allowance, at(0)), 10);
        assert_eq!(taken(&mut allowance, at(5)), 0);
        assert_eq!(taken(&mut allowance, at(6)), 1);
        assert_eq!(taken(&mut allowance, at(17)), 1);
        assert_eq!(taken(&mut allowance, at(18)), 1);
        assert!(!allowance.is_whole(at(70)));
        assert!(allowance.is_whole(at(78)));
        assert_eq!(taken(&mut allowance, at(100_000)), 10);
    }
}
