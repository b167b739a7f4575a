//! How far a run is, on a terminal's last line.

use std::io::{self, IsTerminal as _, Write as _};

use measure::Progress;

/// Characters of the bar.
const WIDTH: usize = 24;

/// A line on standard error, if that is a terminal. It is drawn between turns only.
pub(super) struct Bar {
    is_terminal: bool,
    is_drawn: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_drawn: false,
        }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        if self.is_terminal {
            self.is_drawn = true;
            // To the line's start, and what was there away (ECMA-48 EL).
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(progress));
        }
    }

    pub(super) fn clear(&self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(progress: Progress) -> String {
    match progress {
        Progress::Warming { done, of } => {
            format!("[{}] warming: {done} of {of} lookups", bar(done, of))
        }
        Progress::Measuring {
            elapsed,
            of,
            lookups,
        } => {
            let millis =
                |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            format!(
                "[{}] {:.1} of {:.1} s, {lookups} lookups",
                bar(millis(elapsed), millis(of)),
                elapsed.as_secs_f64(),
                of.as_secs_f64()
            )
        }
    }
}

fn bar(done: u64, of: u64) -> String {
    let full = done.saturating_mul(WIDTH as u64) / of.max(1);
    let full = usize::try_from(full).unwrap_or(WIDTH).min(WIDTH);
    "█".repeat(full) + &"░".repeat(WIDTH - full)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        let at = |millis| {
            line(Progress::Measuring {
                elapsed: Duration::from_millis(millis),
                of: Duration::from_secs(4),
                lookups: 12,
            })
        };
        assert_eq!(
            at(1000),
            "[██████░░░░░░░░░░░░░░░░░░] 1.0 of 4.0 s, 12 lookups"
        );
        for millis in [0, 4000, 90_000] {
            assert_eq!(
                at(millis).split(']').next().unwrap().chars().count(),
                WIDTH + 1
            );
        }
        let warming = line(Progress::Warming { done: 3, of: 9 });
        assert_eq!(
            warming,
            "[████████░░░░░░░░░░░░░░░░] warming: 3 of 9 lookups"
        );
    }
}
