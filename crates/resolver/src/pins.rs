//! Where addresses of names under a suffix must lie: an answer with one outside is no answer.
//!
//! The parent carries all DNS and can forge what is not signed, and an endpoint can be lost: its
//! service's public addresses then come back in its place. A pin is the operator's word against both.
//! Pins never change, so that nothing in the cache was let in by other ones.
//!
//! Which pins judge an answer:
//!
//! - for each name from the question along its aliases, the pin with the longest suffix that the name is
//!   at or under. So a pinned name may be an alias of any other, as long as it leads to addresses
//!   within its pin, and an alias of a pinned name is held to that name's pin;
//! - but none that a name before was released from, by a longer suffix or as one of S3's or DynamoDB's
//!   ([`gateway`]): what such a name is an alias of is that name's own matter;
//! - where a pinned suffix stands before another, as a search list makes names
//!   (`ec2.us-east-1.amazonaws.com.corp.example`), its pin too.
//!
//! [`Pins::take_search`] says which search names of the parent may be used at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use thiserror::Error;
use wire::{Name, suffixes};

use crate::{Millis, SECOND};

mod gateway;

/// Most pins: one bit each.
pub const MAX_PINS: usize = 32;

/// Most networks of a pin: a VPC has at most 50 blocks of IPv4.
pub const MAX_NETWORKS: usize = 64;

/// Between two reports about one pin.
const REPORT_EVERY: Millis = 60 * SECOND;

/// Where the addresses of names under a suffix must lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// For names at it and under it; the root is for all names.
    pub suffix: Name,
    /// One of these has each address.
    pub networks: Vec<IpNet>,
}

/// At most [`MAX_PINS`] pins, no two for one suffix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Vec<Pin>);

/// What pins say of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Those that hold it: mostly one.
    pub by: Vec<Pin>,
    /// The suffix of the pin that does not, since the name is one of S3's or DynamoDB's.
    pub exempt_from: Option<Name>,
}

/// Pins that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PinsError {
    /// Whether both count, or which, would be a guess.
    #[error("{suffix} has two pins: write one, with commas between its networks")]
    Twice {
        /// The suffix of both.
        suffix: String,
    },
    /// More than there are bits for.
    #[error("{count} pins are too many: write at most {MAX_PINS}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// More than are worth a look at each address.
    #[error("{suffix} has {count} networks: write at most {MAX_NETWORKS}")]
    TooManyNetworks {
        /// Whose they are.
        suffix: String,
        /// How many were given.
        count: usize,
    },
    /// An address of that kind is judged as the IPv4 address that it stands for.
    #[error("{network} for {suffix} stands for IPv4 addresses: write those, such as 10.0.0.0/8")]
    Mapped {
        /// Whose it is.
        suffix: String,
        /// `::ffff:0:0/96`, or within it.
        network: IpNet,
    },
}

/// What is outside of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// An address.
    Address(IpAddr),
    /// The name of another host, whose addresses the pin would not judge.
    Name,
}

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pin: u8,
    pub(crate) lead: Lead,
}

/// An answer that was refused, to be told to the operator; at most one a minute for a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The pin's.
    pub suffix: Name,
    /// What is outside of it.
    pub lead: Lead,
    /// Who gave the answer.
    pub nameserver: SocketAddr,
    /// Refused since the report before, this one not counted.
    pub left_out: u64,
}

impl Pins {
    /// Checks pins against each other. Their order means nothing.
    ///
    /// # Errors
    /// [`PinsError`]
    pub fn new(pins: Vec<Pin>) -> Result<Self, PinsError> {
        let count = pins.len();
        if count > MAX_PINS {
            return Err(PinsError::TooMany { count });
        }
        for (index, Pin { suffix, networks }) in pins.iter().enumerate() {
            let count = networks.len();
            let others = pins.iter().skip(index + 1);
            let mapped = networks.iter().find(|network| is_mapped(network));
            let name = suffix.to_string();
            if others.map(|pin| pin.suffix).any(|other| other == *suffix) {
                return Err(PinsError::Twice { suffix: name });
            }
            if count > MAX_NETWORKS {
                return Err(PinsError::TooManyNetworks {
                    suffix: name,
                    count,
                });
            }
            if let Some(&network) = mapped {
                return Err(PinsError::Mapped {
                    suffix: name,
                    network,
                });
            }
        }
        Ok(Self(pins))
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Pin> {
        self.0.iter()
    }

    /// Whether all answers are as good as any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name of the parent's search list may be used: without pins, or if a pin judges the
    /// names under it. Any other would lead around the pins: when `ec2.us-east-1.amazonaws.com`
    /// is refused, libc asks for that name under each of the list.
    #[must_use]
    pub fn take_search(&self, name: &str) -> bool {
        let is_pinned = |name: Name| {
            let mut judges = self.judges();
            judges.add(&name);
            judges.pins != 0
        };
        self.is_empty() || name.parse().is_ok_and(is_pinned)
    }

    /// What they say of a name by itself, whatever it is an alias of; nothing where there are none.
    #[must_use]
    pub fn explain(&self, name: &Name) -> Option<Held> {
        if self.is_empty() {
            return None;
        }
        let mut judges = self.judges();
        judges.add(name);
        let those = |bits: u32| {
            let pins = self.numbered().filter(move |(pin, _)| bits & 1 << pin != 0);
            pins.map(|(_, pin)| pin.clone())
        };
        let is_gateway = judges.pins == 0 && gateway::service(name).is_some();
        Some(Held {
            by: those(judges.pins).collect(),
            exempt_from: match is_gateway {
                true => those(judges.released).map(|pin| pin.suffix).next(),
                false => None,
            },
        })
    }

    /// Who judge an answer, none yet.
    pub(crate) fn judges(&self) -> Judges<'_> {
        Judges {
            all: self,
            pins: 0,
            released: 0,
        }
    }

