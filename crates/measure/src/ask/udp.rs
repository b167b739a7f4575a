//! DNS over UDP (RFC 1035 section 4.2.1), on one connected socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::reply::{Judged, judge};
use super::tcp::Tcp;
use super::{Answer, Ask, OpenError};
use crate::Failure;
use crate::questions::Lookup;

/// Room for a reply, in bytes: more than queries offer to take.
const REPLY: usize = 4096;

/// A server, asked over UDP; over TCP where its reply is truncated, as every resolver does.
pub(super) struct Udp {
    socket: UdpSocket,
    timeout: Duration,
    /// What the socket waits for at most, if that is not [`Self::timeout`].
    is_short: bool,
    truncated: Tcp,
}

impl Udp {
    pub(super) fn open(server: SocketAddr, timeout: Duration) -> Result<Self, OpenError> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(timeout))?;
            Ok(socket)
        };
        Ok(Self {
            socket: socket().map_err(|source| OpenError::Unreachable { server, source })?,
            timeout,
            is_short: false,
            truncated: Tcp::new(server, timeout),
        })
    }
}

impl Ask for Udp {
    fn ask(&mut self, lookup: &Lookup) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        if self.is_short {
            self.socket.set_read_timeout(Some(self.timeout))?;
            self.is_short = false;
        }
        self.socket.send(&lookup.packet)?;
        let mut reply = [0; REPLY];
        loop {
            let length = self.socket.recv(&mut reply)?;
            match judge(lookup, reply.get(..length).unwrap_or_default()) {
                Judged::Ended(result) => return result,
                Judged::Truncated => return self.truncated.ask(lookup),
                Judged::NotOurs => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        return Err(Failure::Timeout);
                    }
                    self.socket.set_read_timeout(Some(rest))?;
                    self.is_short = true;
                }
            }
        }
    }
}
