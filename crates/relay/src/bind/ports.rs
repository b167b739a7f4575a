//! The parent's ports that enclaves listen on, each with the BINDs that wait for its connections.
//!
//! A port belongs to one enclave at a time: whoever asked first has it until nobody has waited for
//! [`Limits::port_grace`]. That grace bridges the time between a BIND that was taken and the next; the
//! kernel keeps the connections that come in meanwhile. A port whose enclave has gone altogether (it
//! has no connection to the relay, and nobody has waited for [`GONE`]) passes on to the next that asks,
//! and what waits in the kernel is reset: it was meant for the first.
//!
//! One task a port accepts, and only while a BIND waits. It serves the newest first: that enclave was
//! heard of last, and is the likeliest to be alive. One lock guards all ports, held for a look-up or a
//! bind(2), never across an await. A connection is never dropped between two hands: what a BIND cannot
//! use it gives back, and the next one gets it.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Peer, Seldom};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::BindTo;
use super::listener::{ListenError, listen};
use super::place::{Client, Place, QueueError};
use crate::admission::Seat;
use crate::config::Limits;
use crate::server::drained;

/// BINDs that wait on one port: the old `proxify` keeps as many as its program's backlog, at most 128,
/// and dials again without a pause when one is refused.
pub(super) const WAITING: usize = 128;

/// Ports of one enclave: a server has a handful, and each may fill [`WAITING`] descriptors.
pub(super) const PORTS: usize = 64;

/// How long an enclave without a connection keeps a port on which nobody waits: longer than it takes
/// to dial again after its last BIND was taken.
pub(super) const GONE: Duration = Duration::from_millis(500);

/// The wait after the system refused to accept, for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All ports that enclaves listen on.
#[derive(Debug)]
pub(crate) struct Ports {
    bind_to: BindTo,
    grace: Duration,
    drain: watch::Receiver<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ports: HashMap<SocketAddr, Port>,
    /// Numbers waiters, and ports by their first.
    next: u64,
}

/// A port from its opening to its end: the address alone may be another enclave's by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    address: SocketAddr,
    number: u64,
}

#[derive(Debug)]
struct Port {
    number: u64,
    owner: Peer,
    bound: SocketAddr,
    /// The newest last.
    waiting: Vec<Waiter>,
    /// Connections for which nobody waits: one just accepted, and what was given back.
    unserved: VecDeque<Client>,
    /// Since when nobody waits.
    idle: Option<Instant>,
    /// It takes no more waiters: its task is closing the listener.
    closing: bool,
    /// Wakes its task.
    changed: Arc<Notify>,
    /// Ends when the listener is closed.
    closed: watch::Receiver<()>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    client: oneshot::Sender<Client>,
}

impl Ports {
    pub(crate) fn new(bind_to: BindTo, limits: &Limits, drain: watch::Receiver<bool>) -> Self {
        Self {
            bind_to,
            grace: limits.port_grace,
            drain,
            state: Mutex::default(),
        }
    }

    /// A place in the queue for connections to `asked`, which is listened on from here at the latest.
    ///
    /// # Errors
    ///
    /// See [`QueueError`]; [`QueueError::reply`] is what the enclave is told.
    pub(crate) async fn queue(
        self: &Arc<Self>,
        asked: SocketAddr,
        seat: &Seat,
    ) -> Result<Place, QueueError> {
        let address = self.address(asked)?;
        loop {
            match self.join(address, seat)? {
                Joined::Place(place) => return Ok(place),
                // An error is the end that is waited for: its sender has gone.
                Joined::Closing(mut closed) => {
                    let _ = closed.changed().await;
                }
            }
        }
    }

    /// Where to listen, in the one form that an address has here: all addresses are `[::]`.
    fn address(&self, asked: SocketAddr) -> Result<SocketAddr, QueueError> {
        let ip = match (self.bind_to, asked.ip().to_canonical()) {
            (BindTo::None, _) => return Err(QueueError::Off),
            (BindTo::Only(only), ip) if ip.is_unspecified() => only,
            (BindTo::Only(only), ip) if ip != only => return Err(QueueError::Only { only }),
            (_, ip) => ip,
        };
        let ip = match ip.is_unspecified() {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => ip,
        };
        Ok(SocketAddr::new(ip, asked.port()))
    }

    fn join(self: &Arc<Self>, address: SocketAddr, seat: &Seat) -> Result<Joined, QueueError> {
        let peer = seat.peer();
        let mut state = self.state();
        let same = |(bound, _): &(&SocketAddr, &mut Port)| overlap(**bound, address);
        for (_, port) in state.ports.iter_mut().filter(same) {
            if port.closing {
                return Ok(Joined::Closing(port.closed.clone()));
            }
            if port.owner == peer {
                continue;
            }
            let gone = port.idle.is_some_and(|since| since.elapsed() >= GONE);
            if !gone || seat.is_connected(port.owner) {
                let owner = port.owner;
                return Err(QueueError::Taken { address, owner });
            }
            port.closing = true;
            port.changed.notify_one();
            return Ok(Joined::Closing(port.closed.clone()));
        }
        state.next += 1;
        let number = state.next;
        if let Some(port) = state.ports.get_mut(&address) {
            return self.add(number, address, port).map(Joined::Place);
        }
        let owned = state.ports.values().filter(|port| port.owner == peer);
        if owned.count() >= PORTS {
            return Err(QueueError::Ports);
        }
        let (address, mut port) = self.open(number, address, peer)?;
        let place = self.add(number, address, &mut port)?;
        state.ports.insert(address, port);
        Ok(Joined::Place(place))
    }

