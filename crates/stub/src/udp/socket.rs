//! A UDP socket that is woken by queries alone.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket registered for reading. On loopback a reply is gone as it is sent, of which Linux tells as of
/// new room: one registered for writing too, as tokio's own are, has one event more for each batch.
#[derive(Debug)]
pub(crate) struct Socket(AsyncFd<UdpSocket>);

impl Socket {
    /// The socket must not block. Must be called within a tokio runtime.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        register(socket, Interest::READABLE).map(Self)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await?.retain_ready();
        Ok(())
    }

    /// Makes a call that reads. One that would block clears the readiness.
    pub(super) fn try_read<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.try_io(Interest::READABLE, |_| call())
    }

    /// Waits for room after a write has found none, which is rare.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let again = register(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        again.writable().await?.retain_ready();
        Ok(())
    }

    pub(crate) fn try_send_to(&self, packet: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.0.get_ref().send_to(packet, peer)
    }

    pub(crate) async fn send_to(&self, packet: &[u8], peer: SocketAddr) -> io::Result<usize> {
        loop {
            match self.try_send_to(packet, peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                sent => return sent,
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

fn register(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket owns its descriptor and is not changed until it is dropped.
    #[allow(unsafe_code)]
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(registered?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn socket() -> Socket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Socket::new(socket).unwrap()
    }

    #[tokio::test]
    async fn what_it_sends_does_not_wake_it_and_what_comes_does() {
        let (here, there) = (socket(), socket());
        let address = |socket: &Socket| socket.0.get_ref().local_addr().unwrap();
        assert_eq!(here.send_to(b"reply", address(&there)).await.unwrap(), 5);
        timeout(SOON, there.readable()).await.unwrap().unwrap();
        let told = timeout(Duration::from_millis(50), here.0.writable()).await;
        assert!(told.is_err(), "it was told of room");
        there.try_send_to(b"query", address(&here)).unwrap();
        timeout(SOON, here.readable()).await.unwrap().unwrap();
        let mut packet = [0; 8];
        let read = |packet: &mut [u8]| here.try_read(|| here.0.get_ref().recv(packet));
        assert_eq!(read(&mut packet).unwrap(), 5);
        assert!(read(&mut packet).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        assert!(
            timeout(Duration::from_millis(1), here.readable())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn room_is_waited_for_where_it_is_asked_for() {
        let here = socket();
        for _ in 0..2 {
            timeout(SOON, here.writable()).await.unwrap().unwrap();
        }
    }
}
