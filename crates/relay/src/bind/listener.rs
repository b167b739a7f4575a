//! Makes a listening socket at an address that an enclave asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use link::Reply;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait in the kernel until the enclave asks for the next: as many as Linux allows a
/// socket by default (net.core.somaxconn).
const BACKLOG: u32 = 4096;

/// The first port that every user may listen on (ip(7), ip_unprivileged_port_start).
const UNPRIVILEGED: u16 = 1024;

/// Listens at `address`; at [::] on IPv4 as well, and on IPv4 alone where there is no IPv6.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let failed = |source: io::Error| ListenError::new(address, source);
    match bind(address) {
        Err(error)
            if address.ip().is_unspecified()
                && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
        {
            bind(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
            .map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(ip) => {
            let socket = TcpSocket::new_v6()?;
            setsockopt(&socket, sockopt::Ipv6V6Only, &!ip.is_unspecified())?;
            socket
        }
    };
    // Connections of a listener before this one may linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why the parent does not listen where it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: a program of the parent's listens there")]
    InUse { address: SocketAddr },
    #[error(
        "cannot listen on {address}: ports below {UNPRIVILEGED} need CAP_NET_BIND_SERVICE (in a \
         systemd unit AmbientCapabilities=CAP_NET_BIND_SERVICE); or publish on a higher one, as in \
         --publish 8443:443"
    )]
    Privileged { address: SocketAddr },
    #[error("cannot listen on {address}: it is not an address of the parent")]
    NotOurs { address: SocketAddr },
    #[error("cannot listen on {address}: {source}")]
    System {
        address: SocketAddr,
        source: io::Error,
    },
}

impl ListenError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied if address.port() < UNPRIVILEGED => {
                Self::Privileged { address }
            }
            io::ErrorKind::AddrNotAvailable => Self::NotOurs { address },
            _ => Self::System { address, source },
        }
    }

    /// What the enclave is told.
    pub(super) fn reply(&self) -> Reply {
        match self {
            Self::NotOurs { .. } => Reply::HostUnreachable,
            Self::InUse { .. } | Self::Privileged { .. } | Self::System { .. } => {
                Reply::GeneralFailure
            }
        }
    }
}
