//! How long things took, in buckets that every part agrees on: the resolver and the ways out count,
//! `report` carries it, `metrics` shows it.
//!
//! The buckets are Prometheus's kind: each has an upper bound, and the last has none. A histogram
//! that travels names no bounds, so they never change; other ones would be a field of another name.

#![forbid(unsafe_code)]

mod lenient;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The upper bound of the first bucket in microseconds; each other has twice that of the one before. An
/// answer from the same zone takes some hundred.
const FIRST_US: u64 = 125;

/// Buckets with an upper bound; that of the last is 4.096 s, and a lookup ends within 4 s.
pub const BOUNDED: usize = 16;

/// All buckets, that without a bound included.
const BUCKETS: usize = BOUNDED + 1;

const NANOS_IN_MICRO: u64 = 1000;
const MICROS_IN_SECOND: f64 = 1_000_000.0;

/// How many took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// For each bucket what fell into it and no smaller one.
    #[serde(deserialize_with = "lenient::counts")]
    counts: [u64; BUCKETS],
    /// All durations together, in microseconds.
    sum_us: u64,
}

/// A histogram that several threads count into.
#[derive(Debug, Default)]
pub struct Recorder {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(took)) {
            *count = count.saturating_add(1);
        }
        self.sum_us = self.sum_us.saturating_add(micros(took));
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        sum(&self.counts)
    }

    /// All durations together.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        seconds(self.sum_us)
    }

    /// The buckets that have an upper bound: it in seconds, and how many took no longer.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        (0..BOUNDED).map(|index| {
            let up_to = self.counts.get(..=index).unwrap_or_default();
            (seconds(FIRST_US << index), sum(up_to))
        })
    }
}

impl Recorder {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        if let Some(count) = self.counts.get(bucket(took)) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(micros(took), Relaxed);
    }

    /// What was counted so far. A duration that is counted meanwhile may be in the counts or the sum
    /// alone.
    #[must_use]
    pub fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|index| {
                self.counts
                    .get(index)
                    .map_or(0, |count| count.load(Relaxed))
            }),
            sum_us: self.sum_us.load(Relaxed),
        }
    }
}

/// Where it falls: into the first bucket whose bound it does not exceed.
fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let firsts = nanos.div_ceil(FIRST_US * NANOS_IN_MICRO);
    let doublings = firsts.checked_sub(1).and_then(u64::checked_ilog2);
    let index = doublings.map_or(0, |doublings| doublings + 1);
    usize::try_from(index).map_or(BOUNDED, |index| index.min(BOUNDED))
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn sum(counts: &[u64]) -> u64 {
    // They may come from elsewhere, and be anything.
    counts
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count))
}

// Beyond 2^53 microseconds, 285 years, some digits are lost.
#[allow(clippy::cast_precision_loss)]
fn seconds(micros: u64) -> f64 {
    micros as f64 / MICROS_IN_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket_and_a_nanosecond_more_in_the_next() {
        for index in 0..BOUNDED {
            let bound = Duration::from_micros(FIRST_US << index);
            assert_eq!(bucket(bound), index);
            assert_eq!(bucket(bound + Duration::from_nanos(1)), index + 1);
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BOUNDED);
    }

    #[test]
    fn buckets_are_cumulative_as_prometheus_wants_them() {
        let recorder = Recorder::default();
        for millis in [0, 1, 1, 4000, 60_000] {
            recorder.record(Duration::from_millis(millis));
        }
        let histogram = recorder.snapshot();
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets[0], (0.000_125, 1));
        assert_eq!(buckets[2], (0.0005, 1));
        assert_eq!(buckets[3], (0.001, 3));
        assert_eq!(buckets[14], (2.048, 3));
        assert_eq!(buckets[15], (4.096, 4));
        assert_eq!(histogram.count(), 5, "one took longer than all bounds");
        assert!((histogram.sum_seconds() - 64.002).abs() < 1e-9);
        let mut plain = Histogram::default();
        for millis in [0, 1, 1, 4000, 60_000] {
            plain.record(Duration::from_millis(millis));
        }
        assert_eq!(plain, histogram);
    }
}
