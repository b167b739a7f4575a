//! CONNECT (RFC 1928 §4): a TCP connection from the parent, and bytes both ways.
//!
//! Each direction ends on its own (half-close), as TCP's do; both end when nothing has moved for
//! [`IDLE`].

mod watched;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use link::Reply;
use link::socks::server;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::Limits;
use watched::Watched;

/// How long a tunnel without a byte is kept at least, and at most twice that: what TCP may expect of
/// a NAT (RFC 5382 §5, REQ-5). An enclave that was killed sends no end of file on vsock, and its
/// tunnels would count against the next one with its CID.
pub(crate) const IDLE: Duration = Duration::from_secs(2 * 3600 + 4 * 60);

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

/// Sends the reply and carries the bytes.
pub(crate) async fn serve<S, T>(
    mut stream: S,
    target: T,
    bound: SocketAddr,
    limits: &Limits,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let reply = server::write_reply(&mut stream, Reply::Succeeded, bound);
    timeout(limits.handshake, reply)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    carry(stream, target, limits).await
}

/// Copies until both directions have ended. A relay that drains leaves the tunnel its grace, and
/// drops it then.
pub(crate) async fn carry<S, T>(stream: S, mut target: T, limits: &Limits) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let moved = AtomicBool::new(false);
    let mut stream = Watched::new(stream, &moved);
    tokio::select! {
        copied = copy_bidirectional_with_sizes(
            &mut stream, &mut target, limits.buffer, limits.buffer,
        ) => copied.map(drop),
        () = idle(&moved) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Resolves once nothing has moved between two looks.
async fn idle(moved: &AtomicBool) {
    loop {
        sleep(IDLE).await;
        if !moved.swap(false, Ordering::Relaxed) {
            break;
        }
    }
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
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Reply::ConnectionRefused,
            io::ErrorKind::HostUnreachable => Reply::HostUnreachable,
            io::ErrorKind::NetworkUnreachable => Reply::NetworkUnreachable,
            io::ErrorKind::TimedOut => Reply::TimedOut,
            // A packet filter's refusal (EPERM, EACCES) is policy too.
            io::ErrorKind::PermissionDenied => Reply::NotAllowed,
            _ => Reply::GeneralFailure,
        }
    }
}

#[cfg(test)]
mod tests;
