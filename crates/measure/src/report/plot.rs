//! Scales and bins that the terminal's histogram and the pictures share.
//!
//! Latencies lie decades apart, so every axis of theirs is logarithmic, with ticks and bins at
//! preferred numbers (ISO 3), which people can read off.

use std::time::Duration;

use super::{Measured, count};

/// Steps of a decade, from fine to coarse.
const SERIES: [&[f64]; 5] = [
    &[
        1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8, 3.15, 3.55, 4.0, 4.5, 5.0, 5.6, 6.3,
        7.1, 8.0, 9.0,
    ],
    &[1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0],
    &[1.0, 1.6, 2.5, 4.0, 6.3],
    &[1.0, 2.0, 5.0],
    &[1.0],
];

/// How many of each target's lookups lie between two edges.
#[derive(Debug, PartialEq)]
pub(super) struct Bins {
    /// The lower edge of each bin.
    pub(super) edges: Vec<Duration>,
    /// Whether the last bin has no upper edge: the slowest of a hundred lie far apart.
    pub(super) is_open: bool,
    /// For each target the share of its lookups in each bin.
    pub(super) shares: Vec<Vec<f64>>,
}

/// At most `most` bins over all that was seen, to the highest p99 in steps of one size; `None` if
/// nothing was seen.
pub(super) fn bins(targets: &[Measured], most: usize) -> Option<Bins> {
    let seen = targets.iter().filter(|target| target.latencies.count() > 0);
    let low = seen.clone().map(|target| target.latencies.min()).min()?;
    let p99 = seen.clone().map(|target| target.latencies.quantile(0.99));
    let (edges, end) = edges(low, p99.max()?, most);
    let is_open = seen.map(|target| target.latencies.max()).max()? >= end;
    let shares = targets.iter().map(|target| {
        let mut shares = vec![0.0; edges.len()];
        for (value, times) in target.latencies.values() {
            let above = edges.partition_point(|edge| *edge <= value);
            if let Some(share) = shares.get_mut(above.saturating_sub(1)) {
                *share += count(times) / count(target.latencies.count());
            }
        }
        shares
    });
    let shares = shares.collect();
    Some(Bins {
        edges,
        is_open,
        shares,
    })
}

/// The lower edges of at most `most` bins that hold `low` to `high`, and the upper edge of the last.
fn edges(low: Duration, high: Duration, most: usize) -> (Vec<Duration>, Duration) {
    let mut edges = Vec::new();
    for series in SERIES {
        edges = steps(series, low, high);
        if edges.len() <= most + 1 {
            break;
        }
    }
    let end = edges.pop().unwrap_or(high);
    (edges, end)
}

/// Preferred numbers from the last that is not above `low` to the first above `high`.
pub(super) fn steps(series: &[f64], low: Duration, high: Duration) -> Vec<Duration> {
    let mut steps: Vec<Duration> = Vec::new();
    let mut decade = 1.0;
    loop {
        for step in series {
            let value = Duration::from_secs_f64((decade * step).round() / 1e9);
            if value <= low {
                steps.clear();
            }
            steps.push(value);
            if value > high {
                return steps;
            }
        }
        decade *= 10.0;
    }
}

/// Where to draw ticks: few enough to be read.
pub(super) fn ticks(low: Duration, high: Duration) -> Vec<Duration> {
    const MOST: usize = 9;
    let mut ticks = Vec::new();
    for series in SERIES.get(2..).unwrap_or_default() {
        ticks = steps(series, low, high);
        if ticks.len() <= MOST {
            break;
        }
    }
    ticks
}

/// Between two ticks of a linear axis that ends at `end`, so that there are few of them.
pub(super) fn step(end: Duration) -> Duration {
    const MOST: u32 = 8;
    let least = (end / MOST).max(Duration::from_nanos(1));
    let steps = steps(&[1.0, 2.0, 5.0], least, least);
    steps.last().copied().unwrap_or(least)
}

/// The decimal logarithm of nanoseconds; of none, that of one.
pub(super) fn log(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).max(1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::super::tests::measured;
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn edges_are_preferred_numbers_around_all_values() {
        let (near, end) = edges(US * 21, US * 30, 20);
        assert_eq!(near.first(), Some(&(US * 20)));
        assert_eq!(
            (near.last(), end),
            (Some(&(US * 28)), Duration::from_nanos(31_500))
        );
        let (far, _) = edges(US * 21, US * 3_000_000, 20);
        assert!(far.len() <= 20 && far.len() > 10, "{far:?}");
        assert_eq!(far.first(), Some(&(US * 20)));
        assert_eq!(far.last(), Some(&(US * 2_000_000)));
        assert_eq!(edges(US, US, 20).0, [US]);
    }

    #[test]
    fn ticks_of_time_are_few_and_round() {
        for (end, step_ms) in [
            (6030, 1000),
            (500, 100),
            (60_000, 10_000),
            (3_600_000, 500_000),
        ] {
            let step = step(Duration::from_millis(end));
            assert_eq!(step, Duration::from_millis(step_ms), "{end}");
        }
    }

    #[test]
    fn every_lookup_is_in_one_bin() {
        let targets = [
            measured("a", &[20, 21, 22, 500]),
            measured("b", &[100_000; 10]),
            measured("c", &[]),
        ];
        let bins = bins(&targets, 20).unwrap();
        assert!(!bins.is_open);
        let sum = |index: usize| bins.shares[index].iter().sum::<f64>();
        assert!((sum(0) - 1.0).abs() < 1e-9 && (sum(1) - 1.0).abs() < 1e-9);
        assert!(sum(2).abs() < 1e-9);
        assert_eq!(super::bins(&targets[2..], 20), None);

        let mut slow = vec![20; 999];
        slow.push(5_000_000);
        let open = super::bins(&[measured("slow", &slow)], 20).unwrap();
        assert!(open.is_open && open.edges == [US * 20], "{open:?}");
    }
}
