//! Types of records as people write them: mnemonics, or TYPE and a number (RFC 3597 section 5).

use std::fmt;
use std::str::FromStr;

/// A record type to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rtype(pub u16);

impl Rtype {
    /// An IPv4 address.
    pub const A: Self = Self(wire::rtype::A);
    /// An IPv6 address.
    pub const AAAA: Self = Self(wire::rtype::AAAA);
}

impl FromStr for Rtype {
    type Err = ParseRtypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = wire::rtype::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, number)) = named {
            return Ok(Self(*number));
        }
        let number = text
            .get(..4)
            .filter(|head| head.eq_ignore_ascii_case("TYPE"))
            .and_then(|_| text.get(4..)?.parse().ok());
        number.map(Self).ok_or_else(|| ParseRtypeError {
            text: text.escape_debug().take(MAX_SHOWN).collect(),
        })
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match wire::rtype::name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// Characters of a bad type that an error repeats.
const MAX_SHOWN: usize = 20;

/// Text that is no record type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no record type: write A, AAAA, TXT, SRV, HTTPS, … or TYPE and a number")]
pub struct ParseRtypeError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written_back() {
        for (text, number, back) in [
            ("A", 1, "A"),
            ("aaaa", 28, "AAAA"),
            ("HTTPS", 65, "HTTPS"),
            ("type65280", 65280, "TYPE65280"),
            ("TYPE1", 1, "A"),
        ] {
            let read: Rtype = text.parse().unwrap();
            assert_eq!((read.0, &*read.to_string()), (number, back));
        }
        for bad in [
            "",
            "AAAAA",
            "TYPE",
            "TYPE65536",
            "TYPE-1",
            "TYPÉ1",
            "\u{1b}[31m",
        ] {
            let error = bad.parse::<Rtype>().unwrap_err().to_string();
            assert!(error.contains("no record type") && !error.contains('\u{1b}'));
        }
    }
}
