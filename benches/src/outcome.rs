use std::time::Duration;

use measure::Latencies;
use serde_json::{Value, json};

/// What a run of load came to.
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    /// Answers that were not right.
    pub(crate) wrong: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
    pub(crate) elapsed: Duration,
    /// From the query to its answer.
    latencies: Latencies,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            answered: 0,
            wrong: 0,
            lost: 0,
            elapsed: Duration::ZERO,
            latencies: Latencies::new(),
        }
    }

    pub(crate) fn record(&mut self, latency: Duration, is_right: bool) {
        self.answered += 1;
        self.wrong += u64::from(!is_right);
        self.latencies.record(latency);
    }

    /// Counts what another run at the same time came to.
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.latencies.add(&other.latencies);
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.answered) / self.elapsed.as_secs_f64()
    }

    /// Microseconds in which this share of the answers came, such as 0.99.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        self.latencies.quantile(quantile).as_secs_f64() * 1e6
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
