//! The driver of the core: DNS over UDP and TCP from loopback in, DNS over the link to the
//! nameservers out.
//!
//! ```text
//! udp, tcp   packet -> shard.query  -> reply at once, or ...
//! upstream   Ask    -> one lasting, pipelined connection a nameserver -> shard.answer
//! core       shard.tick at the time it names; what the shard wants done, done
//! ```
//!
//! All of it runs on the caller's tokio runtime; one thread is enough. A cached answer costs no task,
//! channel, allocation or await of its own: a batch of packets is read, answered and sent in the same
//! turn of the event loop.

#![deny(unsafe_code)]

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use link::Parent;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

mod alarm;
mod core;
mod handle;
mod query_log;
mod sync {
    //! What loom takes the place of in `tests/loom.rs`.
    pub(crate) use tokio::sync::Notify;
}
mod tcp;
mod udp;
mod upstream;
mod upstreams;

#[cfg(test)]
mod tests;

use crate::core::Core;
pub use crate::handle::{Handle, Link, Nameserver, Status};
pub use crate::query_log::QUERY_LOG;
use crate::udp::Socket;
pub use crate::upstreams::Reach;
pub use resolver::{
    Cached, Counters, Durations, Explained, Health, Held, LastFailure, Left, Load, Local, Pin,
    Pins, PinsError, Route, Routes, RoutesError, UnderWay,
};
pub use wire::{Name, ParseNameError};

/// Settings of a stub.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve, over UDP and TCP each. Port 0 picks one port for both.
    pub listen: Vec<SocketAddr>,
    /// Bytes that the cache may take.
    pub cache_size: usize,
    /// Who is asked for names under some suffixes.
    pub routes: Routes,
    /// Where the addresses of names under some suffixes must lie.
    pub pins: Pins,
    /// Packets that may go to nameservers in any second; 0 for no limit.
    pub upstream_pps: u32,
    /// Whether each query has a line in the log, with the target [`QUERY_LOG`].
    pub query_log: bool,
}

/// A stub resolver whose sockets are bound.
pub struct Stub {
    sockets: Vec<(Socket, TcpListener)>,
    addresses: Vec<SocketAddr>,
    cache_size: usize,
    routes: Routes,
    pins: Pins,
    upstream_pps: u32,
    query_log: bool,
    handle: Handle,
}

/// Why the stub cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("cannot listen on {address}: the port is taken")]
    InUse {
        /// Where the stub was to listen.
        address: SocketAddr,
    },
    /// The system refused otherwise.
    #[error("cannot listen on {address}: {source}{}", advice(.source))]
    Io {
        /// Where the stub was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Bytes that may wait in a UDP socket; the kernel doubles it, and counts 768 for a query. Those are 40,000
/// queries: what a flood of 50,000 a second sends while others have the processor for 0.8 s. Somebody
/// else's query is lost where there is no room for it. None of it is taken while nothing waits.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Attempts to find a port that is free for UDP and TCP, when the system is to choose.
const PORT_ATTEMPTS: u32 = 16;

impl Stub {
    /// Binds all sockets. Must be called within a tokio runtime. An IPv6 address is left out with a
    /// note where the system has no IPv6, unless nothing else is left.
    ///
    /// # Errors
    /// [`BindError`], and nothing stays bound.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let mut stub = Self {
            sockets: Vec::new(),
            addresses: Vec::new(),
            cache_size: config.cache_size,
            routes: config.routes.clone(),
            pins: config.pins.clone(),
            upstream_pps: config.upstream_pps,
            query_log: config.query_log,
            handle: Handle::default(),
        };
        let mut left_out = None;
        for &address in &config.listen {
            match bind_both(address) {
                Ok((udp, tcp, bound)) => {
                    stub.sockets.push((udp, tcp));
                    stub.addresses.push(bound);
                }
                Err(source) if is_without_ipv6(address.ip(), &source) => {
                    info!(%address, "not served: this system has no IPv6 address there");
                    left_out = Some(BindError::Io { address, source });
                }
                Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                    return Err(BindError::InUse { address });
                }
                Err(source) => return Err(BindError::Io { address, source }),
            }
        }
        match left_out {
            Some(error) if stub.sockets.is_empty() => Err(error),
            _ => Ok(stub),
        }
    }

    /// The addresses that are served, ports as bound.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// For questions about the stub while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` completes, and closes all sockets. The nameservers of all names that
    /// no route takes may change at any time; none is an empty list, and queries then wait for the
    /// first. `reach` only grows, as connections to nameservers are opened through the link.
    ///
    /// Dropping the future ends everything too, at the runtime's next turn.
    pub async fn run(
        self,
        parent: Parent,
        mut nameservers: watch::Receiver<Arc<[SocketAddr]>>,
        reach: watch::Sender<Reach>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (udp, tcp): (Vec<_>, Vec<_>) = self.sockets.into_iter().unzip();
        let config = resolver::Config {
            cache_size: self.cache_size,
            // The standard library's hash keys come from the system's random numbers.
            seed: [(); 2].map(|()| RandomState::new().hash_one(0)),
            routes: self.routes,
            pins: self.pins,
            upstream_pps: self.upstream_pps,
        };
        let core = Arc::new(Core::new(udp, config, parent, reach));
        if self.query_log {
            core.log_queries();
        }
        self.handle.attach(&core);
        let mut tasks = JoinSet::new();
        for index in 0..core.sockets() {
            tasks.spawn(udp::serve(Arc::clone(&core), index));
        }
        for listener in tcp {
            tasks.spawn(tcp::serve(Arc::clone(&core), listener));
        }
        tasks.spawn(Arc::clone(&core).keep_time());
        let mut upstreams = JoinSet::new();
        let follow = async {
            loop {
                let now = Arc::clone(&nameservers.borrow_and_update());
                core.set_nameservers(&now, &mut upstreams);
                if nameservers.changed().await.is_err() {
                    return std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = follow => {}
            Some(ended) = tasks.join_next() => {
                warn!(?ended, "a task of the stub ended; names no longer resolve");
            }
        }
        let counters = core.counters();
        info!(
            queries = counters.queries,
            hits = counters.hits,
            stale = counters.stale,
            local = counters.local,
            misses = counters.misses,
            servfail = counters.servfail,
            packets = counters.packets,
            "stub ends"
        );
        tasks.shutdown().await;
        upstreams.shutdown().await;
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; a port below 1024 takes root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this system has that address",
        _ => "",
    }
}

fn bind_both(address: SocketAddr) -> io::Result<(Socket, TcpListener, SocketAddr)> {
    let mut attempts = if address.port() == 0 {
        PORT_ATTEMPTS
    } else {
        1
    };
    loop {
        attempts -= 1;
        let tcp = std::net::TcpListener::bind(address)?;
        let bound = tcp.local_addr()?;
        let udp = match std::net::UdpSocket::bind(bound) {
            Ok(udp) => udp,
            Err(error) if attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => continue,
            Err(error) => return Err(error),
        };
        widen(&udp);
        udp::refuse_long(&udp);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        return Ok((Socket::new(udp)?, TcpListener::from_std(tcp)?, bound));
    }
}

/// Lets a burst of queries wait in the socket, as far as privileges go: beyond the system's limit
/// only CAP_NET_ADMIN leads.
fn widen(socket: &std::net::UdpSocket) {
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        // The system's limit then holds, which is no failure.
        let _ = setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
}

fn is_without_ipv6(ip: IpAddr, error: &io::Error) -> bool {
    let no_family = Some(nix::errno::Errno::EAFNOSUPPORT as i32);
    ip.is_ipv6()
        && (error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == no_family)
}
