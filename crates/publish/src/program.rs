//! The way to a program's listener in the enclave.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::listeners::{listening, reachable};

/// A connection to a listener on this machine: at once, unless its backlog is full, in which case the
/// kernel tries again after 1 s and 3 s.
const CONNECT: Duration = Duration::from_secs(5);

/// The program behind a published port.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// Whatever listens on this port, on whatever address.
    Named(u16),
    /// What is seen to listen, at these addresses alone: a port that is published by itself must not
    /// lead to another program's listener on loopback.
    Seen(watch::Receiver<Vec<SocketAddr>>),
}

impl Program {
    pub(crate) fn named(port: u16) -> Self {
        Self::Named(port)
    }

    /// A connection to it.
    ///
    /// # Errors
    ///
    /// It does not listen, or not in time.
    pub(crate) async fn connect(&self) -> Result<TcpStream, ProgramError> {
        match self {
            Self::Seen(addresses) => {
                let addresses = addresses.borrow().clone();
                connect_to(&addresses).await
            }
            Self::Named(port) => {
                let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                match connect_to(&loopback.map(|ip| SocketAddr::new(ip, *port))).await {
                    Ok(stream) => Ok(stream),
                    Err(error) => match elsewhere(*port) {
                        addresses if addresses.is_empty() => Err(error),
                        addresses => connect_to(&addresses).await,
                    },
                }
            }
        }
    }
}

/// Where else than on loopback something listens on `port`.
fn elsewhere(port: u16) -> Vec<SocketAddr> {
    let listeners = listening().unwrap_or_default().into_iter();
    let addresses = listeners.map(|listener| reachable(listener.address));
    addresses
        .filter(|address| address.port() == port && !address.ip().is_loopback())
        .collect()
}

/// The first of these that is connected.
async fn connect_to(addresses: &[SocketAddr]) -> Result<TcpStream, ProgramError> {
    let mut failure = ProgramError::Gone;
    for address in addresses.iter().copied() {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            // Nothing listens, and the port is one that the kernel gives to connections: this got it, and
            // would keep the program from listening there.
            Ok(Ok(stream)) if is_itself(&stream) => {
                let _ = stream.set_zero_linger();
                let source = io::ErrorKind::ConnectionRefused.into();
                failure = ProgramError::Connect { address, source };
            }
            Ok(Ok(stream)) => {
                // The client's end decides what belongs together; here nothing waits for more.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(source)) => failure = ProgramError::Connect { address, source },
            Err(_) => failure = ProgramError::TimedOut { address },
        }
    }
    Err(failure)
}

/// Whether both ends are one socket (RFC 9293 §3.5, simultaneous open).
fn is_itself(stream: &TcpStream) -> bool {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        // It has ended already, as its bytes will show.
        _ => false,
    }
}

/// Why there is no connection to the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("no program listens there any more")]
    Gone,
    #[error("cannot connect to the program at {address}: {source}; does it listen?")]
    Connect {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("the program at {address} did not accept within {} s", CONNECT.as_secs())]
    TimedOut { address: SocketAddr },
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_connected_to_itself_is_no_program() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(is_itself(&socket.connect(address).await.unwrap()));
        let program = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = program.local_addr().unwrap();
        assert!(!is_itself(&TcpStream::connect(address).await.unwrap()));
    }
}
