//! The table of connections: one for each nameserver, whichever routes it is in, and what the log
//! and the stub's owner are told of them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use link::{Parent, Seldom};
use resolver::{Ask, Failed, MAX_NAMESERVERS, Routes};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Instant;
use tracing::{info, warn};
use wire::Name;

use crate::handle::Link;
use crate::upstream::Carrier;

/// How far the stub has come with its nameservers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No connection to a nameserver has been opened yet.
    #[default]
    Nobody,
    /// One to a nameserver of a route has: some names resolve.
    Routed,
    /// One to a nameserver of all other names has.
    Discovered,
}

/// What DNS costs without a relay.
const OLD_PARENT: &str = "an old parent without a relay for DNS: it goes over TCP, and several packets a \
    lookup count against AmazonDNS's quota of 1024 packets a second; proxify-relay there makes it one";

/// Queries that wait for one nameserver's connection: as many as lookups can be under way.
const MAX_ASKS: usize = 4096;

pub(crate) struct Upstreams {
    /// Where queries wait for the connection of each nameserver.
    asks: HashMap<SocketAddr, mpsc::Sender<Ask>>,
    /// Connections that are open. A nameserver that was dropped and taken again may have two for a
    /// while.
    open: HashMap<SocketAddr, usize>,
    /// Whom all names are asked at that no route takes.
    discovered: Group,
    routed: Vec<Group>,
    /// What the log knows of the link.
    link: Word,
    carrier: Option<Carrier>,
    /// Of parents without a relay, which may come and go.
    old_parents: Seldom,
}

/// Nameservers that stand in for each other.
struct Group {
    suffix: Name,
    nameservers: Vec<SocketAddr>,
    /// What the log knows of it: none of them can be reached.
    word: Word,
}

/// What the log is told of something that is down or up: once a minute, however often it changes.
#[derive(Default)]
struct Word {
    is_down: bool,
    /// Whether the log has that it is down.
    is_told: bool,
    line: Seldom,
}

impl Word {
    /// Notes that it is down; with how many of its like were left out, if a line is to be written.
    fn down(&mut self) -> Option<u64> {
        self.is_down = true;
        if self.is_told {
            return None;
        }
        let left_out = self.line.admit(Instant::now())?;
        self.is_told = true;
        Some(left_out)
    }

    /// Notes that it is up; whether the log has it otherwise.
    fn up(&mut self) -> bool {
        self.is_down = false;
        std::mem::take(&mut self.is_told)
    }
}

impl Group {
    fn new(suffix: Name, nameservers: &[SocketAddr]) -> Self {
        let used = nameservers.iter().take(MAX_NAMESERVERS);
        Self {
            suffix,
            nameservers: used.copied().collect(),
            word: Word::default(),
        }
    }
}

impl Upstreams {
    pub(crate) fn new(routes: &Routes) -> Self {
        let group = |route: &resolver::Route| Group::new(route.suffix, &route.nameservers);
        Self {
            asks: HashMap::new(),
            open: HashMap::new(),
            discovered: Group::new(Name::ROOT, &[]),
            routed: routes.iter().map(group).collect(),
            link: Word::default(),
            carrier: None,
            old_parents: Seldom::default(),
        }
    }

    /// Calls `connect` for each nameserver that is new, of the routes too, with the queries that
    /// will be for it. For those that are gone the queries end.
    pub(crate) fn follow(
        &mut self,
        discovered: &[SocketAddr],
        mut connect: impl FnMut(SocketAddr, Receiver<Ask>),
    ) {
        self.discovered = Group::new(Name::ROOT, discovered);
        let groups = || self.routed.iter().chain([&self.discovered]);
        self.asks
            .retain(|address, _| groups().any(|group| group.nameservers.contains(address)));
        for &nameserver in groups().flat_map(|group| &group.nameservers) {
            self.asks.entry(nameserver).or_insert_with(|| {
                let (asks, asked) = mpsc::channel(MAX_ASKS);
                connect(nameserver, asked);
                asks
            });
        }
    }

    /// Passes a query on. One that cannot be is given back with the reason.
    pub(crate) fn send(&self, ask: Ask) -> Option<(Ask, Failed)> {
        match self.asks.get(&ask.nameserver) {
            Some(asks) => match asks.try_send(ask) {
                Ok(()) => None,
                Err(TrySendError::Full(ask)) => Some((ask, Failed::Link)),
                Err(TrySendError::Closed(ask)) => Some((ask, Failed::Unreachable)),
            },
            None => Some((ask, Failed::Unreachable)),
        }
    }

    /// Notes that a connection is open; true if none was.
    pub(crate) fn opened(
        &mut self,
        nameserver: SocketAddr,
        carrier: Carrier,
        parent: &Parent,
    ) -> bool {
        if self.carrier.replace(carrier) != Some(carrier) {
            self.tell(carrier, parent);
        }
        let was_empty = self.open.is_empty();
        *self.open.entry(nameserver).or_default() += 1;
        for group in self.routed.iter_mut().chain([&mut self.discovered]) {
            if group.nameservers.contains(&nameserver) && group.word.up() {
                warn!(route = %group.suffix, %nameserver, "names of this route resolve again");
            }
        }
        if was_empty {
            if self.link.up() {
                warn!(%parent, "the link to the parent is up again");
            } else {
                info!(%parent, "the link to the parent is up");
            }
        }
        was_empty
    }

    fn tell(&mut self, carrier: Carrier, parent: &Parent) {
        match carrier {
            Carrier::Relay => info!(%parent, "a relay: DNS goes to the nameservers by UDP"),
            Carrier::PlainTcp => match self.old_parents.admit(Instant::now()) {
                Some(left_out) => warn!(%parent, left_out, "{OLD_PARENT}"),
                None => info!(%parent, "{OLD_PARENT}"),
            },
        }
    }

