//! DNS over TCP (RFC 7766), on a connection that lasts.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use link::frame;
use wire::read_u16;

use super::reply::{Judged, judge};
use super::{Answer, Ask, OpenError};
use crate::Failure;
use crate::questions::Lookup;

/// Bytes of the length before each message.
const PREFIX: usize = 2;

/// Bytes of one read.
const CHUNK: usize = 4096;

/// A server, asked over TCP.
pub(super) struct Tcp {
    server: SocketAddr,
    timeout: Duration,
    /// Left as it is after a reply; gone after anything else.
    stream: Option<TcpStream>,
    query: Vec<u8>,
    received: Vec<u8>,
}

impl Tcp {
    /// Connects with the first lookup.
    pub(super) fn new(server: SocketAddr, timeout: Duration) -> Self {
        Self {
            server,
            timeout,
            stream: None,
            query: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Connects.
    pub(super) fn open(server: SocketAddr, timeout: Duration) -> Result<Self, OpenError> {
        let mut tcp = Self::new(server, timeout);
        tcp.stream = Some(
            tcp.connect(timeout)
                .map_err(|source| OpenError::Unreachable { server, source })?,
        );
        Ok(tcp)
    }

    fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.server, timeout)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn exchange(&mut self, lookup: &Lookup, deadline: Instant) -> Result<Answer, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect(rest(deadline)?)?,
        };
        self.query.clear();
        frame::encode(&lookup.packet, &mut self.query)?;
        stream.write_all(&self.query)?;
        self.received.clear();
        loop {
            let message = self.received.get(PREFIX..);
            let length = read_u16(&self.received, 0).map(usize::from);
            if let Some((message, length)) = message.zip(length)
                && let Some(reply) = message.get(..length)
            {
                match judge(lookup, reply) {
                    Judged::Ended(result) => {
                        self.stream = Some(stream);
                        return result;
                    }
                    // There is nothing larger to ask over.
                    Judged::Truncated => {
                        self.stream = Some(stream);
                        return Ok(Answer { is_empty: false });
                    }
                    Judged::NotOurs => drop(self.received.drain(..PREFIX + length)),
                }
                continue;
            }
            stream.set_read_timeout(Some(rest(deadline)?))?;
            let mut chunk = [0; CHUNK];
            match stream.read(&mut chunk)? {
                0 => return Err(Failure::Closed),
                count => self
                    .received
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}

impl Ask for Tcp {
    fn ask(&mut self, lookup: &Lookup) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        let is_old = self.stream.is_some();
        match self.exchange(lookup, deadline) {
            // Servers close connections that rest, perhaps just now (RFC 7766 section 6.2.3).
            Err(Failure::Closed) if is_old => self.exchange(lookup, deadline),
            result => result,
        }
    }
}

/// What is left until the deadline.
fn rest(deadline: Instant) -> Result<Duration, Failure> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Failure::Timeout),
        rest => Ok(rest),
    }
}
