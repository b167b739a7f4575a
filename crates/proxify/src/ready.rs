//! Says that names are served, to whoever waits: a service manager by NOTIFY_SOCKET (sd_notify(3))
//! and an init script by a descriptor (as s6's notification-fd: a line, then closed).
//!
//! Only `proxify dns` speaks for itself. Under `proxify -- APP` NOTIFY_SOCKET is APP's own, and is
//! passed on untouched.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::libc;
use tracing::warn;

/// Who is to be told.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    descriptor: Option<File>,
    notify_socket: Option<OsString>,
}

impl Ready {
    /// Takes the descriptor over. Called before anything else is opened, since a number that the
    /// caller left closed would become that of a file of ours.
    ///
    /// # Errors
    ///
    /// No such descriptor.
    pub(crate) fn new(
        descriptor: Option<RawFd>,
        notify_socket: Option<OsString>,
    ) -> Result<Self, ReadyError> {
        let descriptor = descriptor.map(take).transpose()?;
        Ok(Self {
            descriptor,
            notify_socket,
        })
    }

    /// Tells them, once. That nobody listens is theirs to know: it is logged and no more.
    pub(crate) fn tell(self) {
        if let Some(mut descriptor) = self.descriptor
            && let Err(error) = descriptor.write_all(b"\n")
        {
            warn!(%error, "--ready-fd: nobody reads it");
        }
        if let Some(socket) = self.notify_socket
            && let Err(error) = notify(&socket)
        {
            warn!(%error, ?socket, "NOTIFY_SOCKET: cannot say that names are served");
        }
    }
}

fn take(number: RawFd) -> Result<File, ReadyError> {
    // SAFETY: a number and a flag; on one that is not open this is an error and nothing else.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(result).map_err(|source| ReadyError::NotOpen { number, source })?;
    // SAFETY: it is open, and the caller of proxify gave it to us to close.
    Ok(unsafe { File::from_raw_fd(number) })
}

/// READY=1 to a path, or to an abstract name, which is written with `@` (sd_notify(3)).
fn notify(socket: &OsStr) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(b"READY=1\n", &address)
        .map(drop)
}

/// A descriptor that cannot be written to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadyError {
    #[error("--ready-fd {number}: {source}; open it in the shell, as in `{number}>/run/ready`")]
    NotOpen { number: RawFd, source: Errno },
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn a_descriptor_gets_one_line_and_an_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let ready = Ready::new(Some(writer.into_raw_fd()), None).unwrap();
        ready.tell();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n");
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = Ready::new(Some(987_654), None).unwrap_err().to_string();
        assert!(
            error.contains("--ready-fd 987654") && error.contains(">/run/ready"),
            "{error}"
        );
    }

    #[test]
    fn a_service_manager_is_told_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        Ready::new(None, Some(path.into())).unwrap().tell();

        let name = format!("proxify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        Ready::new(None, Some(format!("@{name}").into()))
            .unwrap()
            .tell();

        for socket in [by_path, by_name] {
            let mut text = [0; 64];
            let length = socket.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1\n");
        }
    }

    #[test]
    fn nobody_there_is_no_failure() {
        Ready::new(None, Some("/nonexistent/notify".into()))
            .unwrap()
            .tell();
        Ready::default().tell();
    }
}
