//! The forwarder: a listener on loopback, to which the packet rules turn connections, and bytes both
//! ways.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::{Seldom, Stream};
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::activity::{Activity, Open};
use crate::detour::Detour;
use crate::dial::Dialer;
use crate::netfilter::Family;
use crate::sockets::original_destination;

/// Connections carried at a time: as many as the relay takes from one enclave, with two descriptors
/// each well within what proxify raises its limit to. Those beyond it wait in the kernel.
pub(crate) const CONNECTIONS: usize = 16 * 1024;

/// Connections that the kernel may have established before they are accepted (listen(2)); it keeps
/// to net.core.somaxconn too.
pub(crate) const BACKLOG: u32 = 4096;

/// A pause when descriptors or memory are short: others end meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// What happens to connections that come in.
#[derive(Clone, Debug)]
pub(crate) enum Turned {
    /// Their relay's connection is yet to be made.
    ByRedirect(Arc<Dialer>, Arc<Semaphore>),
    /// It is made already.
    ByDetour(Arc<Detour>),
}

/// Listens on loopback, at a port that is free.
pub(crate) fn listen(family: Family) -> io::Result<TcpListener> {
    let (socket, ip) = match family {
        Family::V4 => (TcpSocket::new_v4()?, IpAddr::from(Ipv4Addr::LOCALHOST)),
        Family::V6 => (TcpSocket::new_v6()?, IpAddr::from(Ipv6Addr::LOCALHOST)),
    };
    socket.bind(SocketAddr::new(ip, 0))?;
    socket.listen(BACKLOG)
}

/// Accepts and carries connections for as long as it is polled.
pub(crate) async fn serve(
    listener: TcpListener,
    family: Family,
    turned: Turned,
    activity: Activity,
) {
    let mut shortage = Seldom::default();
    loop {
        let permit = match &turned {
            // It is never closed.
            Turned::ByRedirect(_, seats) => seats.clone().acquire_owned().await.ok(),
            // Each has a permit since its SYN.
            Turned::ByDetour(_) => None,
        };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            // It ended before it was accepted.
            Err(error) if !is_shortage(&error) => continue,
            Err(error) => {
                if let Some(left_out) = shortage.admit(Instant::now()) {
                    warn!(%error, left_out, "no more connections for the moment");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        let to = match original_destination(&stream, family) {
            Ok(to) if !to.ip().is_loopback() => to,
            // Somebody connected to our own port, and would be carried back to it.
            _ => {
                debug!(%from, "a connection to the forwarder itself: closed");
                reset(&stream);
                continue;
            }
        };
        match &turned {
            Turned::ByRedirect(dialer, _) => {
                let activity = activity.clone();
                tokio::spawn(redirected(stream, to, dialer.clone(), permit, activity));
            }
            Turned::ByDetour(detour) => match detour.claim(from, to) {
                Some(claimed) => {
                    let open = activity.enter();
                    tokio::spawn(async move {
                        let (far, held) = claimed.split();
                        carry(stream, far, open).await;
                        drop(held);
                    });
                }
                None => {
                    debug!(%from, %to, "a connection that nobody waits for: closed");
                    reset(&stream);
                }
            },
        }
    }
}

/// Too many descriptors, of this process or of all, or too little memory (accept(2)).
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    shortages
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

async fn redirected(
    stream: TcpStream,
    to: SocketAddr,
    dialer: Arc<Dialer>,
    permit: Option<OwnedSemaphorePermit>,
    activity: Activity,
) {
    match dialer.dial(to).await {
        Ok(far) => carry(stream, far, activity.enter()).await,
        Err(error) => {
            dialer.complain(to, &error, false);
            reset(&stream);
        }
    }
    drop(permit);
}

async fn carry(near: TcpStream, far: Stream, open: Open) {
    // What a program writes at once is not to wait for an acknowledgement from ourselves.
    let _ = near.set_nodelay(true);
    let carried = link::carry(Stream::Tcp(near), far).await;
    drop(open);
    debug!(?carried, "a connection ended");
}

/// Makes the connection end by a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
