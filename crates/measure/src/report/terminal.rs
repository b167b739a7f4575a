//! The report as text: a column for each target, its percentiles, and below them its histogram on the
//! axis that all share.

use std::fmt::Write as _;

use super::{Measured, PERCENTILES, Report, plot, units};
use crate::Pace;

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns.
    pub width: usize,
    /// Whether to use colours.
    pub colour: bool,
}

/// Columns of what stands before the targets'.
const NAMES: usize = 10;

/// The narrowest column of a target: `24.1 µs` and a gap.
const NARROWEST: usize = 9;

/// The widest: bars need no more.
const WIDEST: usize = 36;

/// Between two columns.
const GAP: usize = 2;

/// Rows of the histogram at most.
const ROWS: usize = 24;

/// Colours of the targets: cyan, yellow, green, magenta, blue, red (ECMA-48 SGR), and again.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// A bar's last character, in eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

pub(super) fn render(report: &Report, terminal: Terminal) -> String {
    let mut text = format!("{}\n\n", report.summary());
    let labels = report.targets.iter().map(|target| target.label.chars());
    let longest = labels.map(Iterator::count).max().unwrap_or(0);
    for (index, target) in report.targets.iter().enumerate() {
        let label = terminal.paint(index, &pad(&target.label, longest));
        let _ = writeln!(text, "{label}  {}", target.what);
    }
    text.push('\n');
    let columns = report.targets.len().max(1);
    let width = terminal.width.saturating_sub(NAMES) / columns;
    let width = width.clamp(NARROWEST, WIDEST);
    let mut line = |name: &str, cell: &dyn Fn(usize, &Measured) -> String| {
        let mut line = pad(name, NAMES);
        for (index, target) in report.targets.iter().enumerate() {
            line += &cell(index, target);
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line("", &|index, target| {
        let label = cut(&target.label, width - 1);
        terminal.paint(index, &pad(&label, width))
    });
    for (name, share) in PERCENTILES {
        line(name, &|_, target| {
            let value = target.latencies.known_quantile(share);
            pad(&value.map_or("–".to_owned(), units::time), width)
        });
    }
    line("max", &|_, target| {
        let some = target.latencies.count() > 0;
        let value = some.then(|| units::time(target.latencies.max()));
        pad(value.as_deref().unwrap_or("–"), width)
    });
    line("answers", &|_, target| {
        pad(&units::grouped(target.latencies.count()), width)
    });
    line("a second", &|_, target| {
        let rate = target.rate().map(units::rate);
        pad(rate.as_deref().unwrap_or("–"), width)
    });
    line("failed", &|_, target| {
        pad(&units::grouped(target.failures.total()), width)
    });
    if let Some(bins) = plot::bins(&report.targets, ROWS) {
        line("", &|_, _| String::new());
        let most = bins.shares.iter().flatten().copied().fold(0.0, f64::max);
        for (row, edge) in bins.edges.iter().enumerate() {
            let is_open = bins.is_open && row + 1 == bins.edges.len();
            let sign = if is_open { "≥ " } else { "" };
            let name = format!("{:>8}", format!("{sign}{}", units::short_time(*edge)));
            line(&name, &|index, _| {
                let share = bins.shares.get(index).and_then(|shares| shares.get(row));
                let bar = bar(share.copied().unwrap_or(0.0) / most, width - GAP);
                terminal.paint(index, &pad(&bar, width))
            });
        }
    }
    text.push('\n');
    let _ = writeln!(
        text,
        "{}",
        match report.pace {
            Pace::Closed => "Closed loop: a lookup begins when the one before has ended.",
            Pace::Open(_) => {
                "Open loop: latency counts from when a lookup was to begin, also where it had to wait."
            }
        }
    );
    let unknown = |target: &Measured| {
        let known = |(_, share)| target.latencies.known_quantile(share).is_some();
        !PERCENTILES.into_iter().all(known)
    };
    if report.targets.iter().any(unknown) {
        text += "–: not known, of too few lookups.\n";
    }
    for remark in report.remarks() {
        let _ = writeln!(text, "{remark}");
    }
    text
}

impl Terminal {
    /// Text in the colour of a target.
    fn paint(self, target: usize, text: &str) -> String {
        let colour = COLOURS.get(target % COLOURS.len());
        match colour.filter(|_| self.colour && !text.trim().is_empty()) {
            Some(colour) => format!("\x1b[{colour}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// A bar of a part of `width` columns; never none for more than nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bar(part: f64, width: usize) -> String {
    // Not a number where nothing was seen.
    if part.is_nan() || part <= 0.0 {
        return String::new();
    }
    let width = u32::try_from(width).unwrap_or(u32::MAX);
    let eighths = ((part * f64::from(width) * 8.0).round() as usize).max(1);
    let last = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    "█".repeat(eighths / 8) + last
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => {
            text.chars()
                .take(width.saturating_sub(1))
                .collect::<String>()
                + "…"
        }
    }
}
