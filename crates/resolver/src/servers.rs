use std::net::SocketAddr;
use std::time::Duration;

use crate::{Millis, SECOND};

/// Most nameservers that are used; further ones are left out.
pub const MAX_NAMESERVERS: usize = 8;

/// A nameserver that stayed silent is asked last for this long, doubled with each time ...
const FIRST_REST: Millis = SECOND;

/// ... up to this.
const LONGEST_REST: Millis = 30 * SECOND;

/// When a nameserver's rest is over, one lookup finds out whether it is back, and for so long the
/// others pass by it still: as long as it may take to answer.
const PROBE: Millis = 1500;

/// A nameserver, and how it has behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Where it is asked.
    pub address: SocketAddr,
    /// What was heard of it.
    pub health: Health,
}

/// What was heard of a nameserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet.
    Unknown,
    /// An answer, last of all.
    Answers,
    /// Nothing when it was asked, or that it cannot be reached: it is asked last.
    Resting {
        /// For so long; nothing is left when the next lookup tries it.
        left: Duration,
    },
}

/// The nameservers in the order of preference, and which of them are resting.
#[derive(Default)]
pub(crate) struct Servers {
    servers: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    /// 0 while it answers.
    resting_until: Millis,
    /// How long the next rest will be.
    rest: Millis,
    /// The last that was heard of it was an answer.
    answers: bool,
}

/// The nameservers that one lookup has asked, by their place in the list.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried(u8);

impl Servers {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        let server = |&address| Server {
            address,
            resting_until: 0,
            rest: FIRST_REST,
            answers: false,
        };
        Self {
            servers: addresses.iter().take(MAX_NAMESERVERS).map(server).collect(),
        }
    }

    pub(crate) fn are(&self, addresses: &[SocketAddr]) -> bool {
        let ours = self.servers.iter().map(|server| server.address);
        ours.eq(addresses.iter().take(MAX_NAMESERVERS).copied())
    }

    /// The first that is not tried and not resting, else the one whose rest ends first. While none
    /// is known to answer, those that were never asked go before those whose rest is over: a lookup
    /// has time for three, and the one that answers may be the eighth. Once one is known, a lookup
    /// probes one other at most, and then asks that one.
    pub(crate) fn choose(&mut self, now: Millis, tried: &mut Tried) -> Option<SocketAddr> {
        let is_lost = !self.servers.iter().any(|server| server.answers);
        let has_probed = tried.0 != 0;
        let rest = |server: &Server| {
            let unknown = has_probed && !server.answers;
            let again = is_lost && server.resting_until != 0;
            (unknown, server.resting_until.saturating_sub(now), again)
        };
        let (index, server) = self
            .servers
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| tried.0 & (1 << index) == 0)
            .min_by_key(|(_, server)| rest(server))?;
        tried.0 |= 1 << index;
        if server.resting_until != 0 && server.resting_until <= now {
            server.resting_until = now + PROBE;
        }
        Some(server.address)
    }

    /// How each has behaved, in the order of preference.
    pub(crate) fn health(&self, now: Millis) -> Vec<Nameserver> {
        let told = |server: &Server| Nameserver {
            address: server.address,
            health: match server.resting_until {
                0 if server.answers => Health::Answers,
                0 => Health::Unknown,
                until => Health::Resting {
                    left: Duration::from_millis(until.saturating_sub(now)),
                },
            },
        };
        self.servers.iter().map(told).collect()
    }

    /// Whether there is one that is not tried.
    pub(crate) fn has_other(&self, tried: Tried) -> bool {
        (0..self.servers.len()).any(|index| tried.0 & (1 << index) == 0)
    }

    /// Lets a lookup ask a nameserver again.
    pub(crate) fn forget(&self, address: SocketAddr, tried: &mut Tried) {
        let index = self
            .servers
            .iter()
            .position(|server| server.address == address);
        if let Some(index) = index {
            tried.0 &= !(1 << index);
        }
    }

    /// Notes that a nameserver is there; true if it was resting.
    pub(crate) fn answered(&mut self, address: SocketAddr) -> bool {
        let Some(server) = self.find(address) else {
            return false;
        };
        server.rest = FIRST_REST;
        server.answers = true;
        std::mem::take(&mut server.resting_until) > 0
    }

    /// Sends a nameserver to rest. Lookups that fail together count once.
    pub(crate) fn stayed_silent(&mut self, now: Millis, address: SocketAddr) {
        if let Some(server) = self.find(address)
            && server.resting_until <= now
        {
            server.answers = false;
            server.resting_until = now + server.rest;
            server.rest = (server.rest * 2).min(LONGEST_REST);
        }
    }

    /// Forgets all rests.
    pub(crate) fn wake(&mut self) {
        for server in &mut self.servers {
            server.resting_until = 0;
            server.rest = FIRST_REST;
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Server> {
        self.servers
            .iter_mut()
            .find(|server| server.address == address)
    }
}
