use std::io;
use std::net::SocketAddr;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{text}` is no `NAME [TYPE [RCODE]]`")]
    BadName { text: String },
    #[error("there is no name to ask for")]
    NoNames,
    #[error("{server} does not answer on {address} after {seconds} s; its own words are above")]
    NotReady {
        server: String,
        address: SocketAddr,
        seconds: u64,
    },
    #[error("{server} answered {wrong} of {answered} queries wrongly, {lost} not at all")]
    Unfit {
        server: String,
        answered: u64,
        wrong: u64,
        lost: u64,
    },
    #[error("{0}")]
    Setting(String),
}

impl Failure {
    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}
