use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Highest latency told apart, in nanoseconds: 10 s.
const MOST: u64 = 10_000_000_000;

/// What a run of load came to.
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    /// Answers that were not right.
    pub(crate) wrong: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from the query to its answer.
    latency: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            answered: 0,
            wrong: 0,
            lost: 0,
            elapsed: Duration::ZERO,
            // Three digits from 1 ns to MOST: bounds that the histogram takes.
            latency: Histogram::new_with_max(MOST, 3).expect("bounds within what HDR takes"),
        }
    }

    pub(crate) fn record(&mut self, latency: Duration, is_right: bool) {
        self.answered += 1;
        self.wrong += u64::from(!is_right);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(MOST);
        self.latency.saturating_record(nanos);
    }

    /// Counts what another run at the same time came to.
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.lost += other.lost;
        // Both have the same bounds.
        self.latency
            .add(&other.latency)
            .expect("histograms of the same bounds");
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.answered) / self.elapsed.as_secs_f64()
    }

    /// Microseconds in which this share of the answers came, such as 0.99.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        count(self.latency.value_at_quantile(quantile)) / 1e3
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "answers_per_second": self.rate(),
            "answered": self.answered,
            "lost": self.lost,
            "wrong": self.wrong,
            "p50_us": self.micros(0.5),
            "p99_us": self.micros(0.99),
            "p99.9_us": self.micros(0.999),
        })
    }
}

/// A count as a number to calculate with; beyond 2^53 the last digits are lost, which no ratio sees.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}
