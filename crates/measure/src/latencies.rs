//! Latencies to the last percentile, in an HDR histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart. A lookup gives up after seconds; one that had to wait behind others
/// in an open loop may take longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Digits that a value keeps: a thousandth.
const DIGITS: u8 = 3;

/// How long lookups took. Values keep three digits, from a nanosecond to a minute; a longer one counts
/// as a minute.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    ///
    /// # Panics
    ///
    /// Never: the bounds are ones that the histogram takes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_digits(DIGITS)
    }

    pub(crate) fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_max(nanos(LONGEST), digits);
        Self(histogram.expect("bounds within what HDR takes"))
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(nanos(latency));
    }

    /// Adds all of another's.
    ///
    /// # Panics
    ///
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms of the same bounds");
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which this share of the lookups ended, such as 0.99.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        // The upper end of its bucket may lie beyond what was seen.
        Duration::from_nanos(self.0.value_at_quantile(share).min(self.0.max()))
    }

    /// As [`Self::quantile`], if there are so many that at least one lies above it: with a hundred lookups
    /// nobody knows their p99.99.
    #[must_use]
    pub fn known_quantile(&self, share: f64) -> Option<Duration> {
        // Some slack for 1 - 0.9 being less than 0.1.
        let above = (1.0 - share) * crate::report::count(self.count());
        (above > 1.0 - 1e-6).then(|| self.quantile(share))
    }

    /// The shortest; zero if there are none.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// The longest, to three digits.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// Each value that was seen, and how often.
    pub(crate) fn values(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.0.iter_recorded().map(|step| {
            let value = Duration::from_nanos(step.value_iterated_to());
            (value, step.count_at_value())
        })
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let near = |share, micros: u64| {
            let got = latencies.quantile(share).as_nanos();
            let want = u128::from(micros) * 1000;
            assert!(got.abs_diff(want) <= want / 500, "{share}: {got}");
        };
        near(0.5, 500);
        near(0.99, 990);
        near(0.999, 999);
        assert!(latencies.known_quantile(0.999).is_some());
        assert_eq!(
            latencies.known_quantile(0.9999),
            None,
            "of 1000 nobody knows it"
        );
        assert_eq!(latencies.count(), 1000);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(86_400));
        let max = latencies.max();
        assert!(max >= LONGEST && max < LONGEST * 2, "{max:?}");
    }
}
