//! What operators ask of a running relay, on a unix socket: how it and its enclaves are, and that an
//! enclave run `check` or `bench`.
//!
//! Both ends are of one version as a rule: the commands are the same program.

use std::fmt::Display;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use operator::{Conversation, Replies, Server, SocketError};
use report::{Command, Line, RUN, Status, Stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::admission::Admission;
use crate::enclaves::Enclave;
use crate::reporter::{REST, SLACK, Said};
use crate::server::Relay;

/// Where the relay is asked.
pub(crate) const SOCKET: &str = "/run/proxify-relay/control.sock";

/// The directory of a socket, if the relay makes it.
const DIRECTORY_MODE: u32 = 0o700;

/// Enclaves that are shown: more than a parent has.
const SHOWN: usize = 64;

/// What an operator wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// How the relay and its enclaves are.
    Status,
    /// That an enclave run something.
    Run {
        /// As [`link::Peer`] is written; the only one, if none is given.
        enclave: Option<String>,
        command: Command,
    },
}

/// What an operator gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To [`Request::Status`].
    Status(Box<State>),
    /// To [`Request::Run`], as it comes.
    Output { stream: Stream, text: String },
    /// To [`Request::Run`], at its end.
    Ended { code: u8 },
    /// No enclave is that one, or none reports.
    NoSuch { reason: String },
    /// Which one of these?
    Several { enclaves: Vec<String> },
}

/// How a relay is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    /// Where enclaves come in.
    pub(crate) listen: String,
    pub(crate) connections: u64,
    pub(crate) upstream_packets_per_second: u64,
    /// 0 is no limit.
    pub(crate) upstream_quota_packets_per_second: u64,
    pub(crate) enclaves: Vec<Told>,
    /// Enclaves that are not shown, for there are too many.
    pub(crate) more_enclaves: u64,
}

/// What is known of an enclave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    /// As `vsock:16`.
    pub(crate) enclave: String,
    /// All of its connections.
    pub(crate) connections: u64,
    /// Since when it reports; none if it does not.
    pub(crate) reports_seconds: Option<u64>,
    /// Since when it does not any more.
    pub(crate) ended_seconds: Option<u64>,
    /// What it said last.
    pub(crate) status: Option<Status>,
    /// How old that is.
    pub(crate) status_age_ms: u64,
    /// The last of its warnings and errors, the oldest first.
    pub(crate) lines: Vec<ToldLine>,
}

/// A line of an enclave's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldLine {
    pub(crate) age_seconds: u64,
    #[serde(flatten)]
    pub(crate) line: Line,
}

/// What is said on the socket.
#[derive(Debug)]
pub(crate) enum Operators {}

impl Conversation for Operators {
    type Request = Request;
    type Reply = Reply;
    const PROGRAM: &'static str = "proxify-relay";
    const NOBODY: &'static str = "no proxify-relay runs here";
    const START: &'static str = "start it, or name its socket with --control";
    /// A run waits for another at most, and for what the enclave takes to say that it is over.
    const ANSWER: Duration =
        Duration::from_secs(2 * (REST.as_secs() + RUN.as_secs() + SLACK.as_secs()) + 1);
}

/// The parts that know.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) relay: Arc<Relay>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) listen: String,
    pub(crate) started: Instant,
}

impl Operator {
    /// Answers at `socket`. Where it cannot be made, enclaves are served all the same.
    pub(crate) fn serve(self, socket: &Path) -> Option<Server> {
        let operator = Arc::new(self);
        let answer = move |request, replies| {
            let operator = Arc::clone(&operator);
            async move { operator.answer(request, replies).await }
        };
        let start = || {
            make_room(socket)?;
            let server = Server::start::<Operators, _, _>(socket, answer);
            server.map_err(|source| ServeError::Socket { source })
        };
        match start() {
            Ok(server) => Some(server),
            Err(error) => {
                warn!(%error, "`proxify-relay status` gets no answer");
                None
            }
        }
    }

