//! The lines on the socket.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use report::{Nameserver, Status};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How proxify is.
    Status,
    /// What is known of a question, and what upstream says of it now: that goes past the cache, and
    /// counts against the quota.
    Explain {
        /// The whole name.
        name: String,
        /// The type's number.
        rtype: u16,
    },
    /// That the cache forget a name with all its types, or everything.
    Flush {
        /// The whole name.
        name: Option<String>,
    },
}

/// What an operator gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Explain`].
    Explained(Box<Explanation>),
    /// To [`Request::Flush`].
    Flushed {
        /// Entries that went: a name has one for each type, and one for each kind of client.
        entries: u64,
    },
}

/// What the stub does with one question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// Why it never goes upstream.
    pub local: Option<String>,
    /// What the cache gives the next client.
    pub cached: Option<Cached>,
    /// A nameserver was being asked already.
    pub under_way: Option<UnderWay>,
    /// The suffix of the route that it takes; `.` for all that no route takes.
    pub route: String,
    /// What the pins say of it, if there are any.
    pub held: Option<Held>,
    /// Who is asked, in the order of preference.
    pub nameservers: Vec<Nameserver>,
    /// The last lookup of it that failed, if that is not long ago.
    pub last_failure: Option<LastFailure>,
    /// What a lookup past the cache gave.
    pub now: Option<Looked>,
}

/// What pins say of a name by itself, whatever it is an alias of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Those that hold it, as `--pin` has them.
    pub by: Vec<String>,
    /// The suffix of the pin that does not, since the name is one of S3's or DynamoDB's.
    pub exempt_from: Option<String>,
}

/// What the cache gives for a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cached {
    /// Since the answer came.
    pub age_ms: u64,
    /// What it is good for.
    pub left: Left,
    /// The whole reply.
    pub message: Hex,
}

/// What an entry of the cache is good for, and for how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Clients get it.
    Fresh(u64),
    /// Its TTL has passed: clients get it when upstream does not answer.
    Stale(u64),
    /// Nameservers that are no longer asked gave it: as good as stale.
    Superseded(u64),
    /// It is a failure that clients get without a question upstream.
    Failure(u64),
}

/// A lookup that went on when the question came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Since it began.
    pub since_ms: u64,
    /// The nameserver asked last.
    pub asked: Option<String>,
    /// Clients that wait for it.
    pub waiting_clients: u64,
    /// It waits for the quota.
    pub is_queued: bool,
}

/// A lookup that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// Since it did.
    pub ago_ms: u64,
    /// The Extended DNS Error's code (RFC 8914).
    pub ede: u16,
    /// Its text.
    pub text: String,
}

/// What upstream says now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// How long that took, waiting for the quota included.
    pub took_us: u64,
    /// The whole reply; its Extended DNS Error begins with the nameserver that answered or failed.
    pub message: Hex,
}

/// Bytes, as hexadecimal digits in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes
            .map(Self)
            .ok_or_else(|| D::Error::custom("not pairs of hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line_that_people_can_write() {
        for (request, line) in [
            (Request::Status, r#""status""#),
            (
                Request::Explain {
                    name: "a.test".to_owned(),
                    rtype: 28,
                },
                r#"{"explain":{"name":"a.test","rtype":28}}"#,
            ),
            (Request::Flush { name: None }, r#"{"flush":{"name":null}}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        }
        let bare: Request = serde_json::from_str(r#"{"flush":{}}"#).unwrap();
        assert_eq!(bare, Request::Flush { name: None });
    }

    #[test]
    fn bytes_come_back_and_nothing_else_is_taken_for_bytes() {
        let bytes = Hex((0..=255).collect());
        let text = serde_json::to_string(&bytes).unwrap();
        assert!(text.starts_with("\"000102"), "{text}");
        assert_eq!(serde_json::from_str::<Hex>(&text).unwrap(), bytes);
        for text in ["\"0\"", "\"0g\"", "\"+1\"", "\"é\"", "1"] {
            serde_json::from_str::<Hex>(text).unwrap_err();
        }
    }
}
