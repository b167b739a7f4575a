//! One line a minute for each reason that lookups fail, with a count of those left out. Time is passed
//! in.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often the same line is written.
const INTERVAL: Duration = Duration::from_secs(60);

/// Reasons remembered. A reason has a nameserver and an error in it, so there are a few for each of
/// them; beyond this no new one is written until old ones are a minute old.
const REMEMBERED: usize = 256;

/// The lines of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    lines: HashMap<String, Line>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl Complaints {
    /// Whether a line may be written now, and then how many of its like were left out before it.
    pub(crate) fn admit(&mut self, reason: &str, now: Instant) -> Option<u64> {
        let is_old = |line: &Line| now.saturating_duration_since(line.written) >= INTERVAL;
        if let Some(line) = self.lines.get_mut(reason) {
            if !is_old(line) {
                line.left_out += 1;
                return None;
            }
            line.written = now;
            return Some(std::mem::take(&mut line.left_out));
        }
        if self.lines.len() >= REMEMBERED {
            self.lines.retain(|_, line| !is_old(line));
        }
        if self.lines.len() >= REMEMBERED {
            return None;
        }
        let line = Line {
            written: now,
            left_out: 0,
        };
        self.lines.insert(reason.to_owned(), line);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_a_minute_and_counted_meanwhile() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        let mut at = |secs, reason| complaints.admit(reason, start + Duration::from_secs(secs));
        assert_eq!(at(0, "a"), Some(0));
        assert_eq!(at(1, "a"), None);
        assert_eq!(at(1, "b"), Some(0), "another reason");
        assert_eq!(at(59, "a"), None);
        assert_eq!(at(60, "a"), Some(2));
        assert_eq!(at(120, "a"), Some(0));
    }

    #[test]
    fn a_flood_of_reasons_is_bounded_and_passes() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        for reason in 0..10 * REMEMBERED {
            let told = complaints.admit(&reason.to_string(), start);
            assert_eq!(told.is_some(), reason < REMEMBERED);
        }
        assert_eq!(complaints.lines.len(), REMEMBERED);
        assert_eq!(complaints.admit("new", start + INTERVAL), Some(0));
        assert_eq!(complaints.lines.len(), 1);
    }
}
