//! The shard and what carries out its actions.
//!
//! One mutex guards the shard. It is held for a batch of packets, an answer or a tick, never across
//! an await or a system call, and what the shard wants done is done after it is released. The mutex of the
//! upstreams is taken for itself alone. On the one thread that the stub runs on nobody ever waits for
//! either; on several, the longest wait is the cache's worst case (`resolver`'s cache has it), or the
//! tick that ends all lookups under way.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use link::{Complaints, Parent};
use resolver::{
    Action, Ask, Config, Counters, Failed, LastFailure, Lead, MAX_REPLY, Refusal, Shard, Step,
    Ticket, Transport,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};
use wire::{HEADER, Name};

use crate::alarm::{Alarm, Sleep};
use crate::handle::Link;
use crate::query_log;
use crate::tcp::Replies;
use crate::udp::Socket;
use crate::upstream::{self, Carrier};
use crate::upstreams::{Reach, Upstreams};

mod operators;

/// What the line of a lookup that failed ends with.
const MORE: &str = "; `proxify explain NAME` tells more";

/// Stands for the nameserver of failures that are none's.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// How a client that waits is found again.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Udp {
        socket: usize,
        peer: SocketAddr,
    },
    Tcp(Replies),
    /// Who looks past the cache: there is room for the one reply.
    Operator(mpsc::Sender<Vec<u8>>),
}

pub(crate) struct Core {
    state: Mutex<State>,
    sockets: Vec<Socket>,
    upstreams: Mutex<Upstreams>,
    complaints: Mutex<Complaints>,
    parent: Parent,
    /// Wakes [`Core::keep_time`].
    alarm: Alarm,
    reach: watch::Sender<Reach>,
}

struct State {
    shard: Shard<Client>,
    sleep: Sleep,
    actions: Vec<Action<Client>>,
    /// Failed lookups that the log has been told of.
    told: u64,
    /// Where replies over TCP are written.
    reply: Box<[u8]>,
}

impl Core {
    pub(crate) fn new(
        sockets: Vec<Socket>,
        config: Config,
        parent: Parent,
        reach: watch::Sender<Reach>,
    ) -> Self {
        let upstreams = Mutex::new(Upstreams::new(&config.routes));
        let shard = Shard::new(config, now());
        Self {
            state: Mutex::new(State {
                shard,
                sleep: Sleep::default(),
                actions: Vec::new(),
                told: 0,
                reply: vec![0; MAX_REPLY].into_boxed_slice(),
            }),
            sockets,
            upstreams,
            complaints: Mutex::default(),
            parent,
            alarm: Alarm::new(),
            reach,
        }
    }

    /// From now on each query has a line in the log.
    pub(crate) fn log_queries(&self) {
        self.lock().shard.log_queries(now());
    }

    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn socket(&self, index: usize) -> Option<&Socket> {
        self.sockets.get(index)
    }