    fn add(
        self: &Arc<Self>,
        number: u64,
        address: SocketAddr,
        port: &mut Port,
    ) -> Result<Place, QueueError> {
        if port.waiting.len() >= WAITING {
            return Err(QueueError::Waiting);
        }
        let (sender, client) = oneshot::channel();
        port.waiting.push(Waiter {
            number,
            client: sender,
        });
        port.changed.notify_one();
        Ok(Place {
            ports: Arc::clone(self),
            port: Key {
                address,
                number: port.number,
            },
            bound: port.bound,
            number,
            client,
        })
    }

    /// Listens at `address`. The address that is given has the port that is bound, where any was asked
    /// for.
    fn open(
        self: &Arc<Self>,
        number: u64,
        address: SocketAddr,
        owner: Peer,
    ) -> Result<(SocketAddr, Port), QueueError> {
        let listener = listen(address)?;
        let bound = listener
            .local_addr()
            .map_err(|source| ListenError::System { address, source })?;
        info!(peer = %owner, %bound, "listening for an enclave");
        let address = SocketAddr::new(address.ip(), bound.port());
        let key = Key { address, number };
        let changed = Arc::new(Notify::new());
        let (open, closed) = watch::channel(());
        let accepting = Arc::clone(self).accept(key, listener, Arc::clone(&changed), open);
        let port = Port {
            number,
            owner,
            bound,
            waiting: Vec::new(),
            unserved: VecDeque::new(),
            idle: None,
            closing: false,
            changed,
            closed,
        };
        tokio::spawn(accepting);
        Ok((address, port))
    }

    /// A port's task, until nobody has waited for the grace, or the relay stops.
    async fn accept(
        self: Arc<Self>,
        key: Key,
        listener: TcpListener,
        changed: Arc<Notify>,
        open: watch::Sender<()>,
    ) {
        let mut drain = self.drain.clone();
        let mut shortage = Seldom::default();
        loop {
            let turn = self.turn(key);
            tokio::select! {
                () = changed.notified() => {}
                () = drained(&mut drain) => break,
                accepted = listener.accept(), if turn == Turn::Waited => match accepted {
                    Ok((stream, address)) => {
                        self.put(key, Client::new(stream, address));
                    }
                    Err(error) => {
                        if let Some(left_out) = shortage.admit(Instant::now()) {
                            let address = key.address;
                            warn!(%address, %error, left_out, "cannot accept; tried again until it works");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = idle(turn, self.grace) => if self.close(key) {
                    break;
                }
            }
            if turn == Turn::Closing {
                break;
            }
        }
        // In one step, or who is given any free port could get this one while it is still listed; and
        // before its end is told: who waits for that may listen then.
        let mut state = self.state();
        drop(listener);
        let port = state.ports.remove(&key.address);
        drop(state);
        if let Some(port) = port {
            info!(peer = %port.owner, bound = %port.bound, "not listening any more");
            port.unserved.into_iter().for_each(Client::reset);
        }
        drop(open);
    }

    /// Hands out what there is, and says what to do next.
    fn turn(&self, key: Key) -> Turn {
        let mut state = self.state();
        let Some(port) = state.port(key) else {
            return Turn::Closing;
        };
        while let Some(client) = port.unserved.pop_front() {
            let handed = match port.waiting.pop() {
                Some(waiter) => waiter.client.send(client),
                None => {
                    port.unserved.push_front(client);
                    break;
                }
            };
            if let Err(client) = handed {
                port.unserved.push_front(client);
            }
        }
        if port.closing {
            return Turn::Closing;
        }
        if port.waiting.is_empty() {
            return Turn::Idle(*port.idle.get_or_insert_with(Instant::now));
        }
        port.idle = None;
        Turn::Waited
    }

    /// Takes no more waiters, unless one has come.
    fn close(&self, key: Key) -> bool {
        let mut state = self.state();
        let Some(port) = state.port(key) else {
            return true;
        };
        port.closing |= port.waiting.is_empty();
        port.closing
    }

    /// A connection that needs a waiter, of this enclave alone.
    pub(super) fn put(&self, key: Key, client: Client) {
        match self.state().port(key) {
            Some(port) => {
                port.unserved.push_back(client);
                port.changed.notify_one();
            }
            None => client.reset(),
        }
    }

    pub(super) fn leave(&self, key: Key, number: u64) {
        if let Some(port) = self.state().port(key) {
            port.waiting.retain(|waiter| waiter.number != number);
            port.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed in steps that cannot panic between them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The port, unless it has ended.
    fn port(&mut self, key: Key) -> Option<&mut Port> {
        let port = self.ports.get_mut(&key.address)?;
        (port.number == key.number).then_some(port)
    }
}

#[derive(Debug)]
enum Joined {
    Place(Place),
    /// Somebody's listener is being closed; to be asked again then.
    Closing(watch::Receiver<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Waited,
    Idle(Instant),
    Closing,
}

/// Resolves when nobody has waited for `grace`.
async fn idle(turn: Turn, grace: Duration) {
    match turn {
        Turn::Idle(since) => sleep_until(since + grace).await,
        Turn::Closing => {}
        Turn::Waited => std::future::pending().await,
    }
}

/// Whether the kernel would not let both be listened on.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let ips = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && ips
}

#[cfg(test)]
mod tests;
