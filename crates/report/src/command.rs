//! What an operator on the parent may ask an enclave to run.
//!
//! Each end knows what may be asked: typed values, bounded, from which the enclave writes a command line
//! anew. What is not known is refused, never passed on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest name, in characters (RFC 1035 §2.3.4, as text).
const MAX_NAME: usize = 253;

/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// The longest region's name; AWS's longest has 14 characters.
const MAX_REGION: usize = 32;

/// How long a `bench` may measure: with what comes before it, less than [`RUN`](crate::RUN).
pub const MAX_BENCH: Duration = Duration::from_secs(30);

/// A command of `proxify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// `proxify check`.
    Check(Check),
    /// `proxify bench`.
    Bench(Bench),
}

/// What `proxify check` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Check {
    /// Without any, those of the usual services.
    pub names: Names,
    /// Of the usual services, instead of IMDS's.
    pub region: Option<Region>,
    /// Opens TCP connections, too.
    pub connect: bool,
    /// Fails if a name is not private.
    pub require_private: bool,
    /// Prints JSON.
    pub json: bool,
}

/// What `proxify bench` is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bench {
    /// Without any, those of the usual services.
    pub names: Names,
    /// Of the usual services, instead of IMDS's.
    pub region: Option<Region>,
    /// How long, instead of its own default; at most [`MAX_BENCH`].
    pub seconds: Option<Seconds>,
    /// Prints JSON.
    pub json: bool,
}

impl Command {
    /// The words behind `proxify` that ask for this. Options come first, then `--`, then names.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let (word, names, region) = match self {
            Self::Check(check) => ("check", &check.names, &check.region),
            Self::Bench(bench) => ("bench", &bench.names, &bench.region),
        };
        let mut words = vec![word.to_owned()];
        let mut add = |is_wanted: bool, option: &str| {
            if is_wanted {
                words.push(option.to_owned());
            }
        };
        match self {
            Self::Check(check) => {
                add(check.connect, "--connect");
                add(check.require_private, "--require-private");
                add(check.json, "--json");
            }
            Self::Bench(bench) => {
                add(bench.json, "--json");
                if let Some(Seconds(seconds)) = bench.seconds {
                    words.push(format!("--duration={seconds}s"));
                }
            }
        }
        if let Some(Region(region)) = region {
            words.push(format!("--region={region}"));
        }
        words.push("--".to_owned());
        words.extend(names.0.iter().map(ToString::to_string));
        words
    }
}

/// A host's name: letters, digits, hyphens and underscores in labels. It says nothing else than itself
/// on a command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// At most [`Names::MOST`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Name>")]
pub struct Names(Vec<Name>);

/// A region's name; whether AWS has it, DNS will tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Region(String);

/// A time from 1 s to [`MAX_BENCH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Seconds(u64);

impl Names {
    /// As many as one looks at, with a frame to spare.
    pub const MOST: usize = 32;
}

impl TryFrom<Vec<Name>> for Names {
    type Error = ValueError;

    fn try_from(names: Vec<Name>) -> Result<Self, ValueError> {
        match names.len() <= Self::MOST {
            true => Ok(Self(names)),
            false => Err(ValueError::Names),
        }
    }
}

impl FromStr for Name {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label =
            |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(is_usual);
        match text.len() <= MAX_NAME && text.split('.').all(is_label) {
            true => Ok(Self(text.to_owned())),
            false => Err(ValueError::Name),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Region {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_usual =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match (1..=MAX_REGION).contains(&text.len()) && text.bytes().all(is_usual) {
            true => Ok(Self(text.to_owned())),
            false => Err(ValueError::Region),
        }
    }
}

impl TryFrom<String> for Region {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl TryFrom<u64> for Seconds {
    type Error = ValueError;

    fn try_from(seconds: u64) -> Result<Self, ValueError> {
        match (1..=MAX_BENCH.as_secs()).contains(&seconds) {
            true => Ok(Self(seconds)),
            false => Err(ValueError::Seconds),
        }
    }
}

impl FromStr for Seconds {
    type Err = ValueError;

    /// `5` or `5s`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = text.strip_suffix('s').unwrap_or(text);
        let number: u64 = number.parse().map_err(|_| ValueError::Seconds)?;
        number.try_into()
    }
}

/// What is not to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No host's name.
    #[error("write a name such as ec2.eu-central-1.amazonaws.com")]
    Name,
    /// Too many of them.
    #[error("at most {} names at once", Names::MOST)]
    Names,
    /// No region.
    #[error("write a region such as eu-central-1")]
    Region,
    /// No time, or too long.
    #[error("write a time such as 5s, from 1 s to {} s", MAX_BENCH.as_secs())]
    Seconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(json: &str) -> Result<Vec<String>, serde_json::Error> {
        serde_json::from_str(json).map(|command: Command| command.words())
    }

    #[test]
    fn what_is_asked_becomes_a_line_of_our_own_words() {
        for (json, line) in [
            (r#"{"check":{}}"#, "check --"),
            (
                r#"{"check":{"names":["a.test","_b.test."],"connect":true,"require_private":true,"json":true,"region":"eu-west-1"}}"#,
                "check --connect --require-private --json --region=eu-west-1 -- a.test _b.test",
            ),
            (
                r#"{"bench":{"names":["-rf"],"seconds":30,"json":true}}"#,
                "bench --json --duration=30s -- -rf",
            ),
        ] {
            assert_eq!(words(json).unwrap().join(" "), line);
        }
    }

    #[test]
    fn nothing_else_can_be_asked() {
        let many = format!(r#"{{"check":{{"names":[{}"a"]}}}}"#, r#""a","#.repeat(32));
        let long = format!(r#"{{"check":{{"names":["{}a"]}}}}"#, "abc.".repeat(64));
        for json in [
            r#"{"explain":{"names":["a"]}}"#,
            r#"{"check":{"names":["a b"]}}"#,
            r#"{"check":{"names":["a;b"]}}"#,
            r#"{"check":{"names":["--server=6.6.6.6"]}}"#,
            r#"{"check":{"names":["a..b"]}}"#,
            r#"{"check":{"names":[""]}}"#,
            r#"{"check":{"names":["."]}}"#,
            r#"{"check":{"names":["a\u0000b"]}}"#,
            r#"{"check":{"names":["\u001b[2J"]}}"#,
            r#"{"check":{"names":"a"}}"#,
            r#"{"check":{"server":"6.6.6.6"}}"#,
            r#"{"check":{"region":"eu --server=6.6.6.6"}}"#,
            r#"{"check":{"region":""}}"#,
            r#"{"bench":{"seconds":31}}"#,
            r#"{"bench":{"seconds":0}}"#,
            r#"{"bench":{"seconds":-1}}"#,
            r#"{"bench":{"upstream_pps":0}}"#,
            r#"{"bench":{"html":"/etc/passwd"}}"#,
            &many,
            &long,
        ] {
            assert!(words(json).is_err(), "{json}");
        }
    }
}
