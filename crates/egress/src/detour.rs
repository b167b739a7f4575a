//! The detour of a connection's SYN, which keeps what connect() says.
//!
//! ```text
//! program  SYN ──▶ route: TUN ──▶ here ── CONNECT ──▶ relay
//!                                  │
//!          ◀── RST or ICMP ── lo ◀─┤ refused, unreachable, denied: connect() fails as it should
//!                                  │
//!                                  └ connected: RST, so that connection tracking forgets the first
//!                                    SYN, then the same SYN with PSH, which the packet rules
//!                                    redirect to the forwarder. The kernel answers it on lo, and
//!                                    the device sees no more of the connection.
//! ```
//!
//! What the forwarder accepts is matched to the relay's stream by the program's address and the
//! original destination. Streams to one destination are alike as long as nothing was said on them:
//! where the kernel had to translate a program's port, the connection gets any of them.
//!
//! If the marked SYN comes out of the device, the rules did not redirect it: the program's own
//! retransmission came between. Then, and when that retransmission comes, both are sent again.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::dial::{Answer, Dialer};
use crate::netfilter::Family;
use crate::packet::{self, Packet, Syn, Unreachable};
use crate::sockets::RawSocket;
use crate::tun::{MTU, Tun};

/// How long a stream waits for the program, which may have given up: the second retransmission of
/// a SYN comes 3 s after the first.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);

/// How old a handover is before the program's retransmission says that it has failed: a younger one
/// may have waited in the device since before it, and would reset a connection that stands.
const STALE: Duration = Duration::from_millis(200);

/// How often a SYN is sent again; it is needed once in some thousand connections.
const ROUNDS: u8 = 8;

/// The connections that are on their way, and those that are carried.
#[derive(Debug)]
pub(crate) struct Detour {
    sockets: HashMap<Family, RawSocket>,
    dialer: Arc<Dialer>,
    seats: Arc<Semaphore>,
    connections: Mutex<HashMap<Key, Connection>>,
}

/// The program's address, and the one that it asked for.
type Key = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Connection {
    /// The SYN's sequence number: another one is another connection.
    sequence: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The relay is asked.
    Dialling,
    /// It has connected; the program's kernel is being told.
    Connected(Box<Waiting>),
    /// It is carried. A late retransmission must not reset it.
    Carried,
}

#[derive(Debug)]
struct Waiting {
    stream: Stream,
    permit: OwnedSemaphorePermit,
    /// Dropped when the stream is taken.
    _taken: oneshot::Sender<()>,
    rounds: u8,
    since: Instant,
}

/// A relay's stream for an accepted connection.
#[derive(Debug)]
pub(crate) struct Claimed {
    stream: Stream,
    held: Held,
}

/// To be kept while the connection is carried.
#[derive(Debug)]
pub(crate) struct Held {
    detour: Arc<Detour>,
    key: Key,
    sequence: u32,
    _permit: OwnedSemaphorePermit,
}

impl Claimed {
    pub(crate) fn split(self) -> (Stream, Held) {
        (self.stream, self.held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.detour.forget(self.key, self.sequence);
    }
}

impl Detour {
    pub(crate) fn new(
        families: &[Family],
        dialer: Arc<Dialer>,
        seats: Arc<Semaphore>,
    ) -> io::Result<Self> {
        let mut sockets = HashMap::new();
        for family in families {
            sockets.insert(*family, RawSocket::open(*family)?);
        }
        Ok(Self {
            sockets,
            dialer,
            seats,
            connections: Mutex::default(),
        })
    }

    /// Serves the device for as long as it is polled, or until it fails. With it goes the device.
    pub(crate) async fn run(self: Arc<Self>, tun: Tun) -> io::Error {
        let mut buffer = vec![0; MTU.into()];
        loop {
            let length = match tun.read(&mut buffer).await {
                Ok(length) => length,
                Err(error) => return error,
            };
            let packet = buffer.get(..length).unwrap_or_default();
            match Packet::parse(packet) {
                Packet::Syn(syn) => self.receive(syn),
                Packet::Segment(segment) => self.send(segment.from, &segment.reset()),
                Packet::Other => {
                    if let Some((to, rejection)) = packet::rejection(packet) {
                        self.send(SocketAddr::new(to, 0), &rejection);
                    }
                }
                Packet::Ignored => {}
            }
        }
    }

