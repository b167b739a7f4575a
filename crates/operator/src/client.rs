//! The end of the socket that asks. It blocks: a command has nothing else to do.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Conversation, Refusal};

/// How long each step of a conversation may take beyond [`Conversation::ANSWER`]: it may wait for those
/// before it.
const PATIENCE: Duration = Duration::from_secs(9);

/// Bytes of a reply: two DNS messages of 64 KiB in hexadecimal digits, or the states of many enclaves.
const MAX_REPLY: u64 = 4 << 20;

/// Asks who listens at `socket`, and gives the last reply.
///
/// # Errors
/// [`AskError`]; a request that is refused is one too.
pub fn ask<C: Conversation>(socket: &Path, request: &C::Request) -> Result<C::Reply, AskError> {
    let mut last = None;
    listen::<C>(socket, request, |reply| last = Some(reply))?;
    last.ok_or(AskError::Silent {
        program: C::PROGRAM,
    })
}

/// Asks, and hands over each reply as it comes; there is one at least.
///
/// # Errors
/// As [`ask`]'s, at any time.
pub fn listen<C: Conversation>(
    socket: &Path,
    request: &C::Request,
    mut each: impl FnMut(C::Reply),
) -> Result<(), AskError> {
    let failed = |source: io::Error| {
        let socket = socket.to_owned();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::Nobody {
                socket,
                nobody: C::NOBODY,
                start: C::START,
            },
            ErrorKind::PermissionDenied => AskError::Denied {
                socket,
                program: C::PROGRAM,
            },
            _ => AskError::Io { socket, source },
        }
    };
    let broken = |source| AskError::Io {
        socket: socket.to_owned(),
        source,
    };
    let stream = UnixStream::connect(socket).map_err(failed)?;
    let mut stream = send(stream, request, C::ANSWER + PATIENCE).map_err(broken)?;
    let mut heard = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = stream.by_ref().take(MAX_REPLY);
        bounded.read_until(b'\n', &mut line).map_err(broken)?;
        if line.is_empty() && heard {
            return Ok(());
        }
        if let Ok(Refusal { refused: reason }) = serde_json::from_slice(&line) {
            return Err(AskError::Refused {
                program: C::PROGRAM,
                reason,
            });
        }
        let reply = match serde_json::from_slice(&line) {
            Ok(reply) => reply,
            Err(_) if line.is_empty() => {
                return Err(AskError::Silent {
                    program: C::PROGRAM,
                });
            }
            Err(source) => {
                return Err(AskError::Reply {
                    program: C::PROGRAM,
                    source,
                });
            }
        };
        heard = true;
        each(reply);
    }
}

fn send(
    mut stream: UnixStream,
    request: &impl serde::Serialize,
    patience: Duration,
) -> io::Result<BufReader<UnixStream>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(BufReader::new(stream))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("{nobody}: nobody listens at {}; {start}", socket.display())]
    Nobody {
        /// Where somebody would.
        socket: PathBuf,
        /// What that means.
        nobody: &'static str,
        /// What to do.
        start: &'static str,
    },
    /// The file says so.
    #[error("not allowed to open {}: run this as root, or as the user that {program} runs as", socket.display())]
    Denied {
        /// Where it listens.
        socket: PathBuf,
        /// Who.
        program: &'static str,
    },
    /// The conversation failed.
    #[error("{}: {source}", socket.display())]
    Io {
        /// Where it listens.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It closed: it is about to end, or has too much to do.
    #[error("{program} closed the connection without an answer; is it being stopped?")]
    Silent {
        /// Who.
        program: &'static str,
    },
    /// It is of another version, or something else.
    #[error("{program}'s answer cannot be read: {source}; is this the program that runs?")]
    Reply {
        /// Who.
        program: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It says why.
    #[error("{program} does not answer that: {reason}")]
    Refused {
        /// Who.
        program: &'static str,
        /// In its words.
        reason: String,
    },
}

impl AskError {
    /// A reply that is none to the request.
    #[must_use]
    pub fn other(program: &'static str) -> Self {
        Self::Refused {
            program,
            reason: "it answers another question; is this the program that runs?".to_owned(),
        }
    }
}