    /// The pins by number, as bits and indices.
    fn numbered(&self) -> impl Iterator<Item = (u8, &Pin)> {
        (0..).zip(&self.0)
    }
}

/// The pins that judge an answer, one bit each.
#[derive(Clone, Copy)]
pub(crate) struct Judges<'a> {
    all: &'a Pins,
    pins: u32,
    /// Pins that a name has been released from.
    released: u32,
}

impl Judges<'_> {
    /// Counts in the next name, from the question along its aliases.
    pub(crate) fn add(&mut self, name: &Name) {
        let gateway = gateway::service(name);
        let mut holder = None;
        let mut is_free = false;
        for suffix in suffixes(name.as_bytes()) {
            let pin = self.all.numbered().find(|(_, pin)| pin.is_for(suffix));
            match pin {
                Some((pin, _)) if holder.is_none() && !is_free => holder = Some(pin),
                Some((pin, _)) => self.released |= 1 << pin,
                None => {}
            }
            is_free |= gateway == Some(suffix) && holder.is_none();
        }
        if let Some(holder) = holder {
            self.pins |= 1 << holder & !self.released;
            self.add_within(name);
        }
    }

    /// Counts in the pins of suffixes that stand within a pinned name, before what may be a search name
    /// of the parent's.
    fn add_within(&mut self, name: &Name) {
        let is_pinned = |name: &[u8]| {
            suffixes(name).any(|suffix| self.all.iter().any(|pin| pin.is_for(suffix)))
        };
        let mut within = 0;
        for (number, pin) in self.all.numbered() {
            let Some((_root, labels @ [_, ..])) = pin.suffix.as_bytes().split_last() else {
                continue;
            };
            let is_within = |rest: &[u8]| {
                let search = rest.strip_prefix(labels);
                search.is_some_and(|search| search.len() > 1 && is_pinned(search))
            };
            if suffixes(name.as_bytes()).any(is_within) {
                within |= 1 << number;
            }
        }
        self.pins |= within;
    }

    /// Judges an address.
    pub(crate) fn judge(&self, address: IpAddr) -> Result<(), Outside> {
        let lead = Lead::Address(address);
        match self.first(|pin| !pin.holds(address)) {
            Some(pin) => Err(Outside { pin, lead }),
            None => Ok(()),
        }
    }

    /// Judges the name of another host that clients go to in the place of the one asked for: all pins
    /// that judge the answer must judge that host's addresses too. Gives who judge both.
    pub(crate) fn follow(&self, host: &Name) -> Result<Self, Outside> {
        let mut judges = Judges { pins: 0, ..*self };
        judges.add(host);
        let lead = Lead::Name;
        let missing = self.pins & !judges.pins;
        match self.all.numbered().find(|(pin, _)| missing & 1 << pin != 0) {
            Some((pin, _)) => Err(Outside { pin, lead }),
            None => Ok(judges),
        }
    }

    /// Whether nobody judges.
    pub(crate) fn is_empty(&self) -> bool {
        self.pins == 0
    }

    fn first(&self, is_it: impl Fn(&Pin) -> bool) -> Option<u8> {
        let mut pins = self.all.numbered();
        pins.find(|(number, pin)| self.pins & 1 << number != 0 && is_it(pin))
            .map(|(number, _)| number)
    }
}

impl Pin {
    fn is_for(&self, suffix: &[u8]) -> bool {
        self.suffix.as_bytes() == suffix
    }

    /// An IPv4-mapped address is the IPv4 address. One that carries an IPv4 address through a translator
    /// or a tunnel leads to both.
    fn holds(&self, address: IpAddr) -> bool {
        let is_inside = |address: IpAddr| self.networks.iter().any(|net| net.contains(&address));
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                is_inside(v6.into()) && carried(v6).is_none_or(|v4| is_inside(v4.into()))
            }
            v4 => is_inside(v4),
        }
    }
}

/// The IPv4 address within an IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), NAT64 (RFC 6052)
/// or 6to4 (RFC 3056) one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn is_mapped(network: &IpNet) -> bool {
    let IpNet::V6(network) = network else {
        return false;
    };
    network.prefix_len() >= 96 && network.addr().to_ipv4_mapped().is_some()
}

/// What the operator has been told.
#[derive(Debug)]
pub(crate) struct Reports {
    pins: Vec<Told>,
    next: Option<Refusal>,
}

#[derive(Clone, Debug, Default)]
struct Told {
    at: Option<Millis>,
    left_out: u64,
}

impl Reports {
    pub(crate) fn new(pins: &Pins) -> Self {
        Self {
            pins: vec![Told::default(); pins.0.len()],
            next: None,
        }
    }

    /// Notes that an answer was refused.
    pub(crate) fn refused(
        &mut self,
        now: Millis,
        pins: &Pins,
        outside: Outside,
        nameserver: SocketAddr,
    ) {
        let pin = usize::from(outside.pin);
        let (Some(told), Some(pin)) = (self.pins.get_mut(pin), pins.0.get(pin)) else {
            return;
        };
        if told.at.is_some_and(|at| now < at + REPORT_EVERY) {
            told.left_out += 1;
            return;
        }
        told.at = Some(now);
        self.next = Some(Refusal {
            suffix: pin.suffix,
            lead: outside.lead,
            nameserver,
            left_out: std::mem::take(&mut told.left_out),
        });
    }

    pub(crate) fn take(&mut self) -> Option<Refusal> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests;