    fn receive(self: &Arc<Self>, syn: Syn) {
        let key = (syn.from, syn.to);
        let mut connections = self.lock();
        if let Some(known) = connections.get_mut(&key)
            && known.sequence == syn.sequence
        {
            if let State::Connected(waiting) = &mut known.state
                && (syn.is_marked() || waiting.since.elapsed() >= STALE)
            {
                waiting.rounds += 1;
                if waiting.rounds > ROUNDS {
                    connections.remove(&key);
                    drop(connections);
                    if let Some(left_out) = self.dialer.admit(syn.to, "not handed over") {
                        warn!(to = %syn.to, left_out, "a connection cannot be handed over");
                    }
                    return self.send(syn.from, &syn.error(Unreachable::Host));
                }
                drop(connections);
                self.redirect(&syn);
            }
            return;
        }
        if syn.is_marked() {
            // Nobody waits for it any more.
            return;
        }
        // When all seats are taken the SYN is lost, and sent again after a second.
        let Ok(permit) = self.seats.clone().try_acquire_owned() else {
            return;
        };
        let connection = Connection {
            sequence: syn.sequence,
            state: State::Dialling,
        };
        connections.insert(key, connection);
        drop(connections);
        tokio::spawn(self.clone().open(syn, permit));
    }

    async fn open(self: Arc<Self>, syn: Syn, permit: OwnedSemaphorePermit) {
        let key = (syn.from, syn.to);
        let stream = match self.dialer.dial(syn.to).await {
            Ok(stream) => stream,
            Err(error) => {
                self.forget(key, syn.sequence);
                let answer = match error.answer() {
                    Answer::Refused => syn.refusal(),
                    Answer::Unreachable(why) => syn.error(why),
                };
                self.send(syn.from, &answer);
                return self.dialer.complain(syn.to, &error, true);
            }
        };
        let (taken, is_taken) = oneshot::channel();
        let waiting = Waiting {
            stream,
            permit,
            _taken: taken,
            rounds: 0,
            since: Instant::now(),
        };
        match self.lock().get_mut(&key) {
            Some(connection) if connection.sequence == syn.sequence => {
                connection.state = State::Connected(Box::new(waiting));
            }
            // The program has opened another one from the same port meanwhile.
            _ => return,
        }
        self.redirect(&syn);
        if timeout(CLAIM_WITHIN, is_taken).await.is_err() {
            debug!(from = %syn.from, to = %syn.to, "the program has gone meanwhile");
            self.forget(key, syn.sequence);
        }
    }

    /// The relay's stream for a connection that the forwarder has accepted.
    pub(crate) fn claim(self: &Arc<Self>, from: SocketAddr, to: SocketAddr) -> Option<Claimed> {
        let mut connections = self.lock();
        let waits = |connection: &Connection| matches!(connection.state, State::Connected(_));
        let key = match connections.get(&(from, to)) {
            Some(connection) if waits(connection) => (from, to),
            _ => {
                *connections
                    .iter()
                    .find(|(key, connection)| key.1 == to && waits(connection))?
                    .0
            }
        };
        let connection = connections.get_mut(&key)?;
        let sequence = connection.sequence;
        match std::mem::replace(&mut connection.state, State::Carried) {
            State::Connected(waiting) => {
                let held = Held {
                    detour: self.clone(),
                    key,
                    sequence,
                    _permit: waiting.permit,
                };
                let stream = waiting.stream;
                Some(Claimed { stream, held })
            }
            State::Dialling | State::Carried => None,
        }
    }

    /// The packet rules meet both on their way out.
    fn redirect(&self, syn: &Syn) {
        self.send(syn.to, &syn.withdrawal());
        self.send(syn.to, &syn.marked());
    }

    /// Sends a packet. What answers a program goes over lo, so that nothing on its way in minds that
    /// it comes from elsewhere, or goes to loopback. One that is lost is made good for by the
    /// program's next retransmission.
    fn send(&self, to: SocketAddr, packet: &[u8]) {
        let family = match to {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        };
        let sent = self
            .sockets
            .get(&family)
            .map(|socket| socket.send(to, packet));
        if let Some(Err(error)) = sent {
            debug!(%to, %error, "a packet could not be sent");
        }
    }

    fn forget(&self, key: Key, sequence: u32) {
        let mut connections = self.lock();
        if connections
            .get(&key)
            .is_some_and(|connection| connection.sequence == sequence)
        {
            connections.remove(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
