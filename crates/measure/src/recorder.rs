//! What the lookups of one target came to.

use std::time::Duration;

use crate::ask::Answer;
use crate::{Failure, Failures, Latencies};

/// Points of a target's latency over time: what a plot of some hundred pixels can show.
const POINTS: u32 = 100;

/// Digits of the latencies of one point, which is drawn.
const POINT_DIGITS: u8 = 2;

/// A target's lookups, as they end.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) latencies: Latencies,
    pub(crate) failures: Failures,
    /// Answers without records.
    pub(crate) empty: u64,
    /// Whether a lookup had to wait for the quota.
    pub(crate) held_back: bool,
    points: Vec<Point>,
    /// How much time a point stands for.
    width: Duration,
    /// The point that is being filled, counted from the start.
    current: u32,
    window: Latencies,
    failed: u64,
}

/// What a target was like for a hundredth of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The middle of the time that it stands for, from the start.
    pub at: Duration,
    /// Of the lookups that were answered meanwhile; zero if none was.
    pub p50: Duration,
    /// The same.
    pub p99: Duration,
    /// How many were answered.
    pub answered: u64,
    /// How many failed.
    pub failed: u64,
}

impl Recorder {
    pub(crate) fn new(run: Duration) -> Self {
        Self {
            latencies: Latencies::new(),
            failures: Failures::default(),
            empty: 0,
            held_back: false,
            points: Vec::new(),
            width: (run / POINTS).max(Duration::from_millis(1)),
            current: 0,
            window: Latencies::with_digits(POINT_DIGITS),
            failed: 0,
        }
    }

    /// Counts a lookup that ended `at` so long after the start.
    pub(crate) fn record(
        &mut self,
        at: Duration,
        latency: Duration,
        result: Result<Answer, Failure>,
    ) {
        let index = at.as_nanos() / self.width.as_nanos();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        if index > self.current {
            self.end_point();
            self.current = index;
        }
        match result {
            Ok(answer) => {
                self.latencies.record(latency);
                self.window.record(latency);
                self.empty += u64::from(answer.is_empty);
            }
            Err(failure) => {
                self.failures.count(failure);
                self.failed += 1;
            }
        }
    }

    /// Lookups that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.latencies.count() + self.failures.total()
    }

    /// All points; the last is closed.
    pub(crate) fn points(&mut self) -> Vec<Point> {
        self.end_point();
        std::mem::take(&mut self.points)
    }

    fn end_point(&mut self) {
        let answered = self.window.count();
        if answered + self.failed == 0 {
            return;
        }
        self.points.push(Point {
            at: self.width * self.current + self.width / 2,
            p50: self.window.quantile(0.5),
            p99: self.window.quantile(0.99),
            answered,
            failed: std::mem::take(&mut self.failed),
        });
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_time_and_failures_are_in_no_latency() {
        let mut recorder = Recorder::new(Duration::from_secs(10));
        let answer = Answer { is_empty: false };
        let ms = Duration::from_millis;
        recorder.record(ms(10), ms(1), Ok(answer));
        recorder.record(ms(20), ms(4000), Err(Failure::Timeout));
        recorder.record(ms(950), ms(2), Ok(answer));
        // A worker that was late by a little.
        recorder.record(ms(15), ms(2), Ok(answer));
        assert_eq!(recorder.ended(), 4);
        assert!(recorder.latencies.max() < ms(3));
        let points = recorder.points();
        let seen: Vec<_> = points
            .iter()
            .map(|point| (point.at, point.answered, point.failed))
            .collect();
        assert_eq!(seen, [(ms(50), 1, 1), (ms(950), 2, 0)]);
    }
}
