//! One query and its nameserver: UDP from a socket of its own, then TCP if the answer was cut.
//!
//! The socket is connected, so the kernel drops packets of others and tells of ICMP errors; its
//! port is the kernel's random choice, and with the random id makes an answer hard to guess
//! (RFC 5452 §9). Its life is a handful of system calls, and those that can wait until the query has
//! gone, or the enclave has its answer, do.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use link::frame;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use wire::ede::relay as ede;

use super::query::{Query, is_truncated, reason};
use super::{GIVE_UP, RESEND};
use crate::admission::{Seat, Socket};
use crate::counters::Reason;
use crate::quota::{OverQuota, Quota, Waited};
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

/// What goes back to the enclave, and what is to be dropped after that.
pub(super) struct Answered<'a> {
    pub(super) message: Vec<u8>,
    // In this order: the right to a socket outlives the socket.
    _socket: Option<AsyncFd<UdpSocket>>,
    _seat: Option<Socket<'a>>,
}

/// The nameserver's answer, or SERVFAIL that says why there is none. Ends by `give_up`.
pub(super) async fn answer<'a>(
    query: Query,
    nameserver: SocketAddr,
    seat: &'a Seat,
    relay: &Relay,
    give_up: Instant,
) -> Answered<'a> {
    seat.counters().dns_queries.add(1);
    match exchange(&query, nameserver, seat, &relay.quota, give_up).await {
        Ok(answered) => {
            seat.counters().dns_answers.add(1);
            Answered {
                message: query.restore(answered.message),
                ..answered
            }
        }
        Err(failure) => Answered {
            message: failed(&query, nameserver, seat, relay, failure),
            _socket: None,
            _seat: None,
        },
    }
}

fn failed(
    query: &Query,
    nameserver: SocketAddr,
    seat: &Seat,
    relay: &Relay,
    failure: Failure,
) -> Vec<u8> {
    seat.counters().dns_failed(failure.counted());
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

    fn counted(&self) -> Reason {
        match self {
            Self::NoAnswer | Self::NoAnswerOverTcp => Reason::NoAnswer,
            Self::Udp(_) | Self::Tcp(_) => Reason::Unreachable,
            Self::NoSocket => Reason::TooMany,
            Self::OverQuota(_) => Reason::OverQuota,
        }
    }
}

async fn exchange<'a>(
    query: &Query,
    nameserver: SocketAddr,
    seat: &'a Seat,
    quota: &Quota,
    give_up: Instant,
) -> Result<Answered<'a>, Failure> {
    take(quota, seat, 1).await?;
    // Held until the end: TCP takes the place of the UDP socket.
    let right = seat.socket().ok_or(Failure::NoSocket)?;
    let (reply, socket, sent) = over_udp(query, nameserver, quota, seat, give_up).await?;
    if !is_truncated(&reply) {
        seat.counters().upstream.record(sent.elapsed());
        return Ok(Answered {
            message: reply,
            _socket: Some(socket),
            _seat: Some(right),
        });
    }
    drop(socket);
    let whole = async {
        take(quota, seat, TCP_PACKETS).await?;
        let reply = over_tcp(query, nameserver).await.map_err(Failure::Tcp)?;
        seat.counters().upstream.record(sent.elapsed());
        Ok::<_, Failure>(reply)
    };
    match timeout_at(give_up, whole).await {
        Ok(reply) => Ok(Answered {
            message: reply?,
            _socket: None,
            _seat: Some(right),
        }),
        Err(_) => Err(Failure::NoAnswerOverTcp),
    }
}

/// Waits for the right to so many packets, which are counted.
async fn take(quota: &Quota, seat: &Seat, packets: u32) -> Result<(), OverQuota> {
    let Waited(has_waited) = quota.take(seat.peer(), packets).await?;
    seat.counters().dns_delayed.add(has_waited.into());
    seat.counters().dns_packets.add(packets.into());
    Ok(())
}

/// Gives the reply, its socket, and when the query went out first.
async fn over_udp(
    query: &Query,
    nameserver: SocketAddr,
    quota: &Quota,
    seat: &Seat,
    give_up: Instant,
) -> Result<(Vec<u8>, AsyncFd<UdpSocket>, Instant), Failure> {
    let socket = dial(nameserver)?;
    // Nothing is in its way, so it is not waited for.
    socket.send(query.bytes())?;
    // For reading alone: that there is room to write, which is so at once, would be one event more.
    let events = Interest::READABLE | Interest::ERROR;
    // SAFETY: the socket owns its descriptor and is not changed until it is dropped.
    #[allow(unsafe_code)]
    let socket =
        unsafe { AsyncFd::register_with_interest(socket, events) }.map_err(io::Error::from)?;
    let sent = Instant::now();
    let resend = (sent + RESEND).min(give_up);
    for until in [resend, give_up] {
        if let Ok(reply) = timeout_at(until, own_reply(&socket, query)).await {
            return Ok((reply?, socket, sent));
        }
        // What was never sent goes before what may have been lost.
        if until < give_up && quota.try_take() {
            seat.counters().dns_packets.add(1);
            socket.get_ref().send(query.bytes())?;
        }
    }
    Err(Failure::NoAnswer)
}

/// A socket that is connected. The kernel binds it to a random port.
fn dial(nameserver: SocketAddr) -> io::Result<UdpSocket> {
    let family = match nameserver {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let dialled = socket(family, SockType::Datagram, flags, None)?;
    connect(dialled.as_raw_fd(), &SockaddrStorage::from(nameserver))?;
    Ok(dialled.into())
}

/// Waits for the reply to `query`; what does not match is ignored, as it may be forged.
async fn own_reply(socket: &AsyncFd<UdpSocket>, query: &Query) -> io::Result<Vec<u8>> {
    // An ICMP error is no datagram: epoll reports it as an error alone.
    let events = Interest::READABLE | Interest::ERROR;
    loop {
        let mut guard = socket.ready(events).await?;
        let received = if guard.ready().is_readable() {
            socket.try_io(Interest::READABLE, |socket| receive(socket, query))
        } else {
            let error = socket.get_ref().take_error()?;
            Err(error.unwrap_or_else(|| {
                guard.clear_ready();
                io::ErrorKind::WouldBlock.into()
            }))
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
        let length = socket.recv(buffer)?;
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
