//! A connection to a nameserver, by what the parent can do.
//!
//! Our relay knows DNS (0xD0). The old `proxy` closes on it without a reply, and then CONNECT is
//! tried in the same attempt. A relay that is restarting looks the same, so nothing is remembered:
//! each attempt begins with 0xD0, which costs an old parent one dial a connection, and a connection
//! that lasts is left as soon as the parent has a relay.

use std::net::SocketAddr;
use std::time::Duration;

use link::{Command, Parent, Reply, RequestError, Stream};
use resolver::Failed;
use tokio::time::{Instant, sleep, timeout_at};

/// How long opening a connection may take, both requests together: a lookup ends after 4 s.
const OPEN: Duration = Duration::from_secs(2);

/// When a relay is looked for on a connection of plain TCP: soon, since it may have been restarting
/// when the connection was opened ...
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// ... and then this often, one dial each.
const LOOK: Duration = Duration::from_secs(60);

/// How messages reach the nameserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Our relay sends them by UDP and answers each.
    Relay,
    /// A TCP connection to the nameserver, through a parent that knows no DNS.
    PlainTcp,
}

impl Carrier {
    /// What a query costs of AmazonDNS's quota, which counts packets: over TCP the query, and the ACK of
    /// its answer.
    pub(crate) fn packets(self) -> u32 {
        match self {
            Self::Relay => 1,
            Self::PlainTcp => 2,
        }
    }

    /// What a connection does that brings no answer for [`RELAY_SILENCE`](super::RELAY_SILENCE) or
    /// [`TCP_SILENCE`](super::TCP_SILENCE).
    pub(super) fn silence(self) -> &'static str {
        match self {
            Self::Relay => "gave no answer for 3 s, nor did the relay in its place",
            Self::PlainTcp => "gave no answer over TCP for 2 s",
        }
    }

    /// What a connection costs beside: SYN, ACK and FIN. Where each lookup has one of its own, those five
    /// meet the quota near 200 lookups a second (kubernetes#111975).
    pub(crate) fn packets_to_connect(self) -> u32 {
        match self {
            Self::Relay => 0,
            Self::PlainTcp => 3,
        }
    }
}

pub(super) async fn open(
    parent: &Parent,
    nameserver: SocketAddr,
) -> Result<(Stream, Carrier), OpenError> {
    let deadline = Instant::now() + OPEN;
    match request(parent, Command::Dns(nameserver), deadline).await {
        Ok(stream) => return Ok((stream, Carrier::Relay)),
        Err(OpenError::Request(error)) if is_unknown_command(&error) => {}
        Err(error) => return Err(error),
    }
    match request(parent, Command::Connect(nameserver), deadline).await {
        Ok(stream) => Ok((stream, Carrier::PlainTcp)),
        Err(OpenError::Request(error @ RequestError::Connect { .. })) => {
            Err(OpenError::Request(error))
        }
        Err(OpenError::Request(error)) => Err(OpenError::OverTcp(error)),
        Err(OpenError::Slow { .. }) => Err(OpenError::SlowOverTcp { nameserver }),
        Err(error) => Err(error),
    }
}

/// Completes when the parent of a connection over plain TCP grants DNS.
pub(super) async fn look_for_relay(
    parent: &Parent,
    nameserver: SocketAddr,
    carrier: Carrier,
) -> Stream {
    if carrier == Carrier::Relay {
        return std::future::pending().await;
    }
    let mut rest = FIRST_LOOK;
    loop {
        sleep(rest).await;
        rest = LOOK;
        let deadline = Instant::now() + OPEN;
        if let Ok(stream) = request(parent, Command::Dns(nameserver), deadline).await {
            return stream;
        }
    }
}

async fn request(
    parent: &Parent,
    command: Command,
    deadline: Instant,
) -> Result<Stream, OpenError> {
    match timeout_at(deadline, parent.request(command)).await {
        Ok(Ok(accepted)) => Ok(accepted.stream),
        Ok(Err(error)) => Err(OpenError::Request(error)),
        Err(_) => Err(OpenError::Slow {
            parent: parent.clone(),
        }),
    }
}

/// Other SOCKS5 servers say so; the old `proxy` closes.
fn is_unknown_command(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::Closed { .. }
            | RequestError::Refused {
                reply: Reply::CommandNotSupported,
                ..
            }
    )
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Request(RequestError),
    #[error(
        "the parent at {parent} did not grant a connection within {} s; is proxify-relay stuck there?",
        OPEN.as_secs()
    )]
    Slow { parent: Parent },
    #[error(
        "{0}: it knows no DNS and cannot reach the nameserver by TCP, or is just being restarted"
    )]
    OverTcp(RequestError),
    #[error(
        "the parent, which knows no DNS, did not reach {nameserver} by TCP within {} s",
        OPEN.as_secs()
    )]
    SlowOverTcp { nameserver: SocketAddr },
}

impl OpenError {
    /// Who is to blame: others are asked when it is the nameserver.
    pub(super) fn as_failed(&self) -> Failed {
        match self {
            Self::Request(RequestError::Refused { .. })
            | Self::OverTcp(_)
            | Self::SlowOverTcp { .. } => Failed::Unreachable,
            Self::Request(_) | Self::Slow { .. } => Failed::Link,
        }
    }
}