    /// Calls `each` with the shard once for a batch of packets.
    pub(crate) fn batch(self: &Arc<Self>, each: impl FnOnce(&mut Queries<'_>)) {
        self.act(|State { shard, actions, .. }| {
            each(&mut Queries {
                shard,
                actions,
                now: now(),
            });
        });
    }

    /// Takes one query that came over TCP; a reply known at once is given to `reply`.
    pub(crate) fn query_tcp(
        self: &Arc<Self>,
        client: Client,
        packet: &[u8],
        reply: impl FnOnce(&[u8]),
    ) -> Asked {
        self.act(|state| {
            let out = &mut state.reply;
            let step = state
                .shard
                .query(now(), client, Transport::Tcp, packet, out);
            match step {
                Step::Reply(length) => {
                    reply(out.get(..length).unwrap_or_default());
                    Asked::Replied
                }
                Step::ReplyAndAsk(length, ask) => {
                    reply(out.get(..length).unwrap_or_default());
                    state.actions.push(Action::Ask(ask));
                    Asked::Replied
                }
                Step::Ask(ask) => {
                    state.actions.push(Action::Ask(ask));
                    Asked::Waits
                }
                Step::Wait => Asked::Waits,
                Step::Drop => Asked::Dropped,
            }
        })
    }

    /// Takes what became of an [`Ask`].
    pub(crate) fn answer(self: &Arc<Self>, ticket: Ticket, result: Result<&[u8], Failed>) {
        let (fault, refusal, failed) = self.act(|state| {
            let State { shard, actions, .. } = state;
            let fault = shard.answer(now(), ticket, result, actions);
            (fault, shard.take_refusal(), state.failed())
        });
        if let Some(refusal) = refusal {
            tell(&refusal);
        }
        if let Some(fault) = fault {
            self.complain(fault.nameserver, fault.what(), Some(&fault.name));
        }
        self.tell_failed(&failed);
    }

    /// Writes a line about a nameserver, or what stands in its place, once a minute for each thing that
    /// it does. The name that was asked for is for those who look for it.
    pub(crate) fn complain(&self, nameserver: SocketAddr, what: &'static str, name: Option<&Name>) {
        if let Some(left_out) = self.admit(nameserver, what) {
            warn!(%nameserver, left_out, "a nameserver {what}{MORE}");
            if let Some(name) = name {
                debug!(%nameserver, %name, "it {what}");
            }
        }
    }

    /// The same of lookups that failed. What is told otherwise is told once.
    fn tell_failed(&self, failed: &[LastFailure]) {
        for failure in failed {
            let LastFailure {
                name,
                qtype,
                code,
                text,
                nameserver,
                what,
                is_told,
                ..
            } = failure;
            debug!(%name, qtype, ede = code, reason = %text, "lookup failed");
            // While the link is down, that is what is told.
            if *is_told || self.upstreams().link() != Link::Up {
                continue;
            }
            if let Some(left_out) = self.admit(nameserver.unwrap_or(NOBODY), what) {
                let nameserver = nameserver.map(tracing::field::display);
                warn!(
                    reason = %text,
                    ede = code,
                    nameserver,
                    left_out,
                    "a lookup failed{MORE}"
                );
            }
        }
    }

    /// Whether a line may be written now, and then how many of its like were left out before it.
    fn admit(&self, about: SocketAddr, what: &'static str) -> Option<u64> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(about, what, tokio::time::Instant::now())
    }

    /// Follows the nameservers of all names that no route takes: connections to new ones are opened,
    /// those to old ones end when what is in flight on them has ended. `tasks` keep them. The first
    /// call opens those of the routes.
    pub(crate) fn set_nameservers(
        self: &Arc<Self>,
        nameservers: &[SocketAddr],
        tasks: &mut JoinSet<()>,
    ) {
        while tasks.try_join_next().is_some() {}
        let reach = {
            let mut upstreams = self.upstreams();
            upstreams.follow(nameservers, |nameserver, asked| {
                tasks.spawn(upstream::keep(Arc::clone(self), nameserver, asked));
            });
            upstreams.reach()
        };
        self.tell(reach);
        self.act(|State { shard, actions, .. }| shard.set_nameservers(now(), nameservers, actions));
    }

    /// Calls the shard when something is due.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let next = || {
            let mut state = self.lock();
            let next = state.shard.next_tick();
            state.sleep.until(next);
            next
        };
        let sleep = async |until: Instant| tokio::time::sleep_until(until.into()).await;
        let tick = || {
            let failed = self.act(|state| {
                state.sleep.end();
                state.shard.tick(now(), &mut state.actions);
                state.failed()
            });
            self.tell_failed(&failed);
        };
        self.alarm.keep_time(next, sleep, tick).await;
    }

    /// Notes that a connection to a nameserver is open.
    pub(crate) fn opened(self: &Arc<Self>, nameserver: SocketAddr, carrier: Carrier) {
        let (link_is_up, reach) = {
            let mut upstreams = self.upstreams();
            let is_first = upstreams.opened(nameserver, carrier, &self.parent);
            (is_first, upstreams.reach())
        };
        self.tell(reach);
        self.act(|State { shard, actions, .. }| {
            shard.set_cost(carrier.packets());
            if link_is_up {
                shard.link_is_up(now(), actions);
            }
        });
    }

    /// Notes that the parent is there.
    pub(crate) fn heard(self: &Arc<Self>) {
        self.act(|State { shard, .. }| shard.link_is_heard(now()));
    }

    /// Notes that nothing came of the parent since then.
    pub(crate) fn silent(self: &Arc<Self>, since: tokio::time::Instant) {
        self.act(|State { shard, .. }| shard.link_is_silent(now(), since.into_std()));
    }

    /// Whether any connection to a nameserver is open.
    pub(crate) fn is_linked(&self) -> bool {
        self.upstreams().link() == Link::Up
    }

    /// Whether somebody waits for the answer still.
    pub(crate) fn wants(&self, ask: &Ask) -> bool {
        self.lock().shard.is_wanted(ask.ticket)
    }

    /// Notes packets to a nameserver that no [`Ask`] was for.
    pub(crate) fn spent(self: &Arc<Self>, packets: u32) {
        self.act(|State { shard, .. }| shard.spend(now(), packets));
    }

    /// Tells the owner how far the stub has ever come.
    fn tell(&self, reach: Reach) {
        self.reach.send_if_modified(|known| {
            let is_news = reach > *known;
            *known = reach.max(*known);
            is_news
        });
    }

    /// Notes that a connection to a nameserver has ended.
    pub(crate) fn closed(&self, nameserver: SocketAddr) {
        self.upstreams().closed(nameserver);
    }

    /// Notes that no connection to a nameserver can be opened.
    pub(crate) fn unreachable(
        &self,
        nameserver: SocketAddr,
        failed: Failed,
        error: &impl fmt::Display,
    ) {
        self.upstreams().unreachable(nameserver, failed, error);
    }

    pub(crate) fn parent(&self) -> &Parent {
        &self.parent
    }

    pub(crate) fn counters(&self) -> Counters {
        self.lock().shard.counters()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends the shard, and then does what it wants done.
    fn act<T>(self: &Arc<Self>, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        let logged = state.shard.take_logged();
        self.finish(state);
        query_log::write(&logged);
        result
    }

    /// Releases the shard and does what it wants done.
    fn finish(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let next = state.shard.next_tick();
        self.alarm.ring_if_earlier(&mut state.sleep, next);
        if state.actions.is_empty() {
            return;
        }
        let mut actions = std::mem::take(&mut state.actions);
        drop(state);
        for action in actions.drain(..) {
            match action {
                Action::Ask(ask) => self.ask(ask),
                Action::Reply { client, message } => self.reply(client, message),
            }
        }
        // The allocation is used again.
        let mut state = self.lock();
        if state.actions.is_empty() {
            state.actions = actions;
        }
    }

    fn ask(self: &Arc<Self>, ask: Ask) {
        debug!(
            name = %Name::read(&ask.message, HEADER).unwrap_or(Name::ROOT),
            route = %ask.route,
            nameserver = %ask.nameserver,
            "a question goes upstream"
        );
        let unsent = self.upstreams().send(ask);
        // The shard may ask again at once, but no nameserver more than twice: the depth is bounded.
        if let Some((ask, failed)) = unsent {
            self.answer(ask.ticket, Err(failed));
        }
    }

    fn reply(self: &Arc<Self>, client: Client, message: Vec<u8>) {
        match client {
            Client::Udp { socket, peer } => {
                let sent = self
                    .socket(socket)
                    .map(|socket| socket.try_send_to(&message, peer));
                if let Some(Err(error)) = sent
                    && error.kind() == io::ErrorKind::WouldBlock
                {
                    // Rare on loopback, and as many as lookups at the most.
                    let core = Arc::clone(self);
                    tokio::spawn(async move {
                        if let Some(socket) = core.socket(socket) {
                            let _ = socket.send_to(&message, peer).await;
                        }
                    });
                }
            }
            Client::Tcp(replies) => replies.send(message),
            Client::Operator(reply) => drop(reply.try_send(message)),
        }
    }
}

