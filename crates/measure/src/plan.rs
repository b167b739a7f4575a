//! What is to be measured.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use link::Parent;

use crate::Questions;

/// Ways that one run compares: colours, and columns of a terminal, are few.
pub const MAX_TARGETS: usize = 8;

/// Lookups of one target at the same time: each has a thread.
pub const MAX_CONCURRENCY: u16 = 256;

/// Lookups a second of one target in an open loop: more than a thread each can begin in time.
pub const MAX_RATE: u32 = 100_000;

/// The longest run: what is seen in an hour is seen in a day.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who is asked, at least one and at most [`MAX_TARGETS`].
    pub targets: Vec<Target>,
    /// What for, at least one.
    pub questions: Questions,
    /// When lookups begin.
    pub pace: Pace,
    /// Lookups of a target under way at the same time, 1 to [`MAX_CONCURRENCY`].
    pub concurrency: u16,
    /// How long, all targets together, up to [`MAX_DURATION`].
    pub duration: Duration,
    /// The most packets a second to where AmazonDNS may be; `None` for no limit.
    pub upstream_pps: Option<u32>,
    /// How long a lookup waits for its answer, and in an open loop for its beginning at the end.
    /// getaddrinfo waits as resolv.conf says.
    pub timeout: Duration,
}

/// When a lookup begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When the one before has ended.
    Closed,
    /// So many each second, of each target, up to [`MAX_RATE`].
    Open(u32),
}

/// One way to look names up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The stub here, over UDP.
    StubUdp(SocketAddr),
    /// The stub here, over TCP, on connections that last.
    StubTcp(SocketAddr),
    /// getaddrinfo(3) of this process's libc, A and AAAA, as nsswitch.conf and resolv.conf say.
    Getaddrinfo {
        /// Whether a nameserver of resolv.conf's is on another machine: then no cache is known to be
        /// before it.
        is_remote: bool,
    },
    /// A nameserver behind the link, past the stub and its cache.
    Upstream {
        /// The way to it.
        parent: Parent,
        /// The parent's nameserver.
        nameserver: SocketAddr,
    },
    /// Any other server, over UDP.
    Server(SocketAddr),
}

impl Target {
    /// A short name, of its column.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::StubUdp(_) => "udp".to_owned(),
            Self::StubTcp(_) => "tcp".to_owned(),
            Self::Getaddrinfo { .. } => "getaddrinfo".to_owned(),
            Self::Upstream { .. } => "upstream".to_owned(),
            Self::Server(address) if address.port() == 53 => address.ip().to_string(),
            Self::Server(address) => address.to_string(),
        }
    }

    /// Packets that one lookup sends.
    pub(crate) fn packets(&self) -> u32 {
        match self {
            Self::Getaddrinfo { .. } => 2,
            _ => 1,
        }
    }

    /// Whether every lookup may reach AmazonDNS, whatever is cached here.
    pub(crate) fn is_past_the_cache(&self) -> bool {
        match self {
            Self::Getaddrinfo { is_remote } => *is_remote,
            Self::Upstream { .. } => true,
            // One on this machine is a cache as the stub is.
            Self::StubUdp(address) | Self::StubTcp(address) | Self::Server(address) => {
                !address.ip().is_loopback()
            }
        }
    }
}

impl fmt::Display for Target {
    /// What stands behind the label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StubUdp(address) => write!(f, "the stub at {address}, over UDP"),
            Self::StubTcp(address) => write!(f, "the stub at {address}, over TCP"),
            Self::Getaddrinfo { .. } => f.write_str("getaddrinfo of libc, A and AAAA"),
            Self::Upstream { parent, nameserver } => {
                write!(f, "{nameserver} through {parent}, past the cache")
            }
            Self::Server(address) => write!(f, "{address}, over UDP"),
        }
    }
}
