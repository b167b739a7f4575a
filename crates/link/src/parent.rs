//! The parent as the enclave dials it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_vsock::{VsockAddr, VsockStream};

use crate::address::unix_path;
use crate::socks::client::{self, ExchangeError};
use crate::{Address, Command, Local, Reply, Stream};

/// From dialling to the reply. A parent that is killed sends nothing on vsock, and the relay
/// itself gives a request this long; its CONNECT gives up earlier, so that its reply is seen.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// The parent endpoint that the enclave dials. `Display` gives `vsock:3:8888`,
/// `unix:/run/x_8888` or `tcp:127.0.0.1:8888`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parent {
    address: Address,
    port: u32,
    remote: bool,
}

/// A request that the parent granted.
#[derive(Debug)]
pub struct Accepted {
    /// The stream, at the first byte after the reply.
    pub stream: Stream,
    /// The address that the parent bound for the command.
    pub bound: SocketAddr,
}

impl Accepted {
    /// For BIND: waits for a connection to come in, and says who made it. The stream then carries
    /// that connection's bytes.
    ///
    /// # Errors
    ///
    /// See [`client::read_second_reply`].
    pub async fn accept_peer(&mut self) -> Result<SocketAddr, ExchangeError> {
        client::read_second_reply(&mut self.stream).await
    }
}

impl Parent {
    /// The parent at `address`. A `tcp:` address must be loopback: see [`Self::allow_remote`].
    pub fn new(address: Address, port: u32) -> Self {
        Self {
            address,
            port,
            remote: false,
        }
    }

    /// Lets a `tcp:` address be another than loopback. Whoever is on the path then reads and
    /// writes everything that is not encrypted by APP itself.
    #[must_use]
    pub fn allow_remote(mut self) -> Self {
        self.remote = true;
        self
    }

    /// Where the parent is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The port of the relay there.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Dials, asks and waits for the reply: one round trip, all within [`HANDSHAKE`].
    ///
    /// # Errors
    ///
    /// See [`RequestError`].
    pub async fn request(&self, command: Command) -> Result<Accepted, RequestError> {
        match timeout(HANDSHAKE, self.exchange(command)).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::TimedOut {
                parent: self.clone(),
                command,
            }),
        }
    }

    async fn exchange(&self, command: Command) -> Result<Accepted, RequestError> {
        let parent = self.clone();
        let mut stream = match self.dial().await {
            Ok(stream) => stream,
            Err(source) => return Err(RequestError::Connect { parent, source }),
        };
        match client::request(&mut stream, command).await {
            Ok(bound) => Ok(Accepted { stream, bound }),
            Err(ExchangeError::Closed) => Err(RequestError::Closed { parent, command }),
            Err(ExchangeError::Refused(reply)) => Err(RequestError::Refused {
                parent,
                command,
                reply,
            }),
            Err(source @ (ExchangeError::Malformed { .. } | ExchangeError::Stalled)) => {
                Err(RequestError::Malformed {
                    parent,
                    command,
                    source,
                })
            }
            Err(ExchangeError::Io(source)) => Err(RequestError::Io {
                parent,
                command,
                source,
            }),
        }
    }

    async fn dial(&self) -> io::Result<Stream> {
        match &self.address {
            Address::Vsock(cid) => VsockStream::connect(VsockAddr::new(*cid, self.port))
                .await
                .map(Stream::Vsock),
            Address::Unix(prefix) => {
                Local::connect(&unix_path(prefix, self.port)).map(Stream::Unix)
            }
            Address::Tcp(ip) => {
                if !ip.is_loopback() && !self.remote {
                    return Err(invalid(format!(
                        "{ip} is not loopback: a TCP link is for tests"
                    )));
                }
                let port = u16::try_from(self.port)
                    .map_err(|_| invalid(format!("{} is not a TCP port", self.port)))?;
                let stream = TcpStream::connect(SocketAddr::new(*ip, port)).await?;
                // Requests and DNS frames are small and waited for.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address.endpoint(self.port))
    }
}

/// Why a request to the parent came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection: no relay there, or none reachable.
    #[error("cannot connect to the parent at {parent}: {source}; is proxify-relay running there?")]
    Connect {
        /// Who was dialled.
        parent: Parent,
        /// What the system said.
        source: io::Error,
    },
    /// [`HANDSHAKE`] went by.
    #[error("the parent at {parent} did not answer {command} within {} s", HANDSHAKE.as_secs())]
    TimedOut {
        /// Who was dialled.
        parent: Parent,
        /// What was asked.
        command: Command,
    },
    /// The parent said no.
    #[error("the parent at {parent} refused {command}: {reply}")]
    Refused {
        /// Who was dialled.
        parent: Parent,
        /// What was asked.
        command: Command,
        /// Its code.
        reply: Reply,
    },
    /// An end of file in place of a reply: an old parent that does not know the command or
    /// could not connect, or a relay that is restarting. Never to be remembered for long.
    #[error("the parent at {parent} closed without a reply to {command}")]
    Closed {
        /// Who was dialled.
        parent: Parent,
        /// What was asked.
        command: Command,
    },
    /// What listens there does not speak SOCKS5.
    #[error(
        "the parent at {parent} gave no SOCKS5 answer to {command}: {source}; is that the relay's port?"
    )]
    Malformed {
        /// Who was dialled.
        parent: Parent,
        /// What was asked.
        command: Command,
        /// The field that was wrong.
        source: ExchangeError,
    },
    /// The connection failed in between.
    #[error("the connection to the parent at {parent} failed during {command}: {source}")]
    Io {
        /// Who was dialled.
        parent: Parent,
        /// What was asked.
        command: Command,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
