//! A socket with its readiness, whichever its family.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, UnixAddr, getpeername};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::{Local, Stream};

/// One end of a tunnel.
#[derive(Debug)]
pub(super) enum End {
    Tcp(TcpStream),
    /// AF_UNIX or AF_VSOCK.
    Local(Local),
}

macro_rules! each {
    ($end:expr, $inner:ident => $call:expr) => {
        match $end {
            End::Tcp($inner) => $call,
            End::Local($inner) => $call,
        }
    };
}

impl End {
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        Ok(match stream {
            Stream::Tcp(stream) => Self::Tcp(stream),
            Stream::Unix(stream) => Self::Local(stream),
            // tokio-vsock keeps its readiness to itself, so the socket is registered anew. No call
            // that is made on it here asks for its family.
            Stream::Vsock(stream) => Self::Local(Local::new(stream.into())?),
        })
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_read_ready(cx))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_write_ready(cx))
    }

    /// Makes a call that reads. One that would block is told apart from other failures, and clears
    /// the readiness.
    pub(super) fn read<T>(&self, call: impl FnOnce() -> nix::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(call()?)),
            Self::Local(stream) => stream.try_read(call),
        }
    }

    /// As [`Self::read`], for a call that writes.
    pub(super) fn write<T>(&self, call: impl FnOnce() -> nix::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, || Ok(call()?)),
            Self::Local(stream) => stream.try_write(call),
        }
    }

    pub(super) fn recv(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        socket::recv(self.as_fd().as_raw_fd(), buffer, MsgFlags::empty())
    }

    pub(super) fn send(&self, bytes: &[u8]) -> nix::Result<usize> {
        socket::send(self.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)
    }

    /// Tells the peer that nothing more will come. A peer that has gone needs no telling.
    pub(super) fn shutdown(&self) {
        let _ = socket::shutdown(self.as_fd().as_raw_fd(), socket::Shutdown::Write);
    }

    /// Whether the peer of an AF_UNIX or AF_VSOCK socket has closed it, and not its sending half
    /// alone: then even nothing cannot be sent to it.
    pub(super) fn hung_up(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Local(_) => !matches!(self.send(&[]), Ok(_) | Err(Errno::EAGAIN)),
        }
    }

    /// Whether the peer is known to close its sending half when its own peer has ended, and the
    /// rest only when both have: so does a relay that listens on a path.
    pub(super) fn closes_by_halves(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Local(stream) => {
                let peer = getpeername::<UnixAddr>(stream.as_raw_fd());
                peer.is_ok_and(|address| address.path().is_some())
            }
        }
    }

    /// Lets the peer see a reset when the socket is closed, where its family has one.
    pub(super) fn reset_when_closed(&self) {
        if let Self::Tcp(stream) = self {
            // On a connection that has failed already there is nobody to see it.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(self, inner => inner.as_fd())
    }
}
