//! The relay's end: a bound socket and who connected to it.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::{TcpListener, TcpSocket, UnixSocket};
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};

use crate::address::unix_path;
use crate::local::LocalListener;
use crate::{ListenAddress, Stream};

/// Connections that wait to be accepted: an enclave that boots opens a handful at once.
const BACKLOG: u32 = 1024;

/// The unix socket's mode: its owner and group may use the relay, nobody else.
const UNIX_MODE: u32 = 0o660;

/// A bound socket of the relay. Dropping it takes a unix socket's file away.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    endpoint: String,
}

/// Who is at the other end: the unit of the limit on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An enclave, by its vsock context id.
    Cid(u32),
    /// A process on the unix socket: the monitor of one guest (Firecracker, vhost-device-vsock), or
    /// one `proxify` of a sandbox. Its id as seen from here, or 0 where this process's namespace does
    /// not show it; when the process has ended, another may get the same.
    Unix(u32),
    /// A host on TCP.
    Tcp(IpAddr),
}

impl Listener {
    /// Binds and listens. A `tcp:` address must be loopback; see [`Self::bind_remote`].
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(address: &ListenAddress, port: u32) -> Result<Self, BindError> {
        match address {
            ListenAddress::Tcp(ip) if !ip.is_loopback() => Err(BindError::NotLoopback { ip: *ip }),
            address => Self::bind_remote(address, port),
        }
    }

    /// As [`Self::bind`], and `tcp:` may be any address: whoever reaches it can use the relay.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind_remote(address: &ListenAddress, port: u32) -> Result<Self, BindError> {
        let endpoint = address.endpoint(port);
        let failed = |source| BindError::Bind {
            endpoint: endpoint.clone(),
            source,
        };
        let socket = match address {
            ListenAddress::VsockAny => {
                VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port)).map(Socket::Vsock)
            }
            ListenAddress::Unix(prefix) => {
                let path = unix_path(prefix, port);
                let lock = lock(&path).map_err(failed)?;
                replace_stale(&path)?;
                let bound = bind_unix(path).map(Socket::Unix);
                drop(lock);
                bound
            }
            ListenAddress::Tcp(ip) => {
                let port = u16::try_from(port).map_err(|_| BindError::Port { port })?;
                bind_tcp(SocketAddr::new(*ip, port)).map(Socket::Tcp)
            }
        }
        .map_err(failed)?;
        let endpoint = match &socket {
            // Port 0 is the system's choice.
            Socket::Tcp(listener) => {
                let bound = listener.local_addr().map_err(failed)?;
                address.endpoint(bound.port().into())
            }
            _ => endpoint,
        };
        Ok(Self { socket, endpoint })
    }

    /// The next connection and who made it.
    ///
    /// # Errors
    ///
    /// What the system says. The listener stays good: a peer that left in between, or a lack of
    /// descriptors, concerns one connection.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Vsock(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Vsock(stream), vsock_peer(from)))
            }
            Socket::Unix(bound) => {
                let (stream, pid) = bound.listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix(pid)))
            }
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Replies and DNS frames are small and waited for.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Peer::Tcp(from.ip())))
            }
        }
    }
}

/// As [`Parent`](crate::Parent) writes it, with the port that was bound.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cid(cid) => write!(f, "vsock:{cid}"),
            Self::Unix(pid) => write!(f, "unix:{pid}"),
            Self::Tcp(ip) => write!(f, "tcp:{ip}"),
        }
    }
}

/// Why the relay has no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refused.
    #[error("cannot listen on {endpoint}: {source}{}", hint(.source))]
    Bind {
        /// What was to be bound.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers on the unix socket.
    #[error("cannot listen on unix:{}: another process serves it; stop it, or choose another prefix", path.display())]
    InUse {
        /// The socket's file.
        path: PathBuf,
    },
    /// A file that is no socket stands there, and is left alone.
    #[error("cannot listen on unix:{}: the file is not a socket; remove it, or choose another prefix", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// TCP beyond this machine was not asked for.
    #[error("tcp:{ip} is not loopback: whoever reaches it could use the relay")]
    NotLoopback {
        /// The address.
        ip: IpAddr,
    },
    /// Above 65535, which only vsock and unix sockets have.
    #[error("{port} is not a TCP port")]
    Port {
        /// The port.
        port: u32,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; is another relay running?",
        io::ErrorKind::NotFound => "; does the directory exist?",
        io::ErrorKind::PermissionDenied => "; may this user write there?",
        _ if source.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            "; this kernel has no vsock (module vsock), use unix:PREFIX"
        }
        _ => "",
    }
}

#[derive(Debug)]
enum Socket {
    Vsock(VsockListener),
    Unix(UnixBound),
    Tcp(TcpListener),
}

/// A listening unix socket and the file that is ours to take away.
#[derive(Debug)]
struct UnixBound {
    listener: LocalListener,
    path: PathBuf,
    /// Device and inode: the file may have been replaced by another relay's since.
    file: (u64, u64),
}

impl Drop for UnixBound {
    fn drop(&mut self) {
        if file_of(&self.path).is_ok_and(|file| file == self.file) {
            // Nothing is left to do about a file that cannot be removed: the next relay will
            // find it stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn vsock_peer(from: VsockAddr) -> Peer {
    Peer::Cid(from.cid())
}

fn bind_unix(path: PathBuf) -> io::Result<UnixBound> {
    let socket = UnixSocket::new_stream()?;
    // The file takes the socket's mode (less the umask) as bind creates it, so that it is at no
    // moment open to others.
    fchmod(&socket, Mode::from_bits_truncate(UNIX_MODE))?;
    socket.bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(UNIX_MODE))?;
    let file = file_of(&path)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    Ok(UnixBound {
        listener: LocalListener::new(listener)?,
        path,
        file,
    })
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A relay that was restarted takes its port again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Held from the look at a stale socket until the new one listens, or of two relays that start at
/// once the second would take the first one's socket for stale. The file `PREFIX_PORT.lock` stays:
/// whoever removed it could remove another's lock.
fn lock(path: &Path) -> io::Result<File> {
    let mut lock = OsString::from(path);
    lock.push(".lock");
    let mut options = File::options();
    options.create(true).append(true).mode(UNIX_MODE);
    let file = options.open(lock)?;
    file.lock()?;
    Ok(file)
}

/// Removes the socket that a killed relay left, if nobody answers on it.
fn replace_stale(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.into() });
    }
    if answers(path) {
        return Err(BindError::InUse { path: path.into() });
    }
    let failed = |source| BindError::Bind {
        endpoint: format!("unix:{}", path.display()),
        source,
    };
    std::fs::remove_file(path).map_err(failed)
}

/// Whether a process listens on the socket, without waiting for a place in its queue.
fn answers(path: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let attempt = || {
        let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(probe.as_raw_fd(), &UnixAddr::new(path)?)
    };
    // Anything but a refusal (a full queue, no right to connect) means that it may be served.
    attempt() != Err(Errno::ECONNREFUSED)
}

#[cfg(test)]
mod tests;
