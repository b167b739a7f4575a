//! The end of the socket that asks. It blocks: a command has nothing else to do.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::{Reply, Request};

/// How long each step of a conversation may take: an answer takes 6 s at most, and may wait for those
/// before it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of a reply: two DNS messages of 64 KiB in hexadecimal digits, and some.
const MAX_REPLY: u64 = 1 << 20;

/// Asks the proxify that serves names here, at [`SOCKET`](crate::SOCKET).
///
/// # Errors
/// [`AskError`]; a request that proxify refuses is one too.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    let failed = |source: io::Error| {
        let socket = socket.to_owned();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::Nobody { socket },
            ErrorKind::PermissionDenied => AskError::Denied { socket },
            _ => AskError::Io { socket, source },
        }
    };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    let text = converse(&mut stream, request).map_err(|source| AskError::Io {
        socket: socket.to_owned(),
        source,
    })?;
    match serde_json::from_slice(&text) {
        Ok(Reply::Refused(reason)) => Err(AskError::Refused { reason }),
        Ok(reply) => Ok(reply),
        Err(_) if text.is_empty() => Err(AskError::Silent),
        Err(source) => Err(AskError::Reply { source }),
    }
}

fn converse(stream: &mut UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut text = Vec::new();
    stream.take(MAX_REPLY).read_to_end(&mut text)?;
    Ok(text)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no proxify serves names here: nobody listens at {}; start `proxify dns`, or `proxify -- APP`",
        socket.display()
    )]
    Nobody {
        /// Where one would.
        socket: PathBuf,
    },
    /// The file says so.
    #[error("not allowed to open {}: run this as root, or as the user that proxify runs as", socket.display())]
    Denied {
        /// Where proxify listens.
        socket: PathBuf,
    },
    /// The conversation failed.
    #[error("{}: {source}", socket.display())]
    Io {
        /// Where proxify listens.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It closed: it is about to end, or has too much to do.
    #[error("proxify closed the connection without an answer; is it being stopped?")]
    Silent,
    /// It is of another version, or something else.
    #[error("proxify's answer cannot be read: {source}; is this the program that runs?")]
    Reply {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It says why.
    #[error("proxify does not answer that: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
}

impl AskError {
    /// A reply that is none to the request.
    #[must_use]
    pub fn other() -> Self {
        Self::Refused {
            reason: "it answers another question; is this the program that runs?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn nobody_there_is_told_in_a_clear_word() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("proxify.sock");
        for _ in 0..2 {
            let error = ask(&socket, &Request::Status).unwrap_err();
            assert!(matches!(error, AskError::Nobody { .. }), "{error}");
            assert!(error.to_string().contains("no proxify serves names here"));
            // Then one that has been killed.
            drop(UnixListener::bind(&socket));
        }
    }

    #[test]
    fn another_program_is_no_proxify() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("proxify.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let other = std::thread::spawn(move || {
            for said in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut line = [0; 9];
                stream.read_exact(&mut line).unwrap();
                stream.write_all(said).unwrap();
            }
        });
        let error = ask(&socket, &Request::Status).unwrap_err();
        assert!(matches!(error, AskError::Silent), "{error}");
        let error = ask(&socket, &Request::Status).unwrap_err();
        assert!(matches!(error, AskError::Reply { .. }), "{error}");
        other.join().unwrap();
    }
}
