//! The socket's place in the file system.
//!
//! Whoever can open it can ask, so it is never wider than 0600, not even for a moment: the mode that a
//! bound socket gets is that of its file descriptor, less the umask (unix(7); `unix_bind` in Linux),
//! and is set before. It appears by rename, in the place of what a killed proxify left: who is to bind
//! is decided elsewhere, by a lock.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::UnixListener;

/// Connections that may wait in the kernel.
const BACKLOG: i32 = 16;

/// A bound socket's file, which goes with it.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device and inode: what another has put there meanwhile is left alone.
    id: (u64, u64),
}

impl Place {
    /// Binds a socket at `path`, in the place of another socket. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The system refuses, or something else than a socket is there.
    pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Self), SocketError> {
        let place = || path.to_owned();
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::Occupied { path: place() });
            }
            _ => {}
        }
        bind_in_place(path).map_err(|source| SocketError::System {
            path: place(),
            source,
        })
    }
}

fn bind_in_place(path: &Path) -> io::Result<(UnixListener, Place)> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&listener, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&new)?)?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    let found = fs::symlink_metadata(&new)?;
    fs::rename(&new, path)?;
    let place = Place {
        path: path.to_owned(),
        id: (found.dev(), found.ino()),
    };
    let listener = UnixListener::from_std(net::UnixListener::from(listener))?;
    Ok((listener, place))
}

impl Drop for Place {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.id) {
            // What is left says that nobody listens.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error("cannot make the control socket {}: {source}", path.display())]
    System {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of somebody else's.
    #[error("{} is in the way of the control socket: it is no socket", path.display())]
    Occupied {
        /// Where the socket was to be.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn nobody_else_may_open_it_and_it_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.sock");
        let (listener, place) = Place::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        net::UnixStream::connect(&path).unwrap();
        drop((listener, place));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_one_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.sock");
        drop(net::UnixListener::bind(&path).unwrap());
        drop(net::UnixListener::bind(directory.path().join("proxify.sock.new")).unwrap());
        net::UnixStream::connect(&path).unwrap_err();
        let _bound = Place::bind(&path).unwrap();
        net::UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_successors_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.sock");
        let first = Place::bind(&path).unwrap();
        let _second = Place::bind(&path).unwrap();
        drop(first);
        net::UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_and_a_missing_directory_are_errors_that_name_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.sock");
        fs::write(&path, "precious").unwrap();
        let error = Place::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::Occupied { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let path = directory.path().join("none/proxify.sock");
        let error = Place::bind(&path).unwrap_err().to_string();
        assert!(error.contains("none/proxify.sock: No such file"), "{error}");
    }
}
