//! The nameserver behind all servers under test: the zone of [`crate::zone`], by UDP and by TCP, in
//! threads of this process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};
use wire::HEADER;

use crate::datagrams::{BATCH, Datagrams};
use crate::failure::Failure;
use crate::zone::{self, Kind};

/// Bytes that may wait in the UDP socket.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Longest reply in bytes.
const REPLY: usize = 4096;

/// A nameserver that runs until the process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<[AtomicU64; 256]>,
}

impl Upstream {
    pub(crate) fn start(address: SocketAddr) -> Result<Self, Failure> {
        let cannot = |source| Failure::io(format!("upstream on {address}"), source);
        let udp = UdpSocket::bind(address).map_err(cannot)?;
        if setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&udp, sockopt::RcvBuf, &RECEIVE_BUFFER)
                .map_err(|errno| cannot(errno.into()))?;
        }
        let tcp = TcpListener::bind(address).map_err(cannot)?;
        let asked = Arc::new([const { AtomicU64::new(0) }; 256]);
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            if let Err(error) = serve_udp(&udp, &counted) {
                eprintln!("upstream over UDP has ended: {error}");
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                // A connection that breaks is its client's matter.
                thread::spawn(move || serve_tcp(stream));
            }
        });
        Ok(Self { address, asked })
    }

    /// Queries over UDP for names of this kind, so far.
    pub(crate) fn asked(&self, kind: Kind) -> u64 {
        self.asked[usize::from(kind.letter())].load(Ordering::Relaxed)
    }
}

fn serve_udp(socket: &UdpSocket, asked: &[AtomicU64; 256]) -> io::Result<()> {
    let mut batch = Datagrams::new();
    loop {
        let received = batch.receive(socket, BATCH)?;
        for index in 0..received {
            let letter = batch.at(index).get(HEADER + 1).copied().unwrap_or(0);
            asked[usize::from(letter.to_ascii_lowercase())].fetch_add(1, Ordering::Relaxed);
            let mut out = [0; REPLY];
            let length = zone::answer(batch.at(index), &mut out).unwrap_or(0);
            batch.edit(index, |buffer, _| {
                buffer[..length].copy_from_slice(&out[..length]);
                length
            });
        }
        batch.send(socket, received)?;
    }
}

fn serve_tcp(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut length = [0; 2];
    loop {
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let mut out = [0; REPLY];
        let length = zone::answer(&query, &mut out[2..]).unwrap_or(0);
        let prefix = u16::try_from(length).unwrap_or(0).to_be_bytes();
        out[..2].copy_from_slice(&prefix);
        stream.write_all(&out[..2 + length])?;
    }
}