impl State {
    /// Lookups that have failed since this was asked last; none, almost always.
    fn failed(&mut self) -> Vec<LastFailure> {
        let told = std::mem::replace(&mut self.told, self.shard.failed());
        if told == self.told {
            return Vec::new();
        }
        self.shard.failed_since(told).cloned().collect()
    }
}

/// Tells of answers that lead out of a pin, without the names asked for.
fn tell(refusal: &Refusal) {
    let Refusal {
        suffix,
        nameserver,
        left_out,
        ..
    } = refusal;
    let lead = match refusal.lead {
        Lead::Address(address) => address.to_string(),
        Lead::Name => "another host's name".to_owned(),
    };
    warn!(
        pin = %suffix, outside = lead, %nameserver, left_out,
        "an answer leads out of its pin, and is refused: an endpoint may be lost, or the answer forged{MORE}"
    );
}

/// What became of a query over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Replied,
    Waits,
    Dropped,
}

/// The shard, lent for a batch of packets that came at one time.
pub(crate) struct Queries<'a> {
    shard: &'a mut Shard<Client>,
    actions: &'a mut Vec<Action<Client>>,
    now: Instant,
}

impl Queries<'_> {
    /// The length of the reply written into `out`, if it is known at once.
    pub(crate) fn query(&mut self, client: Client, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        match self
            .shard
            .query(self.now, client, Transport::Udp, packet, out)
        {
            Step::Reply(length) => Some(length),
            Step::ReplyAndAsk(length, ask) => {
                self.actions.push(Action::Ask(ask));
                Some(length)
            }
            Step::Ask(ask) => {
                self.actions.push(Action::Ask(ask));
                None
            }
            Step::Wait | Step::Drop => None,
        }
    }
}

/// The clock of the runtime, which tests may pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
