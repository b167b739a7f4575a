//! Text of somebody else's on an operator's terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters that change how others are shown (Unicode's bidirectional and line controls), beside those
/// that are control characters by themselves.
const UNSEEN: [std::ops::RangeInclusive<char>; 3] = [
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
];

/// The text with each character escaped that a terminal would act upon, or that stays unseen; lines and
/// tabs stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

/// The same on one line.
#[must_use]
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_harmful = |character: char| {
        let is_unseen = UNSEEN.iter().any(|range| range.contains(&character));
        (character.is_control() || is_unseen) && !is_kept(character)
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match is_harmful(character) {
            // Writing to a string cannot fail.
            true => drop(write!(out, "{}", character.escape_unicode())),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides_and_the_rest_stays() {
        for harmless in ["", "p50  15.9 µs\n✓ ec2  private\n", "  ████▋"] {
            assert!(matches!(printable(harmless), Cow::Borrowed(text) if text == harmless));
        }
        for (text, shown) in [
            ("\u{1b}[2Jx", "\\u{1b}[2Jx"),
            ("a\rb\u{7}\u{8}\0", "a\\u{d}b\\u{7}\\u{8}\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\x7f", "\\u{7f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_line("a\nb"), "a\\u{a}b");
    }
}
