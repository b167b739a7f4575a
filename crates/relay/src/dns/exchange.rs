//! One query and its nameserver: UDP from a socket of its own, then TCP if the answer was cut.
//!
//! The socket is connected, so the kernel drops packets of others and tells of ICMP errors; its
//! port is the kernel's random choice, and with the random id makes an answer hard to guess
//! (RFC 5452 §9).

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use link::frame;
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};
use wire::ede::relay as ede;

use super::query::{Query, is_truncated, reason};
use super::{GIVE_UP, RESEND};
use crate::admission::Seat;
use crate::quota::{OverQuota, Quota};
use crate::server::Relay;

/// The largest UDP payload there is, so that no answer is cut by us.
const MAX_DATAGRAM: usize = u16::MAX as usize;

/// What a query over a TCP connection of its own costs of the quota: SYN, ACK, the query, ACK and FIN.
const TCP_PACKETS: u32 = 5;

thread_local! {
    /// Where datagrams land before their length is known: one for all queries of a thread, as it
    /// is used between two awaits only.
    static DATAGRAM: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_DATAGRAM]);
}

/// The nameserver's answer, or SERVFAIL that says why there is none. Ends by `give_up`.
pub(super) async fn answer(
    query: Query,
    nameserver: SocketAddr,
    seat: &Seat,
    relay: &Relay,
    give_up: Instant,
) -> Vec<u8> {
    let failure = match exchange(&query, nameserver, seat, &relay.quota, give_up).await {
        Ok(reply) => return query.restore(reply),
        Err(failure) => failure,
    };
    if let Failure::OverQuota(over) = failure {
        relay.complain(Some(seat.peer()), "queries over the quota refused", &over);
    }
    tracing::debug!(peer = %seat.peer(), %nameserver, "query failed: {failure}");
    query.servfail(failure.code(), &reason(nameserver, failure))
}

/// Why there is no answer. The texts are for Extended DNS Errors: short, and without the address,
/// which stands before them.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {:.1} s", GIVE_UP.as_secs_f32())]
    NoAnswer,
    #[error("answer truncated, and no answer over TCP in time")]
    NoAnswerOverTcp,
    #[error("{}", .0.kind())]
    Udp(#[from] io::Error),
    #[error("answer truncated, and over TCP: {}", .0.kind())]
    Tcp(io::Error),
    #[error("the relay has too many queries in flight")]
    NoSocket,
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
}

impl Failure {
    fn code(&self) -> u16 {
        match self {
            Self::NoAnswer | Self::NoAnswerOverTcp => ede::NO_ANSWER,
            Self::Udp(_) | Self::Tcp(_) | Self::NoSocket => ede::UNREACHABLE,
            Self::OverQuota(_) => ede::OVER_QUOTA,
        }
    }
}

async fn exchange(
    query: &Query,
    nameserver: SocketAddr,
    seat: &Seat,
    quota: &Quota,
    give_up: Instant,
) -> Result<Vec<u8>, Failure> {
    quota.take(seat.peer(), 1).await?;
    // Held until the end: TCP takes the place of the UDP socket.
    let _socket = seat.socket().ok_or(Failure::NoSocket)?;
    let reply = over_udp(query, nameserver, quota, give_up).await?;
    if !is_truncated(&reply) {
        return Ok(reply);
    }
    let whole = async {
        quota.take(seat.peer(), TCP_PACKETS).await?;
        over_tcp(query, nameserver).await.map_err(Failure::Tcp)
    };
    match timeout_at(give_up, whole).await {
        Ok(reply) => reply,
        Err(_) => Err(Failure::NoAnswerOverTcp),
    }
}

async fn over_udp(
    query: &Query,
    nameserver: SocketAddr,
    quota: &Quota,
    give_up: Instant,
) -> Result<Vec<u8>, Failure> {
    let any: SocketAddr = match nameserver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(nameserver).await?;
    let resend = (Instant::now() + RESEND).min(give_up);
    for until in [resend, give_up] {
        // What was never sent goes before what may have been lost.
        if until == resend || quota.try_take() {
            socket.send(query.bytes()).await?;
        }
        if let Ok(reply) = timeout_at(until, own_reply(&socket, query)).await {
            return Ok(reply?);
        }
    }
    Err(Failure::NoAnswer)
}

/// Waits for the reply to `query`; what does not match is ignored, as it may be forged.
async fn own_reply(socket: &UdpSocket, query: &Query) -> io::Result<Vec<u8>> {
    // An ICMP error is no datagram: epoll reports it as an error alone.
    let events = Interest::READABLE | Interest::ERROR;
    loop {
        let ready = socket.ready(events).await?;
        let received = if ready.is_readable() {
            receive(socket, query)
        } else {
            socket.try_io(Interest::ERROR, || {
                let error = socket.take_error()?;
                Err(error.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
            })
        };
        match received {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// One datagram, if there is one and it is the reply to `query`.
fn receive(socket: &UdpSocket, query: &Query) -> io::Result<Option<Vec<u8>>> {
    DATAGRAM.with_borrow_mut(|buffer| {
        let length = socket.try_recv(buffer)?;
        let reply = buffer.get(..length).unwrap_or_default();
        Ok(query.is_answered_by(reply).then(|| reply.to_vec()))
    })
}

async fn over_tcp(query: &Query, nameserver: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(nameserver).await?;
    stream.set_nodelay(true)?;
    frame::write(&mut stream, query.bytes()).await?;
    let mut frames = frame::Reader::new(stream);
    while let Some(reply) = frames.next().await? {
        if query.is_answered_by(reply) {
            return Ok(reply.to_vec());
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
