//! CONNECT (RFC 1928 §4): a TCP connection from the parent, and bytes both ways.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use link::socks::server::Request;
use link::{Carried, Reply, Stream, carry_counted};
use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Limits;
use crate::counters::Tunnel;

/// A connection and its local address; an error says with which reply to refuse the request.
pub(crate) async fn connect(
    to: SocketAddr,
    limits: &Limits,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let setup = async {
        let stream = TcpStream::connect(to).await?;
        // The enclave's end decides what belongs together; here nothing waits for more.
        stream.set_nodelay(true)?;
        let bound = stream.local_addr()?;
        Ok((stream, bound))
    };
    match timeout(limits.connect, setup).await {
        Ok(connected) => connected.map_err(|source| ConnectError::System { source }),
        Err(_) => Err(ConnectError::TimedOut {
            limit: limits.connect,
        }),
    }
}

/// Sends the reply and carries bytes until both directions have ended. A relay that drains leaves
/// the tunnel its grace, and drops it then.
pub(crate) async fn serve(
    mut stream: Stream,
    request: Request,
    target: TcpStream,
    bound: SocketAddr,
    limits: &Limits,
    open: &Tunnel<'_>,
) -> io::Result<Carried> {
    let reply = request.reply(&mut stream, Reply::Succeeded, bound);
    timeout(limits.handshake, reply)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    let count = |out, into| open.moved(out, into);
    Ok(carry_counted(stream, Stream::Tcp(target), count).await)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no answer within {limit:?}")]
    TimedOut { limit: Duration },
    #[error(transparent)]
    System { source: io::Error },
}

impl ConnectError {
    /// What the enclave is told.
    pub(crate) fn reply(&self) -> Reply {
        let Self::System { source } = self else {
            return Reply::TimedOut;
        };
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ECONNREFUSED | Errno::ECONNRESET) => Reply::ConnectionRefused,
            Some(Errno::EHOSTUNREACH | Errno::EHOSTDOWN) => Reply::HostUnreachable,
            Some(Errno::ENETUNREACH | Errno::ENETDOWN) => Reply::NetworkUnreachable,
            Some(Errno::ETIMEDOUT) => Reply::TimedOut,
            // A packet filter's refusal, here or on the way (ICMP), is policy too.
            Some(Errno::EPERM | Errno::EACCES) => Reply::NotAllowed,
            // A parent without IPv6.
            Some(Errno::EAFNOSUPPORT) => Reply::AddressTypeNotSupported,
            _ => Reply::GeneralFailure,
        }
    }
}

#[cfg(test)]
mod tests;
