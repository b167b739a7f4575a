//! When the lookups of an open loop are to begin.

use std::time::{Duration, Instant};

/// One target's lookups at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    first: Instant,
    per_second: u32,
    /// How many there are: one at least.
    pub(crate) count: u64,
}

impl Schedule {
    /// `turn` of `turns` targets that share the time from `start`: their lookups do not coincide.
    pub(crate) fn new(
        start: Instant,
        per_second: u32,
        run: Duration,
        turn: usize,
        turns: usize,
    ) -> Self {
        let share = |part: usize| u32::try_from(part.max(1)).unwrap_or(u32::MAX);
        let interval = Duration::from_secs(1) / per_second.max(1);
        let offset = match turn {
            0 => Duration::ZERO,
            _ => interval / share(turns) * share(turn),
        };
        let count = u128::from(per_second) * run.as_nanos() / Duration::from_secs(1).as_nanos();
        Self {
            first: start + offset,
            per_second: per_second.max(1),
            count: u64::try_from(count).unwrap_or(u64::MAX).max(1),
        }
    }

    /// When lookup `number` is to begin; `None` behind the last.
    pub(crate) fn at(&self, number: u64) -> Option<Instant> {
        if number >= self.count {
            return None;
        }
        // From the first on, so that rounding does not add up.
        let seconds = number / u64::from(self.per_second);
        let rest = number % u64::from(self.per_second);
        let nanos = rest * 1_000_000_000 / u64::from(self.per_second);
        Some(self.first + Duration::from_secs(seconds) + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_spread_evenly_and_those_of_others_lie_between() {
        let start = Instant::now();
        let run = Duration::from_secs(2);
        let [first, second] = [0, 1].map(|turn| Schedule::new(start, 3, run, turn, 2));
        let at =
            |schedule: &Schedule, number| schedule.at(number).map(|at| (at - start).as_millis());
        let times: Vec<_> = (0..7).map(|number| at(&first, number)).collect();
        assert_eq!(
            times,
            [
                Some(0),
                Some(333),
                Some(666),
                Some(1000),
                Some(1333),
                Some(1666),
                None
            ]
        );
        assert_eq!(at(&second, 0), Some(166));
    }

    #[test]
    fn the_count_is_rate_times_time() {
        let count = |rate, millis| {
            Schedule::new(Instant::now(), rate, Duration::from_millis(millis), 0, 1).count
        };
        assert_eq!(count(100, 2500), 250);
        assert_eq!(count(100_000, 3_600_000), 360_000_000);
        assert_eq!(count(1, 500), 1);
    }
}
