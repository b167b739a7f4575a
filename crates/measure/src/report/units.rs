//! Numbers as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A count as a number to calculate with; beyond 2^53 the last digits are lost, which no figure shows.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}

/// Three digits and a unit: `24.1 µs`.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    let (value, unit) = match nanos {
        // Half of the last digit below, so that 999.96 µs does not become 1000 µs.
        ..999.5 => (nanos, "ns"),
        ..999.5e3 => (nanos / 1e3, "µs"),
        ..999.5e6 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = match value {
        _ if unit == "ns" => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// As [`time`], without digits that are zero: `20 µs`, `1.6 ms`.
pub(crate) fn short_time(of: Duration) -> String {
    let text = time(of);
    let Some((value, unit)) = text.split_once(' ') else {
        return text;
    };
    let value = match value.contains('.') {
        true => value.trim_end_matches('0').trim_end_matches('.'),
        false => value,
    };
    format!("{value} {unit}")
}

/// Seconds, as a person gives them.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, as [`grouped`].
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        ..99.5 => format!("{rate:.1}"),
        _ => grouped(rate.round() as u64),
    }
}

/// Date and time of day in UTC, to the minute.
pub(crate) fn date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, so that a leap day is the last of its year, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (rest / 3600, rest / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (nanos, text, short) in [
            (0, "0 ns", "0 ns"),
            (999, "999 ns", "999 ns"),
            (1000, "1.00 µs", "1 µs"),
            (24_120, "24.1 µs", "24.1 µs"),
            (20_000, "20.0 µs", "20 µs"),
            (999_960, "1.00 ms", "1 ms"),
            (200_000_000, "200 ms", "200 ms"),
            (5_004_000_000, "5.00 s", "5 s"),
        ] {
            let of = Duration::from_nanos(nanos);
            assert_eq!((&*time(of), &*short_time(of)), (text, short));
        }
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(rate(93.04), "93.0");
        assert_eq!(rate(32_481.4), "32,481");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_262_400, "2026-11-21 12:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
