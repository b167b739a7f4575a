//! BIND (RFC 1928 §4): a port of the parent's, and one connection that comes in on it.
//!
//! The first reply says where the parent listens, the second, when a connection has come in, who made
//! it; then the stream carries that connection's bytes. So an enclave that publishes a port keeps some
//! BINDs waiting, each a connection of the link, and sends another for each that is taken.
//!
//! [`Ports`] has the listeners. Here is one BIND, from its first reply to its second. A guest that is
//! killed sends nothing on vsock, and a connection handed to it would be lost: so none waits longer
//! than [`WAIT`]. Then the relay closes it, and the enclave, the old one too, sends another at once.

mod listener;
mod place;
mod ports;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use link::Reply;
use link::socks::server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{sleep, timeout};

pub(crate) use place::{Client, Place, QueueError};
pub(crate) use ports::Ports;

use crate::config::Limits;

/// How long a BIND waits for a connection: what one of a killed enclave is in the way of its next.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// Which of the parent's addresses enclaves may listen on (`--bind`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindTo {
    /// Those that the enclave names: all, if it names none.
    #[default]
    Any,
    /// This one alone.
    Only(IpAddr),
    /// None: every BIND is refused.
    None,
}

/// Waits in `place` until a connection has come in and the enclave has been told whose; `None` when
/// the wait is over without one.
///
/// # Errors
///
/// What the enclave did wrong, or could not be told.
pub(crate) async fn wait<S>(
    stream: &mut S,
    asked: SocketAddr,
    mut place: Place,
    limits: &Limits,
) -> Result<Option<Client>, WaitError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tell(stream, bound(asked, place.bound()), limits).await?;
    let mut early = [0];
    let client = tokio::select! {
        // An enclave that has gone is noticed before it is given a connection.
        biased;
        read = stream.read(&mut early) => match read {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => return Err(WaitError::Early),
        },
        client = place.client() => client,
        () = sleep(limits.bind_wait) => return Ok(None),
    };
    let Some(client) = client else {
        return Ok(None);
    };
    let ip = match client.address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    match tell(
        stream,
        SocketAddr::new(ip.into(), client.address.port()),
        limits,
    )
    .await
    {
        Ok(()) => Ok(Some(client)),
        Err(error) => {
            place.give_back(client);
            Err(error)
        }
    }
}

async fn tell<S>(stream: &mut S, address: SocketAddr, limits: &Limits) -> Result<(), WaitError>
where
    S: AsyncWrite + Unpin,
{
    let reply = server::write_reply(stream, Reply::Succeeded, address);
    let written = timeout(limits.handshake, reply).await;
    written
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(WaitError::Reply)
}

/// The bound address in the family of the request: an old enclave reads ten bytes, whatever they say.
fn bound(asked: SocketAddr, bound: SocketAddr) -> SocketAddr {
    match (asked, bound) {
        (SocketAddr::V4(_), SocketAddr::V6(_)) => {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), bound.port())
        }
        _ => bound,
    }
}

/// Why a BIND that waited was ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("bytes came before a connection had come in")]
    Early,
    #[error("cannot send the reply: {0}")]
    Reply(io::Error),
}

/// Text that is no value of `--bind`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither any, none nor an IP address of this machine such as 10.0.0.10")]
pub struct ParseBindToError {
    text: String,
}

impl FromStr for BindTo {
    type Err = ParseBindToError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self::Any),
            "none" => Ok(Self::None),
            _ => text
                .parse()
                .map(Self::Only)
                .map_err(|_| ParseBindToError { text: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests;
