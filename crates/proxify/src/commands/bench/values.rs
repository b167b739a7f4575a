//! What `bench`'s own options take.

use std::time::Duration;

use clap::ValueEnum;
use measure::MAX_DURATION;

/// A run that says anything.
const LEAST: Duration = Duration::from_millis(100);

/// A target that has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    Udp,
    Tcp,
    Getaddrinfo,
    Upstream,
}

/// `5`, `5s`, `500ms`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Some(Duration::from_millis(1)),
        "" | "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        _ => None,
    };
    let time = number
        .parse::<u32>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| unit.checked_mul(number))
        .filter(|time| (LEAST..=MAX_DURATION).contains(time));
    time.ok_or_else(|| {
        format!(
            "write a time such as 5s, 500ms or 2m, from {} ms to {} m",
            LEAST.as_millis(),
            MAX_DURATION.as_secs() / 60
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_within_their_bounds() {
        for (text, millis) in [
            ("5", Some(5000)),
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("60m", Some(3_600_000)),
            ("61m", None),
            ("99ms", None),
            ("4294967295m", None),
            ("5 s", None),
            ("-5s", None),
            ("s", None),
            ("5h", None),
        ] {
            let read = duration(text).ok();
            assert_eq!(read, millis.map(Duration::from_millis), "{text}");
        }
    }
}
