//! DNS over UDP, a batch at a time: one system call reads what has come, one sends the replies.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tracing::warn;

use self::replies::Replies;
pub(crate) use self::socket::{Socket, refuse_long};
use crate::core::{Client, Core};

mod replies;
mod socket;

/// Packets read by one system call: enough to share its cost, few enough to stay in the cache.
const BATCH: usize = 32;

/// Room for a query in bytes. Queries have one name and OPT, padded by some to 128 or 468 bytes. A longer
/// packet is dropped by [`refuse_long`]; over TCP it is cut, and so malformed.
pub(crate) const QUERY: usize = 2048;

/// Rest after an error: one that lasts shall not take the processor.
const REST: Duration = Duration::from_millis(10);

pub(crate) async fn serve(core: Arc<Core>, index: usize) {
    let Some(socket) = core.socket(index) else {
        return;
    };
    let mut batch = Batch::new(socket);
    loop {
        if let Err(error) = socket.readable().await {
            warn!(%error, "cannot wait for queries over UDP");
            return;
        }
        let received = match batch.receive(socket) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                // An error of an earlier reply, or want of memory; the socket is fine.
                tracing::debug!(%error, "recvmmsg");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        core.batch(|queries| {
            batch.answer(received, |packet, peer, out| {
                let client = Client::Udp {
                    socket: index,
                    peer,
                };
                queries.query(client, packet, out)
            });
        });
        batch.replies.send(socket).await;
        if received == BATCH {
            // More is there, and `readable` is at once, for ever in a flood: tokio does not count it
            // against the task. Upstream, timers and TCP have their turn first.
            tokio::task::yield_now().await;
        }
    }
}

/// Buffers for a batch of queries and their replies, allocated once.
struct Batch {
    queries: Box<[[u8; QUERY]; BATCH]>,
    /// Length and sender of each query.
    received: [(usize, Option<SockaddrStorage>); BATCH],
    headers: Headers,
    replies: Replies,
}

/// What recvmmsg and sendmmsg write into.
struct Headers(MultiHeaders<SockaddrStorage>);

// SAFETY: the raw pointers in `MultiHeaders` lead to addresses and control messages that it owns on the
// heap, and to buffers and names that `recvmmsg` and `sendmmsg` write anew at each call before the kernel
// looks.
#[allow(unsafe_code)]
unsafe impl Send for Headers {}

impl Batch {
    fn new(socket: &Socket) -> Self {
        Self {
            queries: zeroed(),
            received: [(0, None); BATCH],
            headers: Headers(MultiHeaders::preallocate(BATCH, None)),
            replies: Replies::new(socket),
        }
    }

    /// Reads what has come, at most [`BATCH`] packets. Fewer mean that the socket is empty, which
    /// tells tokio to wait for the next without asking once more.
    fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        let mut count = 0;
        let result = socket.try_read(|| {
            let mut slices = self
                .queries
                .each_mut()
                .map(|query| [IoSliceMut::new(query)]);
            let results = recvmmsg(
                socket.as_raw_fd(),
                &mut self.headers.0,
                slices.iter_mut(),
                MsgFlags::MSG_DONTWAIT,
                None,
            )?;
            for (message, received) in results.zip(&mut self.received) {
                *received = (message.bytes, message.address);
                count += 1;
            }
            if count < BATCH {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match result {
            Err(error) if count == 0 => Err(error),
            _ => Ok(count),
        }
    }

    fn answer(
        &mut self,
        received: usize,
        mut reply: impl FnMut(&[u8], SocketAddr, &mut [u8]) -> Option<usize>,
    ) {
        self.replies.clear();
        let queries = self.queries.iter().zip(&self.received).take(received);
        for (query, (length, peer)) in queries {
            if let (Some(packet), Some(peer)) = (query.get(..*length), peer) {
                self.replies
                    .add(peer, |out| reply(packet, address(peer), out));
            }
        }
    }
}

fn address(peer: &SockaddrStorage) -> SocketAddr {
    if let Some(v4) = peer.as_sockaddr_in() {
        return SocketAddr::V4((*v4).into());
    }
    match peer.as_sockaddr_in6() {
        Some(v6) => SocketAddr::V6((*v6).into()),
        None => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

/// Pages that stay untouched stay unused, unlike those of an array moved from the stack.
fn zeroed<const N: usize>() -> Box<[[u8; N]; BATCH]> {
    match vec![[0; N]; BATCH].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("a vector of BATCH elements"),
    }
}
