//! What a relay is told, and the limits that it keeps.

use std::path::PathBuf;
use std::time::Duration;

use crate::bind::{self, BindTo};
use crate::dns;
use crate::policy::Policy;
use crate::resolv_conf::Files;

/// How a relay behaves.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which addresses the enclaves may reach.
    pub policy: Policy,
    /// Where the enclaves may listen.
    pub bind_to: BindTo,
    /// Where the parent's nameservers are read.
    pub resolv_conf: Files,
    /// Where operators are answered, if they are.
    pub control: Option<PathBuf>,
    /// What one enclave, and all together, may use.
    pub limits: Limits,
    /// Where metrics are scraped, if they are.
    pub metrics: Option<metrics::Endpoint>,
}

/// What one enclave, and all together, may use. `Default` is what a relay runs with; tests shrink
/// what would be slow to reach.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one enclave (by CID) or peer.
    pub connections_per_enclave: usize,
    /// Connections of all enclaves.
    pub connections: usize,
    /// Queries of one DNS connection that wait for their answer; then the relay stops reading.
    pub queries_in_flight: usize,
    /// Sockets towards nameservers of one enclave.
    pub dns_sockets_per_enclave: usize,
    /// Sockets towards nameservers of all enclaves, one a query.
    pub dns_sockets: usize,
    /// Packets to nameservers of all enclaves in any second; 0 for no limit.
    pub upstream_pps: u32,
    /// From accepting a connection to the end of its request.
    pub handshake: Duration,
    /// A TCP connection's setup.
    pub connect: Duration,
    /// How long a BIND waits for a connection.
    pub bind_wait: Duration,
    /// How long a port on which no BIND waits stays open, and its enclave's.
    pub port_grace: Duration,
    /// Bytes buffered in each direction of a DNS connection. (Of a tunnel: see [`link::carry`].)
    pub buffer: usize,
    /// What connections get to end by themselves when the relay stops.
    pub grace: Duration,
}

/// Connections of one enclave (by CID) or peer: 10,000 open at once, and room for bursts. An idle
/// one costs its sockets and about 2 KiB.
pub(crate) const CONNECTIONS_PER_ENCLAVE: usize = 16_384;

/// Connections of all enclaves: four at their limit, as many as a parent instance can have. Each
/// holds at most two sockets.
pub(crate) const CONNECTIONS: usize = 4 * CONNECTIONS_PER_ENCLAVE;

/// Queries of one DNS connection that wait for their answer. At this number the relay stops
/// reading. It is also what AmazonDNS takes from a network interface in a second, so more in
/// flight could only wait.
pub(crate) const QUERIES_IN_FLIGHT: usize = 1024;

/// Sockets towards nameservers that one enclave holds: half of all, so that an enclave whose
/// nameserver is silent leaves the others room.
pub(crate) const DNS_SOCKETS_PER_ENCLAVE: usize = DNS_SOCKETS / 2;

/// Sockets towards nameservers, one a query: four connections at [`QUERIES_IN_FLIGHT`]. The
/// ephemeral ports of Linux are 28,232 by default, and tunnels use them too.
pub(crate) const DNS_SOCKETS: usize = 4096;

/// Packets to nameservers in any second. AmazonDNS drops what is above 1024 from a network interface,
/// which IMDS and NTP have their part in.
pub(crate) const UPSTREAM_PPS: u32 = 900;

/// From accepting a connection to the end of its request; also what a peer gets to take a reply.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// A TCP connection's setup: time for SYNs at 0, 1, 3 and 7 s, and less than the enclave's wait for
/// the reply (`link::HANDSHAKE`), so that it sees "timed out" and not a silent relay.
pub(crate) const CONNECT: Duration = Duration::from_secs(9);

/// How long a port on which no BIND waits stays open: an enclave whose BINDs were all taken sends more
/// in a millisecond, or some seconds when its processor is short. Its clients wait in the kernel.
pub(crate) const PORT_GRACE: Duration = Duration::from_secs(5);

/// Bytes buffered in each direction of a DNS connection: one vsock credit window of Linux is
/// 256 KiB, and 64 KiB are some 500 answers.
pub(crate) const BUFFER: usize = 64 * 1024;

/// What connections get to end by themselves when the relay stops: tunnels to carry their last
/// bytes, queries in flight to be answered (`dns::ANSWER_WITHIN`).
pub(crate) const GRACE: Duration = Duration::from_secs(5);

const _: () = assert!(CONNECT.as_secs() < link::HANDSHAKE.as_secs());
const _: () = assert!(GRACE.as_millis() > dns::ANSWER_WITHIN.as_millis());

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_enclave: CONNECTIONS_PER_ENCLAVE,
            connections: CONNECTIONS,
            queries_in_flight: QUERIES_IN_FLIGHT,
            dns_sockets_per_enclave: DNS_SOCKETS_PER_ENCLAVE,
            dns_sockets: DNS_SOCKETS,
            upstream_pps: UPSTREAM_PPS,
            handshake: HANDSHAKE,
            connect: CONNECT,
            bind_wait: bind::WAIT,
            port_grace: PORT_GRACE,
            buffer: BUFFER,
            grace: GRACE,
        }
    }
}
