//! Names as text (RFC 1035 sections 2.3.1 and 5.1).

use core::fmt::{self, Write};
use core::str::FromStr;

use crate::name::{Name, NameError};

/// The longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Why text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseNameError {
    /// Nothing at all, or nothing between two dots.
    EmptyLabel,
    /// More than 63 characters between two dots.
    LongLabel,
    /// More than 253 characters, final dot not counted.
    Long,
    /// Neither letter, digit, hyphen nor underscore.
    Character(char),
}

impl FromStr for Name {
    type Err = ParseNameError;

    /// Reads labels of letters, digits, hyphens and underscores, with or without the final dot. `.`
    /// is the root. There are no escapes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "." {
            return Ok(Self::ROOT);
        }
        let mut name = Self::EMPTY;
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            let is_of_names = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if let Some(other) = label.chars().find(|&c| !is_of_names(c)) {
                return Err(ParseNameError::Character(other));
            }
            let length = match u8::try_from(label.len()) {
                Ok(0) => return Err(ParseNameError::EmptyLabel),
                Ok(length) if label.len() <= MAX_LABEL => length,
                _ => return Err(ParseNameError::LongLabel),
            };
            name.push(&[length])?;
            name.push(label.as_bytes())?;
        }
        name.push(&[0])?;
        Ok(name)
    }
}

impl From<NameError> for ParseNameError {
    /// A name that is put together can only be too long.
    fn from(_: NameError) -> Self {
        Self::Long
    }
}

impl fmt::Display for Name {
    /// Without the final dot, as people write names; the root is `.`. Bytes that are no part of host
    /// names are escaped (RFC 4343 section 2.1), so that no name can look like another, or like
    /// something else in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_bytes();
        if rest == [0] {
            return f.write_char('.');
        }
        let mut is_first = true;
        while let Some((&length, labels)) = rest.split_first()
            && let Some((label, next)) = labels.split_at_checked(length.into())
            && length > 0
        {
            if !core::mem::take(&mut is_first) {
                f.write_char('.')?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    b'!'..=b'~' => f.write_char(byte.into())?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            rest = next;
        }
        Ok(())
    }
}

impl fmt::Display for ParseNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyLabel => f.write_str("there is nothing before, between or behind its dots"),
            Self::LongLabel => write!(f, "more than {MAX_LABEL} characters between two dots"),
            Self::Long => f.write_str("longer than 253 characters"),
            Self::Character(c) if c.is_ascii() => write!(f, "{c:?} is no part of a name"),
            Self::Character(c) => write!(f, "{c:?}: write the name's ASCII form, with xn--"),
        }
    }
}

impl core::error::Error for ParseNameError {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    fn read(text: &str) -> Result<Name, ParseNameError> {
        text.parse()
    }

    #[test]
    fn text_is_read_in_lower_case_and_written_back() {
        for (text, wire, back) in [
            (
                "Corp.Example",
                &b"\x04corp\x07example\0"[..],
                "corp.example",
            ),
            ("corp.example.", b"\x04corp\x07example\0", "corp.example"),
            ("_tcp.x-1", b"\x04_tcp\x03x-1\0", "_tcp.x-1"),
            (
                "10.in-addr.arpa",
                b"\x0210\x07in-addr\x04arpa\0",
                "10.in-addr.arpa",
            ),
            (".", b"\0", "."),
        ] {
            let name = read(text).unwrap();
            assert_eq!(name.as_bytes(), wire, "{text}");
            assert_eq!(name.to_string(), back);
        }
    }

    #[test]
    fn what_is_no_name_is_told() {
        let label = "a".repeat(63);
        let longest = [&*label, &label, &label, &label[..61]].join(".");
        assert_eq!(longest.len(), 253);
        assert!(read(&longest).is_ok());
        for (text, error) in [
            ("", ParseNameError::EmptyLabel),
            ("..", ParseNameError::EmptyLabel),
            (".corp", ParseNameError::EmptyLabel),
            ("corp..example", ParseNameError::EmptyLabel),
            (&[&*label, "a"].concat(), ParseNameError::LongLabel),
            (&"a".repeat(300), ParseNameError::LongLabel),
            (&[&*longest, "a"].concat(), ParseNameError::Long),
            ("*.corp", ParseNameError::Character('*')),
            ("a b", ParseNameError::Character(' ')),
            ("a\\.b", ParseNameError::Character('\\')),
            ("bücher.example", ParseNameError::Character('ü')),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_part_of_host_names_are_escaped() {
        let name = Name::read(b"\x05a.b\\c\x03\n \xff\x01*\0", 0).unwrap();
        assert_eq!(name.to_string(), r"a\.b\\c.\010\032\255.*");
    }
}
