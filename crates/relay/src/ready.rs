//! Telling whoever started the relay that it listens: systemd's NOTIFY_SOCKET (sd_notify(3)), and
//! a descriptor for everyone else.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The descriptor of `--ready-fd`, held for [`announce`].
#[derive(Debug)]
pub(crate) struct ReadyFd {
    fd: RawFd,
    pipe: File,
}

impl ReadyFd {
    /// Takes the descriptor over. To be called before the program opens any of its own: the number
    /// of one that was not passed could be given to one of them.
    pub(crate) fn claim(fd: RawFd) -> Result<Self, ReadyError> {
        if !Path::new(&format!("/proc/self/fd/{fd}")).exists() {
            let source = io::Error::from(nix::errno::Errno::EBADF);
            return Err(ReadyError::Descriptor { fd, source });
        }
        // SAFETY: the descriptor is open; it was passed with `--ready-fd` for this use alone, so
        // nothing else in this process knows it.
        let pipe = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { fd, pipe })
    }

    /// Writes a line end and closes the descriptor, so that a reader sees either.
    fn write_line(mut self) -> Result<(), ReadyError> {
        let failed = |source| ReadyError::Descriptor {
            fd: self.fd,
            source,
        };
        self.pipe.write_all(b"\n").map_err(failed)
    }
}

/// Says so on `--ready-fd`, if there is one, and on NOTIFY_SOCKET, if that is set.
pub(crate) fn announce(ready_fd: Option<ReadyFd>) -> Result<(), ReadyError> {
    ready_fd.map_or(Ok(()), ReadyFd::write_line)?;
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let failed = |source| ReadyError::Socket {
            socket: socket.clone().into_vec().escape_ascii().to_string(),
            source,
        };
        notify(socket.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Why the starter was not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadyError {
    #[error("cannot say that the relay is ready on descriptor {fd}: {source}; is it open?")]
    Descriptor { fd: RawFd, source: io::Error },
    #[error("cannot say that the relay is ready on NOTIFY_SOCKET={socket}: {source}")]
    Socket { socket: String, source: io::Error },
}

fn notify(socket: &[u8]) -> io::Result<()> {
    let address = match socket {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn the_descriptor_gets_a_line_end_and_is_closed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let ready = ReadyFd::claim(OwnedFd::from(writer).into_raw_fd()).unwrap();
        announce(Some(ready)).unwrap();
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"\n");
    }

    #[test]
    fn a_descriptor_that_was_not_passed_is_an_error() {
        let error = ReadyFd::claim(RawFd::MAX).unwrap_err().to_string();
        assert!(error.contains("descriptor 2147483647"), "{error}");
        assert!(error.contains("is it open?"), "{error}");
    }

    #[test]
    fn systemd_is_told_on_a_path_or_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let abstract_name = format!("relay-ready-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (receiver, name) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{abstract_name}"),
            ),
        ] {
            notify(name.as_bytes()).unwrap();
            let mut message = [0; 64];
            let length = receiver.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1\n");
        }
    }
}
