//! Batches of datagrams by one system call each way: recvmmsg(2), sendmmsg(2). IPv4 only.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams in a batch.
pub(crate) const BATCH: usize = 32;

/// Room for one, in bytes: the largest UDP reply that servers give.
const SIZE: usize = 4096;

/// A batch, received or to be sent.
pub(crate) struct Datagrams {
    buffers: Box<[[u8; SIZE]; BATCH]>,
    lengths: [usize; BATCH],
    /// Who sent it and shall get it; nobody on a connected socket.
    peers: [Option<SockaddrIn>; BATCH],
    // Each call leaves its own pointers in them.
    receive: MultiHeaders<SockaddrIn>,
    send: MultiHeaders<SockaddrIn>,
}

impl Datagrams {
    pub(crate) fn new() -> Self {
        Self {
            buffers: Box::new([[0; SIZE]; BATCH]),
            lengths: [0; BATCH],
            peers: [None; BATCH],
            receive: MultiHeaders::preallocate(BATCH, None),
            send: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Waits for one datagram, as long as the socket's timeout says, and takes up to `most` that
    /// are there.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd, most: usize) -> io::Result<usize> {
        let mut slices = self
            .buffers
            .each_mut()
            .map(|buffer| [IoSliceMut::new(buffer)]);
        let received = recvmmsg(
            socket.as_raw_fd(),
            &mut self.receive,
            slices.iter_mut().take(most),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        let mut count = 0;
        for (message, (length, peer)) in received.zip(self.lengths.iter_mut().zip(&mut self.peers))
        {
            *length = message.bytes;
            *peer = message.address;
            count += 1;
        }
        Ok(count)
    }

    /// The datagram at `index`.
    pub(crate) fn at(&self, index: usize) -> &[u8] {
        &self.buffers[index][..self.lengths[index]]
    }

    /// Rewrites the datagram at `index`: `edit` gets the whole buffer and the length, and gives the new
    /// length.
    pub(crate) fn edit(&mut self, index: usize, edit: impl FnOnce(&mut [u8], usize) -> usize) {
        self.lengths[index] = edit(&mut self.buffers[index], self.lengths[index]).min(SIZE);
    }

    /// Puts `packet` at `index`, for the socket's one peer.
    pub(crate) fn put(&mut self, index: usize, packet: &[u8]) {
        self.edit(index, |buffer, _| {
            buffer[..packet.len()].copy_from_slice(packet);
            packet.len()
        });
        self.peers[index] = None;
    }

    /// Sends the first `count`. One that cannot go does not keep the others.
    pub(crate) fn send(&mut self, socket: &impl AsRawFd, count: usize) -> io::Result<()> {
        let mut sent = 0;
        while sent < count {
            let mut slices = [[IoSlice::new(&[])]; BATCH];
            let filled = self.buffers.iter().zip(&self.lengths);
            for (slice, (buffer, &length)) in slices.iter_mut().zip(filled) {
                *slice = [IoSlice::new(&buffer[..length])];
            }
            let result = sendmmsg(
                socket.as_raw_fd(),
                &mut self.send,
                &slices[sent..count],
                &self.peers[sent..count],
                [],
                MsgFlags::empty(),
            );
            match result {
                Ok(results) => sent += results.count().max(1),
                // What an earlier datagram met, such as a port not yet open.
                Err(nix::errno::Errno::ECONNREFUSED) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
