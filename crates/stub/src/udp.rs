//! DNS over UDP, a batch at a time: one system call reads what has come, one sends the replies.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use resolver::MAX_UDP_REPLY;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::warn;

use crate::core::{Client, Core};

/// Packets read by one system call: enough to share its cost, few enough to stay in the cache.
const BATCH: usize = 32;

/// Room for a query in bytes. Queries have one name and OPT, padded by some to 128 or 468 bytes; a
/// longer one is cut, and so malformed.
pub(crate) const QUERY: usize = 2048;

/// Rest after an error: one that lasts shall not take the processor.
const REST: Duration = Duration::from_millis(10);

pub(crate) async fn serve(core: Arc<Core>, index: usize) {
    let Some(socket) = core.socket(index) else {
        return;
    };
    let mut batch = Batch::new();
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
        batch.send(socket).await;
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
    replies: Box<[[u8; MAX_UDP_REPLY]; BATCH]>,
    /// Length and sender of each query.
    received: [(usize, Option<SockaddrStorage>); BATCH],
    /// Length of each reply, and whom it goes to.
    lengths: [usize; BATCH],
    peers: [Option<SockaddrStorage>; BATCH],
    replied: usize,
    headers: Headers,
}

struct Headers {
    receive: MultiHeaders<SockaddrStorage>,
    send: MultiHeaders<SockaddrStorage>,
}

// SAFETY: the raw pointers in `MultiHeaders` lead to addresses that it owns on the heap, and to
// buffers and names that `recvmmsg` and `sendmmsg` write anew at each call before the kernel looks.
#[allow(unsafe_code)]
unsafe impl Send for Headers {}

impl Batch {
    fn new() -> Self {
        Self {
            queries: zeroed(),
            replies: zeroed(),
            received: [(0, None); BATCH],
            lengths: [0; BATCH],
            peers: [None; BATCH],
            replied: 0,
            headers: Headers {
                receive: MultiHeaders::preallocate(BATCH, None),
                send: MultiHeaders::preallocate(BATCH, None),
            },
        }
    }

    /// Reads what has come, at most [`BATCH`] packets. Fewer mean that the socket is empty, which
    /// tells tokio to wait for the next without asking once more.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut count = 0;
        let result = socket.try_io(Interest::READABLE, || {
            let mut slices = self
                .queries
                .each_mut()
                .map(|query| [IoSliceMut::new(query)]);
            let results = recvmmsg(
                socket.as_raw_fd(),
                &mut self.headers.receive,
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
        self.replied = 0;
        let queries = self.queries.iter().zip(&self.received).take(received);
        for (query, (length, peer)) in queries {
            let (Some(packet), Some(peer)) = (query.get(..*length), peer) else {
                continue;
            };
            let Some(out) = self.replies.get_mut(self.replied) else {
                return;
            };
            if let Some(length) = reply(packet, address(peer), out)
                && length > 0
            {
                self.lengths[self.replied] = length;
                self.peers[self.replied] = Some(*peer);
                self.replied += 1;
            }
        }
    }

    async fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.replied {
            match self.send_from(sent, socket) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // It is the first message's; the others may yet go.
                    tracing::debug!(%error, "reply not sent");
                    sent += 1;
                }
            }
        }
    }

    fn send_from(&mut self, first: usize, socket: &UdpSocket) -> io::Result<usize> {
        socket.try_io(Interest::WRITABLE, || {
            let mut slices = [[IoSlice::new(&[])]; BATCH];
            let replies = self.replies.iter().zip(&self.lengths);
            for (slice, (reply, &length)) in slices.iter_mut().zip(replies) {
                *slice = [IoSlice::new(reply.get(..length).unwrap_or_default())];
            }
            let to_send = first..self.replied;
            let results = sendmmsg(
                socket.as_raw_fd(),
                &mut self.headers.send,
                slices.get(to_send.clone()).unwrap_or_default(),
                self.peers.get(to_send).unwrap_or_default(),
                [],
                MsgFlags::MSG_DONTWAIT,
            )?;
            Ok(results.count())
        })
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
