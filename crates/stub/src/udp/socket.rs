//! A UDP socket that is woken by queries alone.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::debug;

use super::QUERY;

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

/// UDP's header in bytes, which a socket's filter sees.
const UDP_HEADER: u32 = 8;

/// Steps of a filter (linux/bpf_common.h): the packet's length is loaded; compared, and one step left out if
/// it is not greater; so much is kept.
const LD_LEN: u16 = 0x80;
const JGT: u16 = 0x25;
const RET: u16 = 0x06;

/// Has the kernel drop what is longer than any query, before it takes room from others: some hundred
/// datagrams of 64 KiB fill a socket that holds 40,000 queries (socket(7), SO_ATTACH_FILTER).
pub(crate) fn refuse_long(socket: &UdpSocket) {
    let longest = u32::try_from(QUERY).map_or(u32::MAX, |query| UDP_HEADER + query);
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut steps = [
        step(LD_LEN, 0, 0),
        step(JGT, 1, longest),
        step(RET, 0, 0),
        step(RET, 0, u32::MAX),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the option takes a `sock_fprog`, whose steps the kernel copies; both live through the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            libc::socklen_t::try_from(size_of_val(&program)).unwrap_or(0),
        )
    };
    if result != 0 {
        debug!(error = %io::Error::last_os_error(), "long packets are not refused by the kernel");
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

    #[test]
    fn what_is_longer_than_a_query_does_not_come_in() {
        let [here, there] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        refuse_long(&here);
        for length in [QUERY + 1, 65_507, QUERY, 12] {
            let packet = vec![0; length];
            there.send_to(&packet, here.local_addr().unwrap()).unwrap();
        }
        here.set_read_timeout(Some(SOON)).unwrap();
        let mut packet = [0; QUERY + 1];
        for length in [QUERY, 12] {
            assert_eq!(here.recv(&mut packet).unwrap(), length);
        }
        here.set_nonblocking(true).unwrap();
        assert!(here.recv(&mut packet).is_err());
    }

    #[tokio::test]
    async fn room_is_waited_for_where_it_is_asked_for() {
        let here = socket();
        for _ in 0..2 {
            timeout(SOON, here.writable()).await.unwrap().unwrap();
        }
    }
}