    /// Notes that a connection has ended; the next may be open within milliseconds.
    pub(crate) fn closed(&mut self, nameserver: SocketAddr) {
        if let Some(open) = self.open.get_mut(&nameserver) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&nameserver);
            }
        }
    }

    /// Notes that no connection can be opened, with a log line when the link goes down, or a route has
    /// nobody left whom the parent reaches.
    pub(crate) fn unreachable(
        &mut self,
        nameserver: SocketAddr,
        failed: Failed,
        error: &impl fmt::Display,
    ) {
        if self.open.is_empty() {
            if let Some(left_out) = self.link.down() {
                warn!(%nameserver, %error, left_out, "names that are not cached do not resolve");
            }
            return;
        }
        for (route, left_out) in self.lost(nameserver, failed) {
            warn!(
                %route, %nameserver, %error, left_out,
                "names of this route that are not cached do not resolve"
            );
        }
    }

    /// The routes that have nobody left, if it is to be said, and how often it was not. What the link loses is about to
    /// come back, or the link to go down as a whole.
    fn lost(&mut self, nameserver: SocketAddr, failed: Failed) -> Vec<(Name, u64)> {
        let has = |address: &SocketAddr| self.open.contains_key(address);
        let mut lost = Vec::new();
        for group in self.routed.iter_mut().chain([&mut self.discovered]) {
            if failed == Failed::Unreachable
                && group.nameservers.contains(&nameserver)
                && !group.nameservers.iter().any(has)
                && let Some(left_out) = group.word.down()
            {
                lost.push((group.suffix, left_out));
            }
        }
        lost
    }

    /// Whether a connection to a nameserver is open.
    pub(crate) fn has(&self, nameserver: SocketAddr) -> bool {
        self.open.contains_key(&nameserver)
    }

    /// How the link is.
    pub(crate) fn link(&self) -> Link {
        match (self.open.is_empty(), self.carrier) {
            (false, _) => Link::Up,
            (true, None) if !self.link.is_down => Link::Connecting,
            (true, _) => Link::Down,
        }
    }

    /// Whether the parent had a relay when a connection was opened last; none before the first.
    pub(crate) fn has_relay(&self) -> Option<bool> {
        self.carrier.map(|carrier| carrier == Carrier::Relay)
    }

    /// Whom there is a connection to now.
    pub(crate) fn reach(&self) -> Reach {
        let has = |address: &SocketAddr| self.open.contains_key(address);
        if self.discovered.nameservers.iter().any(has) {
            return Reach::Discovered;
        }
        match self
            .routed
            .iter()
            .any(|group| group.nameservers.iter().any(has))
        {
            true => Reach::Routed,
            false => Reach::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resolver::Route;

    use super::*;

    fn nameserver(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 53))
    }

    /// Discovered is 10.0.0.2; `a` has .3 and .4, `b` has .4 alone.
    fn upstreams() -> Upstreams {
        let route = |suffix: &str, hosts: &[u8]| Route {
            suffix: suffix.parse().unwrap(),
            nameservers: hosts.iter().copied().map(nameserver).collect(),
        };
        let routes = vec![route("a", &[3, 4]), route("b", &[4])];
        let mut upstreams = Upstreams::new(&Routes::new(routes).unwrap());
        upstreams.follow(&[nameserver(2)], |_, _| {});
        upstreams
    }

    fn open(upstreams: &mut Upstreams, host: u8) -> bool {
        let parent = Parent::new(
            link::Address::Unix("/nonexistent".into()),
            link::DEFAULT_PORT,
        );
        upstreams.opened(nameserver(host), Carrier::Relay, &parent)
    }

    fn lost(upstreams: &mut Upstreams, host: u8) -> Vec<String> {
        let lost = upstreams.lost(nameserver(host), Failed::Unreachable);
        lost.iter().map(|(suffix, _)| suffix.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_is_lost_once_with_the_last_of_its_nameservers() {
        let mut upstreams = upstreams();
        for host in 2..=4 {
            open(&mut upstreams, host);
        }
        upstreams.closed(nameserver(4));
        // What the link loses is not lost.
        assert_eq!(upstreams.lost(nameserver(4), Failed::Link), []);
        assert_eq!(lost(&mut upstreams, 4), ["b"]);
        assert!(lost(&mut upstreams, 4).is_empty(), "it was told");
        upstreams.closed(nameserver(3));
        assert_eq!(lost(&mut upstreams, 3), ["a"]);
        open(&mut upstreams, 4);
        upstreams.closed(nameserver(4));
        assert!(lost(&mut upstreams, 4).is_empty(), "told within the minute");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(lost(&mut upstreams, 4), ["a", "b"], "both were back");
        open(&mut upstreams, 3);
        upstreams.closed(nameserver(2));
        assert_eq!(lost(&mut upstreams, 2), ["."]);
    }

    #[test]
    fn the_link_is_up_with_the_first_connection_and_down_with_the_last() {
        let mut upstreams = upstreams();
        assert_eq!(upstreams.reach(), Reach::Nobody);
        assert!(open(&mut upstreams, 4));
        assert_eq!(upstreams.reach(), Reach::Routed);
        assert!(!open(&mut upstreams, 2));
        assert_eq!(upstreams.reach(), Reach::Discovered);
        // One to a nameserver that was dropped and taken again.
        assert!(!open(&mut upstreams, 2));
        upstreams.closed(nameserver(2));
        assert_eq!(upstreams.reach(), Reach::Discovered);
        upstreams.closed(nameserver(2));
        upstreams.closed(nameserver(4));
        assert_eq!(upstreams.reach(), Reach::Nobody);
        assert!(open(&mut upstreams, 3));
    }
}
