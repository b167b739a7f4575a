//! Asking the relay for a connection, and what its answer means for the program.

use std::net::SocketAddr;
use std::sync::Mutex;

use link::{Command, Complaints, Parent, Reply, RequestError, Rule, Stream};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::activity::Activity;
use crate::packet::Unreachable;
use crate::self_test::Fakes;

/// Dials for every connection.
#[derive(Debug)]
pub(crate) struct Dialer {
    parent: Parent,
    allow: Vec<Rule>,
    /// What answers in place of the relay while the machinery is tried out.
    pub(crate) fakes: Fakes,
    complaints: Mutex<Complaints>,
    activity: Activity,
}

/// What a program is told of a connection that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A reset: ECONNREFUSED.
    Refused,
    /// An ICMP error.
    Unreachable(Unreachable),
}

impl Dialer {
    pub(crate) fn new(parent: Parent, allow: Vec<Rule>, activity: Activity) -> Self {
        Self {
            parent,
            allow,
            fakes: Fakes::default(),
            complaints: Mutex::default(),
            activity,
        }
    }

    /// A stream to the destination.
    pub(crate) async fn dial(&self, to: SocketAddr) -> Result<Stream, DialError> {
        if let Some(faked) = self.fakes.answer(to) {
            return faked.map_err(DialError::Faked);
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|rule| rule.matches(to)) {
            let allow: Vec<String> = self.allow.iter().map(Rule::to_string).collect();
            return Err(DialError::NotAllowed {
                allow: allow.join(", "),
            });
        }
        let asked = Instant::now();
        let accepted = self.parent.request(Command::Connect(to)).await?;
        self.activity.connected(asked.elapsed());
        Ok(accepted.stream)
    }

    /// Whether a line about a destination may be written now, and how many of its like were left out.
    pub(crate) fn admit(&self, to: SocketAddr, reason: &'static str) -> Option<u64> {
        let mut complaints = self.complaints.lock().ok()?;
        complaints.admit(to, reason, Instant::now())
    }

    /// Counts a failure. One line about it, once a minute for a destination and reason. `told` says that the
    /// program knows the reason too.
    pub(crate) fn complain(&self, to: SocketAddr, error: &DialError, told: bool) {
        if matches!(error, DialError::Faked(_)) {
            return;
        }
        self.activity.fail();
        let Some(left_out) = self.admit(to, error.kind()) else {
            return;
        };
        if told && !error.is_policy() {
            info!(%to, %error, left_out, "no connection");
        } else {
            warn!(%to, %error, left_out, "no connection");
        }
    }
}

/// Why there is no stream to a destination.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("--egress-allow permits {allow} only")]
    NotAllowed { allow: String },
    #[error("faked: {0}")]
    Faked(Reply),
}

impl DialError {
    /// What the program is told. ICMP has no word for a time-out, and a program would wait for its
    /// own for two minutes: the host is unreachable. An old parent closes for whatever reason, most
    /// often a refusal. Without the parent there is no network.
    pub(crate) fn answer(&self) -> Answer {
        let reply = match self {
            Self::Faked(reply) => *reply,
            Self::Request(RequestError::Refused { reply, .. }) => *reply,
            Self::NotAllowed { .. } => Reply::NotAllowed,
            Self::Request(RequestError::Closed { .. }) => Reply::ConnectionRefused,
            Self::Request(RequestError::Connect { .. }) => Reply::NetworkUnreachable,
            Self::Request(_) => Reply::HostUnreachable,
        };
        match reply {
            Reply::ConnectionRefused => Answer::Refused,
            Reply::NotAllowed => Answer::Unreachable(Unreachable::Prohibited),
            Reply::NetworkUnreachable => Answer::Unreachable(Unreachable::Network),
            _ => Answer::Unreachable(Unreachable::Host),
        }
    }

    /// The reason in a few words, by which lines are counted.
    fn kind(&self) -> &'static str {
        match self.answer() {
            _ if self.is_policy() => "policy",
            Answer::Refused => "refused",
            Answer::Unreachable(Unreachable::Network) => "network",
            Answer::Unreachable(_) => "host",
        }
    }

    fn is_policy(&self) -> bool {
        matches!(
            self,
            Self::NotAllowed { .. }
                | Self::Request(RequestError::Refused {
                    reply: Reply::NotAllowed,
                    ..
                })
        )
    }
}

#[cfg(test)]
mod tests;
