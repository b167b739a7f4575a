//! Words and columns for people, the same in whatever an operator is shown.

use std::fmt::Write as _;
use std::time::Duration;

/// A table of two columns, the left one of labels.
#[derive(Debug)]
pub struct Lines {
    /// What has been written, line ends included.
    pub text: String,
    indent: usize,
    width: usize,
}

impl Lines {
    /// Each line begins with `indent` blanks; labels take `width` columns.
    #[must_use]
    pub fn new(indent: usize, width: usize) -> Self {
        Self {
            text: String::new(),
            indent,
            width,
        }
    }

    /// A line; without a label it goes on with the one before.
    pub fn push(&mut self, label: &str, value: impl AsRef<str>) {
        let (indent, width) = (self.indent, self.width);
        let line = format!("{:indent$}{label:width$}  {}", "", value.as_ref());
        let _ = writeln!(self.text, "{}", line.trim_end());
    }
}

/// Rows whose cells stand under each other, two blanks apart.
#[must_use]
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            // A wider one cannot be padded (std::fmt), and is no table's.
            let cell = cell.chars().count().min(usize::from(u16::MAX));
            *width = cell.max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A time in its largest two units.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, next: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {next}"),
    };
    match time.as_micros() {
        0..1_000 => "less than 1 ms".to_owned(),
        micros @ 1_000..100_000 => format!("{}.{} ms", micros / 1000, micros / 100 % 10),
        100_000..1_000_000 => format!("{} ms", time.as_millis()),
        _ if minutes == 0 => format!("{seconds} s"),
        _ if hours == 0 => two(minutes, "min", seconds % 60, "s"),
        _ if days == 0 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// As [`span`].
#[must_use]
pub fn millis(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// A size in the largest unit that leaves a digit before the point.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => {
            format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
        }
        None => format!("{bytes} bytes"),
    }
}

/// `1 entry`, `2 entries`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        for (millis, text) in [
            (0, "less than 1 ms"),
            (1, "1.0 ms"),
            (99, "99.0 ms"),
            (100, "100 ms"),
            (1_999, "1 s"),
            (60_000, "1 min"),
            (3_599_000, "59 min 59 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        for (bytes, text) in [
            (1023, "1023 bytes"),
            (1 << 10, "1 KiB"),
            (1536, "1.5 KiB"),
            (16 << 20, "16 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["a", "b", ""], ["ccc", "é", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), ["a    b", "ccc  é  d"]);
    }
}
