//! The replies to a batch of queries, and how they leave: by one system call, and where several in a
//! row go to one peer, as one packet that the kernel takes apart again (UDP_SEGMENT, udp(7)).
//!
//! A program that asks for many names at once does so from one socket, so its replies stand together. To
//! take them through the network stack once costs little more than one of them alone. They must be of
//! one length, but for the last, which may be shorter.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, getsockopt, sendmmsg, sockopt,
};
use resolver::MAX_UDP_REPLY;
use tracing::debug;

use super::{BATCH, Headers, Socket};

/// Bytes in a packet of several replies: what a UDP header over IPv4 can say.
const MAX_PACKET: usize = u16::MAX as usize - 20 - 8;

/// Replies that the kernel takes as one packet: UDP_MAX_SEGMENTS, where it is least.
const MAX_SEGMENTS: usize = 64;

const _: () = assert!(BATCH <= MAX_SEGMENTS);

/// Replies in the order of their queries.
pub(super) struct Replies {
    /// One behind the other, so that those to one peer are one piece.
    bytes: Box<[u8]>,
    replies: [Reply; BATCH],
    peers: [Option<SockaddrStorage>; BATCH],
    count: usize,
    /// Whom each packet of several replies goes to.
    to: [Option<SockaddrStorage>; BATCH],
    /// Whether several go as one packet. Linux knows it since 4.18.
    segments: bool,
    plain: Headers,
    segmented: Headers,
}

/// Where a reply stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reply {
    start: usize,
    length: usize,
}

/// Replies in a row to one peer, all of one length but the last, which may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    first: usize,
    count: usize,
    /// The length of each.
    length: usize,
}

impl Replies {
    pub(super) fn new(socket: &Socket) -> Self {
        Self {
            bytes: vec![0; BATCH * MAX_UDP_REPLY].into_boxed_slice(),
            replies: [Reply::default(); BATCH],
            peers: [None; BATCH],
            count: 0,
            to: [None; BATCH],
            segments: getsockopt(socket, sockopt::UdpGsoSegment).is_ok(),
            plain: Headers(MultiHeaders::preallocate(BATCH, None)),
            segmented: Headers(MultiHeaders::preallocate(BATCH, Some(cmsg_space!(u16)))),
        }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Has `reply` write one more, and give its length, if there is one to this query.
    pub(super) fn add(
        &mut self,
        peer: &SockaddrStorage,
        reply: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let last = self
            .count
            .checked_sub(1)
            .and_then(|at| self.replies.get(at));
        let start = last.map_or(0, |last| last.start + last.length);
        let room = self.bytes.get_mut(start..start + MAX_UDP_REPLY);
        let (Some(out), Some(place)) = (room, self.replies.get_mut(self.count)) else {
            return;
        };
        if let Some(length) = reply(out)
            && length > 0
        {
            *place = Reply { start, length };
            self.peers[self.count] = Some(*peer);
            self.count += 1;
        }
    }

    /// Sends all. One that cannot go does not keep the others.
    pub(super) async fn send(&mut self, socket: &Socket) {
        let mut sent = 0;
        // Up to here each goes by itself, since the kernel did not take them as one packet.
        let mut singly = 0;
        while sent < self.count {
            let run = self.run(sent, singly);
            match self.send_from(run, singly, socket) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(error) if run.count > 1 => {
                    debug!(%error, "replies not sent as one packet");
                    self.segments &= !is_refusal(&error);
                    singly = sent + run.count;
                }
                Err(error) => {
                    // It is the first message's; the others may yet go.
                    debug!(%error, "reply not sent");
                    sent += 1;
                }
            }
        }
    }

    /// Sends `run` and what may go with it in one call, and gives the number of replies that have gone.
    fn send_from(&mut self, run: Run, singly: usize, socket: &Socket) -> io::Result<usize> {
        if run.count == 1 {
            self.send_plain(run.first, singly, socket)
        } else {
            self.send_segmented(run, socket)
        }
    }

    /// Sends replies that go by themselves, up to the next that does not.
    fn send_plain(&mut self, first: usize, singly: usize, socket: &Socket) -> io::Result<usize> {
        let mut end = first + 1;
        while end < self.count && self.run(end, singly).count == 1 {
            end += 1;
        }
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        let replies = self.replies.get(first..end).unwrap_or_default();
        for (slice, reply) in slices.iter_mut().zip(replies) {
            *slice = [IoSlice::new(part(&self.bytes, reply.start, reply.length))];
        }
        let results = sendmmsg(
            socket.as_raw_fd(),
            &mut self.plain.0,
            slices.get(..end - first).unwrap_or_default(),
            self.peers.get(first..end).unwrap_or_default(),
            [],
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(results.count())
    }

    /// Sends `run` as one packet, and those behind it that are cut into the same length.
    fn send_segmented(&mut self, run: Run, socket: &Socket) -> io::Result<usize> {
        let size = u16::try_from(run.length).map_err(|_| Errno::EMSGSIZE)?;
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        let mut counts = [0; BATCH];
        let mut next = run;
        let mut packets = 0;
        while next.count > 1 && next.length == run.length {
            let (Some(reply), Some(last)) = (
                self.replies.get(next.first),
                self.replies.get(next.first + next.count - 1),
            ) else {
                break;
            };
            let length = last.start + last.length - reply.start;
            slices[packets] = [IoSlice::new(part(&self.bytes, reply.start, length))];
            self.to[packets] = self.peers[next.first];
            counts[packets] = next.count;
            packets += 1;
            next = self.run(next.first + next.count, 0);
        }
        let results = sendmmsg(
            socket.as_raw_fd(),
            &mut self.segmented.0,
            slices.get(..packets).unwrap_or_default(),
            self.to.get(..packets).unwrap_or_default(),
            [ControlMessage::UdpGsoSegments(&size)],
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(counts.iter().take(results.count()).sum())
    }

    /// The run that begins at `first`: one reply if it is before `singly`, none behind the last.
    fn run(&self, first: usize, singly: usize) -> Run {
        let replies = self.replies.get(first..self.count).unwrap_or_default();
        let peers = self.peers.get(first..self.count).unwrap_or_default();
        let Some((head, peer)) = replies.first().zip(peers.first()) else {
            return Run::default();
        };
        let mut count = 1;
        if self.segments && first >= singly {
            let mut last = head;
            for (reply, to) in replies.iter().zip(peers).skip(1) {
                let end = reply.start + reply.length - head.start;
                if last.length < head.length
                    || reply.length > head.length
                    || end > MAX_PACKET
                    || to != peer
                {
                    break;
                }
                last = reply;
                count += 1;
            }
        }
        Run {
            first,
            count,
            length: head.length,
        }
    }
}

/// Whether the kernel or the device cannot take replies as one packet: it would not the next time.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        Errno::EINVAL,
        Errno::EIO,
        Errno::EMSGSIZE,
        Errno::EOPNOTSUPP,
    ];
    refusals
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

fn part(bytes: &[u8], start: usize, length: usize) -> &[u8] {
    bytes.get(start..start + length).unwrap_or_default()
}

#[cfg(test)]
mod tests;
