//! One lookup, in each way that there is.

use std::io;
use std::time::Duration;

use crate::questions::Lookup;
use crate::{Failure, Target};

mod libc;
mod reply;
mod tcp;
mod udp;
mod upstream;

/// A way to look names up, ready. Each worker has one of its own: it waits for its answer.
pub(crate) trait Ask: Send {
    /// Asks, and waits for the answer.
    fn ask(&mut self, lookup: &Lookup) -> Result<Answer, Failure>;
}

/// An answer: NOERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// It has no records (NODATA).
    pub(crate) is_empty: bool,
}

/// Makes a target ready to be asked.
pub(crate) fn open(target: &Target, timeout: Duration) -> Result<Box<dyn Ask>, OpenError> {
    Ok(match target {
        Target::StubUdp(server) | Target::Server(server) => {
            Box::new(udp::Udp::open(*server, timeout)?)
        }
        Target::StubTcp(server) => Box::new(tcp::Tcp::open(*server, timeout)?),
        Target::Getaddrinfo { .. } => Box::new(libc::Libc::open()?),
        Target::Upstream { parent, nameserver } => Box::new(upstream::Upstream::open(
            parent.clone(),
            *nameserver,
            timeout,
        )?),
    })
}

/// Why a target cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The stub or server is not there.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// Who.
        server: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Every lookup of the first round met a closed port.
    #[error("nobody listens at {server}; is proxify running here?")]
    NobodyListens {
        /// Who.
        server: String,
    },
    /// The way past the cache is closed.
    #[error("{source}")]
    Link {
        /// What the parent said, or did not say.
        source: link::RequestError,
    },
    /// The parent knows no DNS command.
    #[error(
        "the parent at {parent} runs no proxify-relay that carries DNS: past the cache nothing can be \
         measured there"
    )]
    OldParent {
        /// Who.
        parent: link::Parent,
    },
    /// A static program cannot do what this nsswitch.conf asks for.
    #[error(
        "/etc/nsswitch.conf looks hosts up by `{module}`, which a static program cannot load; programs \
         with libc of their own can"
    )]
    Module {
        /// A word of its `hosts` line.
        module: String,
    },
    /// The system gives no event loop.
    #[error("the system refuses what the link needs: {source}")]
    System {
        /// What it said.
        source: io::Error,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            // SO_RCVTIMEO ends a wait with EAGAIN.
            Kind::WouldBlock | Kind::TimedOut => Self::Timeout,
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable => {
                Self::Unreachable
            }
            Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => Self::Closed,
            _ => Self::System(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
