//! A stream on AF_UNIX or AF_VSOCK that is woken for what it waits for, and for nothing else.
//!
//! Linux tells the writer of a unix socket of room whenever its peer has read something (unix(7),
//! epoll(7)). A socket that is registered for both directions, as tokio's own are, so wakes its
//! process once for each message that it sent, for nothing: there was room all along. Here a socket
//! is registered for reading alone, until a write finds no room; from then on for both.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, connect, getsockopt, recv,
    send, shutdown, socket, sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected stream socket.
#[derive(Debug)]
pub struct Local {
    // Before the socket: it ends before that is closed.
    state: Mutex<State>,
    socket: OwnedFd,
}

#[derive(Debug)]
struct State {
    /// None after the system refused a registration, and while it changes.
    registration: Option<AsyncFd<Descriptor>>,
    /// Whether it is for both directions.
    has_writes: bool,
    /// Who waits for something to read, to be told when the registration is another one.
    reader: Waker,
}

/// What the registration knows the socket by.
#[derive(Debug)]
struct Descriptor(RawFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Local {
    /// Registers a socket, which becomes one that does not block. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What registering gives.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Self::register(socket.into())
    }

    /// As [`Self::new`], for a socket that does not block.
    fn register(socket: OwnedFd) -> io::Result<Self> {
        let mut state = State {
            registration: None,
            has_writes: false,
            reader: Waker::noop().clone(),
        };
        state.register(&socket, Interest::READABLE)?;
        Ok(Self {
            state: Mutex::new(state),
            socket,
        })
    }

    /// Connects to a listener's path, which does not wait: a listener whose queue is full is an error.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(stream.as_raw_fd(), &UnixAddr::new(path)?)?;
        Self::register(stream)
    }

    /// Ready when something may be there to be read, or the end.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let polled = match state.registration()?.poll_read_ready(cx) {
            Poll::Ready(guard) => Poll::Ready(guard.map(|mut guard| guard.retain_ready())),
            Poll::Pending => Poll::Pending,
        };
        if polled.is_pending() {
            state.reader.clone_from(cx.waker());
        }
        polled
    }

    /// Ready when there may be room to write.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = self.state();
        if !state.has_writes {
            return Poll::Ready(Ok(()));
        }
        let guard = ready!(state.registration()?.poll_write_ready(cx));
        Poll::Ready(guard.map(|mut guard| guard.retain_ready()))
    }

    /// Makes a call that reads. One that would block clears the readiness.
    pub(crate) fn try_read<T>(&self, call: impl FnOnce() -> nix::Result<T>) -> io::Result<T> {
        let state = self.state();
        state
            .registration()?
            .try_io(Interest::READABLE, |_| Ok(call()?))
    }

    /// Makes a call that writes. One that would block is told of room from then on.
    pub(crate) fn try_write<T>(&self, call: impl FnOnce() -> nix::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if state.has_writes {
            return state
                .registration()?
                .try_io(Interest::WRITABLE, |_| Ok(call()?));
        }
        let called = call();
        if called.as_ref().is_err_and(|errno| *errno == Errno::EAGAIN) {
            state.register(&self.socket, Interest::READABLE | Interest::WRITABLE)?;
        }
        Ok(called?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under the lock cannot panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn registration(&self) -> io::Result<&AsyncFd<Descriptor>> {
        let registration = self.registration.as_ref();
        registration.ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Registers the socket that this is the state of.
    fn register(&mut self, socket: &OwnedFd, interest: Interest) -> io::Result<()> {
        // A descriptor has one registration at a time.
        self.registration = None;
        // It waits for the one that is gone, and has its turn when this one is there, or failed.
        self.reader.wake_by_ref();
        let descriptor = Descriptor(socket.as_raw_fd());
        // SAFETY: `Local` drops its state before its socket, which it never replaces, so the
        // descriptor is open and the same as long as it is registered.
        #[allow(unsafe_code)]
        let registration = unsafe { AsyncFd::register_with_interest(descriptor, interest) }?;
        self.registration = Some(registration);
        self.has_writes = interest.is_writable();
        Ok(())
    }
}

/// A listening socket, which is never written to.
#[derive(Debug)]
pub(crate) struct LocalListener(AsyncFd<UnixListener>);

impl LocalListener {
    /// The listener must not block.
    pub(crate) fn new(listener: UnixListener) -> io::Result<Self> {
        // SAFETY: the listener owns its descriptor and is not changed until it is dropped.
        #[allow(unsafe_code)]
        let listener = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
        Ok(Self(listener))
    }

    /// The next connection, and the process that made it: 0 where it is not seen from here.
    pub(crate) async fn accept(&self) -> io::Result<(Local, u32)> {
        let accept = |listener: &UnixListener| listener.accept();
        let (stream, _) = self.0.async_io(Interest::READABLE, accept).await?;
        let pid = getsockopt(&stream, sockopt::PeerCredentials)?.pid();
        let stream = Local::new(stream.into())?;
        Ok((stream, u32::try_from(pid).unwrap_or_default()))
    }
}

impl AsyncRead for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let mut read = 0;
            let outcome = self.try_read(|| {
                read = recv(self.socket.as_raw_fd(), room, MsgFlags::empty())?;
                // A read that leaves room has emptied the socket.
                if (1..room.len()).contains(&read) {
                    Err(Errno::EAGAIN)
                } else {
                    Ok(())
                }
            });
            match outcome {
                Err(error) if read == 0 => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                    _ => return Poll::Ready(Err(error)),
                },
                _ => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Local {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(|| send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(self.socket.as_raw_fd(), Shutdown::Write)?))
    }
}

impl AsFd for Local {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Local {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Registers a socket of tokio's anew.
impl TryFrom<tokio::net::UnixStream> for Local {
    type Error = io::Error;

    fn try_from(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Self::new(stream.into_std()?.into())
    }
}

#[cfg(test)]
mod tests;
