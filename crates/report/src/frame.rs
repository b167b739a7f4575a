//! What goes over REPORT (0xD2), as JSON in frames of at most [`MAX_FRAME`] bytes.
//!
//! ```text
//! enclave  {"status":{…}}                                at once, and every 5 s
//! relay    "heard"
//! enclave  {"line":{"level":"warn","text":"…","left_out":0}}
//! relay    {"run":{"id":1,"command":{"check":{"names":["ec2.us-east-1.amazonaws.com"]}}}}
//! enclave  {"output":{"id":1,"stream":"out","text":"…"}}, …
//!          {"ended":{"id":1,"code":0}}
//! ```
//!
//! The enclave decides what it sends. Either end takes the other for an adversary: what comes is bounded
//! and parsed into values, and what people see of it is made printable first.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Command, Status};

/// The longest frame, in bytes: the wire's limit.
pub const MAX_FRAME: usize = 16 * 1024;

/// How often an enclave sends its status: a vsock peer that is killed sends nothing, so a quiet enclave
/// is told from a dead one by this.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// Silence after which an enclave counts as gone: two and a half heartbeats.
pub const SILENCE: Duration = Duration::from_millis(12_500);

/// How long a run in the enclave may take. `bench` takes 5 s, `check` some more where nobody answers.
pub const RUN: Duration = Duration::from_secs(60);

/// What one run may print, in bytes: a thousand times what `check` and `bench` do.
pub const MAX_OUTPUT: usize = 1 << 20;

/// Bytes of output in one frame: six times as long it still fits, which is what JSON's longest escapes
/// make of it.
pub const MAX_PIECE: usize = 2 * 1024;

/// Bytes of a log line: longer ones are cut.
pub const MAX_LINE: usize = 1024;

/// What an enclave says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromEnclave {
    /// How it is.
    Status(Box<Status>),
    /// A warning or an error of its own.
    Line(Line),
    /// Something that a run has printed.
    Output {
        /// Of the run.
        id: u64,
        /// Where to.
        stream: Stream,
        /// At most [`MAX_PIECE`] bytes.
        text: String,
    },
    /// A run is over; nothing more comes of it.
    Ended {
        /// Of the run.
        id: u64,
        /// Its exit status.
        code: u8,
    },
    /// A run is over before its end, or has not begun.
    Refused {
        /// Of the run.
        id: u64,
        /// In words for the operator.
        reason: String,
    },
}

/// A line of an enclave's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// At most [`MAX_LINE`] bytes, without any name that was asked for.
    pub text: String,
    /// Lines that were not sent before this one.
    #[serde(default)]
    pub left_out: u64,
}

/// How bad a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something does not work.
    Error,
    /// It works, and not as it should.
    #[serde(other)]
    Warn,
}

/// Where a run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard error.
    Err,
    /// Standard output.
    #[serde(other)]
    Out,
}

/// What the relay says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToEnclave {
    /// That a command be run.
    Run {
        /// The relay's number for it.
        id: u64,
        /// A [`Command`], unless the relay is newer: that is told apart, so that the answer can name
        /// the run.
        command: Value,
    },
    /// That a run be ended: who asked for it has gone.
    Stop {
        /// Of the run.
        id: u64,
    },
    /// That a status has come: by this the enclave tells a relay that lives.
    Heard,
}

impl FromEnclave {
    const KINDS: [&str; 5] = ["status", "line", "output", "ended", "refused"];

    /// Reads a frame; none if it is of a kind that only a newer enclave knows.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(frame: &[u8]) -> Result<Option<Self>, FrameError> {
        read(frame, &Self::KINDS)
    }

    /// The frame. Of a status with more nameservers and ports than fit, the last are left out.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut text = json(self);
        if let Self::Status(status) = self {
            let mut status = status.clone();
            while text.len() > MAX_FRAME && (status.nameservers.len() + status.ports.len()) > 0 {
                status.nameservers.truncate(status.nameservers.len() / 2);
                status.ports.truncate(status.ports.len() / 2);
                text = json(&Self::Status(status.clone()));
            }
        }
        text
    }
}

impl ToEnclave {
    const KINDS: [&str; 3] = ["run", "stop", "heard"];

    /// That a command be run.
    #[must_use]
    pub fn run(id: u64, command: &Command) -> Self {
        Self::Run {
            id,
            command: serde_json::to_value(command).unwrap_or_default(),
        }
    }

    /// Reads a frame; none if it is of a kind that only a newer relay knows.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(frame: &[u8]) -> Result<Option<Self>, FrameError> {
        read(frame, &Self::KINDS)
    }

    /// The frame.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        json(self)
    }
}

