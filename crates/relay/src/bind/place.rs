//! One BIND's place in the queue of a port, and the connection that it is there for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use link::{Peer, Reply};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tracing::debug;

use super::listener::ListenError;
use super::ports::{Key, PORTS, Ports, WAITING};

/// A connection that came in.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
}

/// A BIND's place in the queue of a port. Dropped, it is free, and a connection that was on its way
/// here goes to another.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) ports: Arc<Ports>,
    pub(super) port: Key,
    pub(super) bound: SocketAddr,
    pub(super) number: u64,
    pub(super) client: oneshot::Receiver<Client>,
}

impl Client {
    pub(super) fn new(stream: TcpStream, address: SocketAddr) -> Self {
        // The client's end decides what belongs together; an error means that it has gone already.
        let _ = stream.set_nodelay(true);
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { stream, address }
    }

    /// Ends a connection that nobody serves, as the kernel ends those that it has not handed out.
    pub(super) fn reset(self) {
        debug!(client = %self.address, "reset: its enclave has gone");
        let _ = self.stream.set_zero_linger();
    }
}

impl Place {
    /// Where the port's listener is.
    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The connection that comes in for this place; `None` when none will.
    pub(crate) async fn client(&mut self) -> Option<Client> {
        (&mut self.client).await.ok()
    }

    /// Lets another waiter have it.
    pub(crate) fn give_back(self, client: Client) {
        self.ports.put(self.port, client);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.client.close();
        if let Ok(client) = self.client.try_recv() {
            self.ports.put(self.port, client);
        }
        self.ports.leave(self.port, self.number);
    }
}

/// Why a BIND has no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    #[error("{address} is taken by {owner}, and belongs to one enclave at a time")]
    Taken { address: SocketAddr, owner: Peer },
    #[error("`--bind none` closes all ports")]
    Off,
    #[error("`--bind {only}` permits that address only")]
    Only { only: IpAddr },
    #[error("it listens on {PORTS} ports already")]
    Ports,
    #[error("{WAITING} wait on the port already")]
    Waiting,
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl QueueError {
    /// What the enclave is told.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Taken { .. } | Self::Off | Self::Only { .. } => Reply::NotAllowed,
            Self::Ports | Self::Waiting => Reply::GeneralFailure,
            Self::Listen(error) => error.reply(),
        }
    }
}