    async fn answer(&self, request: Request, replies: Replies<Reply>) -> Result<Reply, String> {
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.state()))),
            Request::Run { enclave, command } => {
                self.run(enclave.as_deref(), command, replies).await
            }
        }
    }

    fn state(&self) -> State {
        let now = Instant::now();
        let quota = &self.relay.quota;
        let mut connected = self.admission.connected();
        let mut enclaves = Vec::new();
        for known in self.relay.enclaves.snapshot() {
            let connections = connected.iter().find(|(peer, _)| *peer == known.peer);
            let connections = connections.map_or(0, |(_, connections)| *connections);
            enclaves.push(told(&known, connections, now));
        }
        let reports: Vec<String> = enclaves.iter().map(|told| told.enclave.clone()).collect();
        connected.retain(|(peer, _)| !reports.contains(&peer.to_string()));
        connected.sort_by_key(|(peer, _)| peer.to_string());
        enclaves.extend(connected.iter().map(|(peer, connections)| Told {
            enclave: peer.to_string(),
            connections: *connections as u64,
            ..Told::default()
        }));
        let more = enclaves.len().saturating_sub(SHOWN);
        enclaves.truncate(SHOWN);
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            listen: self.listen.clone(),
            connections: self.admission.connections() as u64,
            upstream_packets_per_second: quota.packets_per_second().into(),
            upstream_quota_packets_per_second: self.relay.limits.upstream_pps.into(),
            enclaves,
            more_enclaves: more as u64,
        }
    }

    async fn run(
        &self,
        wanted: Option<&str>,
        command: Command,
        replies: Replies<Reply>,
    ) -> Result<Reply, String> {
        let mut reporting = self.relay.enclaves.snapshot();
        reporting.retain(|enclave| enclave.ended.is_none());
        let name = |enclave: &Enclave| enclave.peer.to_string();
        if let Some(wanted) = wanted {
            reporting.retain(|enclave| name(enclave) == wanted);
        }
        let mut names: Vec<String> = reporting.iter().map(name).collect();
        names.dedup();
        // Of two proxifys of one enclave the later serves names.
        let Some(enclave) = reporting.last() else {
            let reason = self.nobody(wanted);
            return Ok(Reply::NoSuch { reason });
        };
        if names.len() > 1 {
            return Ok(Reply::Several { enclaves: names });
        }
        let refused = |why: &dyn Display| format!("{}: {why}", name(enclave));
        let asked = self.relay.enclaves.ask(enclave, command);
        let mut said = asked.map_err(|error| refused(&error))?;
        while let Some(said) = said.recv().await {
            match said {
                Said::Output { stream, text } => replies.send(Reply::Output { stream, text }),
                Said::Ended { code } => return Ok(Reply::Ended { code }),
                Said::Refused { reason } => return Err(refused(&reason)),
            }
        }
        Err(refused(&"the enclave has gone"))
    }

    /// Why none is asked.
    fn nobody(&self, wanted: Option<&str>) -> String {
        let connected = self.admission.connected();
        let is_connected = |name: &str| connected.iter().any(|(peer, _)| peer.to_string() == name);
        match wanted {
            None if connected.is_empty() => "no enclave is connected".to_owned(),
            None => format!("no enclave reports: {SILENT}"),
            Some(wanted) if is_connected(wanted) => {
                format!("{wanted} does not report: {SILENT}")
            }
            Some(wanted) => format!("no enclave is {wanted}; see proxify-relay status"),
        }
    }
}

/// Why an enclave may not report.
pub(crate) const SILENT: &str = "an old version, or --report none";

fn told(enclave: &Enclave, connections: usize, now: Instant) -> Told {
    let since = |then: Instant| now.saturating_duration_since(then);
    let is_over = enclave.ended.is_some();
    let lines = enclave.lines.iter().map(|(came, line)| ToldLine {
        age_seconds: since(*came).as_secs(),
        line: Line::clone(line),
    });
    Told {
        enclave: enclave.peer.to_string(),
        connections: connections as u64,
        reports_seconds: (!is_over).then(|| since(enclave.connected).as_secs()),
        ended_seconds: enclave.ended.map(|ended| since(ended).as_secs()),
        status: enclave.status.clone(),
        status_age_ms: u64::try_from(since(enclave.received).as_millis()).unwrap_or(u64::MAX),
        lines: lines.collect(),
    }
}

/// Makes the socket's directory, and sees to it that no other relay answers there.
fn make_room(socket: &Path) -> Result<(), ServeError> {
    if UnixStream::connect(socket).is_ok() {
        return Err(ServeError::Taken {
            socket: socket.display().to_string(),
        });
    }
    let Some(directory) = socket.parent() else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    match builder.mode(DIRECTORY_MODE).create(directory) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(ServeError::Directory {
                directory: directory.display().to_string(),
                source,
            })
        }
        _ => Ok(()),
    }
}

/// Why operators get no answer.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("another relay answers at {socket}; give this one another --control")]
    Taken { socket: String },
    #[error("cannot make {directory}: {source}; run it as root, or give another --control")]
    Directory {
        directory: String,
        source: io::Error,
    },
    #[error("{source}; give another --control")]
    Socket { source: SocketError },
}

#[cfg(test)]
mod tests;