/// None of the types here has a map with other keys than text, which is all that could fail.
fn json(frame: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(frame).unwrap_or_default()
}

fn read<'a, F: Deserialize<'a>>(frame: &'a [u8], kinds: &[&str]) -> Result<Option<F>, FrameError> {
    if frame.len() > MAX_FRAME {
        return Err(FrameError::Oversized);
    }
    serde_json::from_slice(frame).map(Some).or_else(|error| {
        let is_newer = |object: &Map<String, Value>| {
            object.len() == 1 && !object.keys().any(|kind| kinds.contains(&kind.as_str()))
        };
        match serde_json::from_slice(frame) {
            Ok(Value::Object(object)) if is_newer(&object) => Ok(None),
            Ok(Value::String(kind)) if !kinds.contains(&kind.as_str()) => Ok(None),
            _ => Err(FrameError::Malformed(error)),
        }
    })
}

/// What is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Too long.
    #[error("a frame of more than {MAX_FRAME} bytes")]
    Oversized,
    /// No JSON, or not what its first word says.
    #[error("a frame that cannot be read: {0}")]
    Malformed(serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, Names, Nameserver, Port};

    #[test]
    fn each_frame_comes_back_as_it_went() {
        let frames = [
            FromEnclave::Status(Box::default()),
            FromEnclave::Line(Line {
                level: Level::Error,
                text: "TCP is not carried any more".to_owned(),
                left_out: 3,
            }),
            FromEnclave::Output {
                id: 1,
                stream: Stream::Err,
                text: "\u{1b}[2J".to_owned(),
            },
            FromEnclave::Ended { id: 1, code: 69 },
            FromEnclave::Refused {
                id: 2,
                reason: "another run is not over".to_owned(),
            },
        ];
        for frame in frames {
            let read = FromEnclave::read(&frame.write()).unwrap();
            assert_eq!(read, Some(frame));
        }
        let command = Command::Bench(crate::Bench::default());
        for frame in [
            ToEnclave::run(7, &command),
            ToEnclave::Stop { id: 7 },
            ToEnclave::Heard,
        ] {
            let read = ToEnclave::read(&frame.write()).unwrap();
            assert_eq!(read, Some(frame));
        }
    }

    #[test]
    fn what_newer_versions_know_is_passed_over_and_garbage_is_not() {
        let read = FromEnclave::read;
        assert!(matches!(read(br#"{"moons":[1,2]}"#), Ok(None)));
        assert!(matches!(read(br#""moons""#), Ok(None)));
        let line = read(br#"{"line":{"level":"sad","text":"x","colour":1}}"#);
        let Ok(Some(FromEnclave::Line(line))) = line else {
            panic!("{line:?}")
        };
        assert_eq!((line.level, line.left_out), (Level::Warn, 0));
        for garbage in [
            &b""[..],
            b"\xff",
            b"status",
            b"\"status\"",
            b"[]",
            b"{}",
            br#"{"status":3}"#,
            br#"{"moons":1,"ended":2}"#,
            br#"{"ended":{"id":1,"code":256}}"#,
            &[b'['; MAX_FRAME],
        ] {
            let read = read(garbage);
            assert!(matches!(read, Err(FrameError::Malformed(_))), "{read:?}");
        }
        let long = [b' '; MAX_FRAME + 1];
        assert!(matches!(read(&long), Err(FrameError::Oversized)));
    }

    #[test]
    fn the_longest_of_each_fits_a_frame() {
        let nameserver = Nameserver {
            route: "x".repeat(253),
            ..Nameserver::default()
        };
        let status = Status {
            nameservers: vec![nameserver; 256],
            ports: vec![Port::default(); 1024],
            ..Status::default()
        };
        let frames = [
            FromEnclave::Status(Box::new(status)),
            FromEnclave::Output {
                id: u64::MAX,
                stream: Stream::Out,
                text: "\0".repeat(MAX_PIECE),
            },
            FromEnclave::Line(Line {
                level: Level::Warn,
                text: "\0".repeat(MAX_LINE),
                left_out: u64::MAX,
            }),
        ];
        for frame in frames {
            let bytes = frame.write();
            assert!(bytes.len() <= MAX_FRAME, "{}", bytes.len());
            assert!(FromEnclave::read(&bytes).unwrap().is_some());
        }
        let name = "x".repeat(63);
        let name: Name = format!("{name}.{name}.{name}.{}", &name[..61])
            .parse()
            .unwrap();
        let names = Names::try_from(vec![name; Names::MOST]).unwrap();
        let command = Command::Check(crate::Check {
            names,
            ..crate::Check::default()
        });
        assert!(ToEnclave::run(u64::MAX, &command).write().len() <= MAX_FRAME);
    }
}
