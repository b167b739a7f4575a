//! The metrics of a relay: of itself, and of what it does for each enclave.

use std::collections::BTreeMap;
use std::time::Duration;

use report::{Histogram, Status};

use crate::family::Read::{Counter, Counters, Gauge, Gauges, Histogram as Durations};
use crate::family::{Family, Labels, float};

/// Enclaves that are shown: a parent has four at a time, and each gets a new CID when it starts anew.
const MAX_ENCLAVES: usize = 128;

/// A relay, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    /// Of proxify-relay.
    pub version: String,
    /// Since it serves.
    pub uptime: Duration,
    /// Times that the parent's resolv.conf could not be read.
    pub resolv_conf_failures_total: u64,
    /// Queries that wait for the quota.
    pub quota_queued_queries: u64,
    /// Packets that may go to nameservers in a second; 0 for no limit.
    pub quota_packets_per_second: u64,
}

/// What a relay has done for an enclave.
#[derive(Clone, Debug, Default)]
pub struct Enclave {
    /// Its CID; of an enclave on another transport than vsock, the peer as the log has it.
    pub cid: String,
    /// Connections of the link that are open.
    pub connections: u64,
    /// Tunnels that are open, in either direction.
    pub tunnels: u64,
    /// Connections of the link.
    pub connections_total: u64,
    /// Connections beyond the limit, which were closed.
    pub turned_away_total: u64,
    /// Handshakes that were broken off, malformed or too slow.
    pub handshake_failures_total: u64,
    /// Requests, by command and outcome.
    pub requests_total: Vec<Labelled<2>>,
    /// Bytes carried, by direction.
    pub tunnel_bytes_total: Vec<Labelled<1>>,
    /// DNS queries.
    pub dns_queries_total: u64,
    /// Answers of nameservers that were handed on.
    pub dns_answers_total: u64,
    /// Queries answered with SERVFAIL by the relay, by reason.
    pub dns_failures_total: Vec<Labelled<1>>,
    /// Packets counted against the quota.
    pub dns_packets_total: u64,
    /// Queries that waited for the quota.
    pub dns_delayed_total: u64,
    /// From a query's going out to its answer.
    pub upstream_duration: Histogram,
}

/// A counter, and the values of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled<const N: usize> {
    /// In the order of the metric's labels.
    pub labels: [&'static str; N],
    /// How many.
    pub total: u64,
}

/// What an enclave told of itself.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    /// As of [`Enclave::cid`].
    pub cid: String,
    /// What it told.
    pub status: Status,
    /// Since it did.
    pub age: Duration,
}

pub(crate) const OF_ITSELF: &[Family<Relay>] = &[
    Family::new(
        "proxify_relay_info",
        "The version of proxify-relay.",
        Gauges(|relay| vec![(vec![("version", relay.version.clone())], 1.0)]),
    ),
    Family::new(
        "proxify_relay_uptime_seconds",
        "Seconds since the relay serves.",
        Gauge(|relay| relay.uptime.as_secs_f64()),
    ),
    Family::new(
        "proxify_relay_resolv_conf_failures_total",
        "Times that the parent's resolv.conf could not be read.",
        Counter(|relay| relay.resolv_conf_failures_total),
    ),
    Family::new(
        "proxify_relay_quota_queued_queries",
        "Queries that wait for the quota of nameservers.",
        Gauge(|relay| float(relay.quota_queued_queries)),
    ),
    Family::new(
        "proxify_relay_quota_packets_per_second",
        "The most packets that may go to nameservers in a second; 0 for no limit.",
        Gauge(|relay| float(relay.quota_packets_per_second)),
    ),
];

pub(crate) const OF_ENCLAVES: &[Family<Enclave>] = &[
    Family::new(
        "proxify_relay_connections",
        "Connections of the link that are open.",
        Gauge(|enclave| float(enclave.connections)),
    ),
    Family::new(
        "proxify_relay_connections_total",
        "Connections of the link that were taken.",
        Counter(|enclave| enclave.connections_total),
    ),
    Family::new(
        "proxify_relay_turned_away_total",
        "Connections of the link that were closed at once, being beyond the limit.",
        Counter(|enclave| enclave.turned_away_total),
    ),
    Family::new(
        "proxify_relay_handshake_failures_total",
        "Connections of the link whose handshake was malformed or too slow.",
        Counter(|enclave| enclave.handshake_failures_total),
    ),
    Family::new(
        "proxify_relay_requests_total",
        "Requests of enclaves, by command and outcome: served, denied by policy, or failed.",
        Counters(|enclave| labelled(["command", "outcome"], &enclave.requests_total)),
    ),
    Family::new(
        "proxify_relay_tunnels",
        "TCP connections that are carried now, out or in.",
        Gauge(|enclave| float(enclave.tunnels)),
    ),
    Family::new(
        "proxify_relay_tunnel_bytes_total",
        "Bytes of TCP connections, by direction as the enclave sees it.",
        Counters(|enclave| labelled(["direction"], &enclave.tunnel_bytes_total)),
    ),
    Family::new(
        "proxify_relay_dns_queries_total",
        "Queries for nameservers.",
        Counter(|enclave| enclave.dns_queries_total),
    ),
    Family::new(
        "proxify_relay_dns_answers_total",
        "Answers of nameservers that were handed on.",
        Counter(|enclave| enclave.dns_answers_total),
    ),
    Family::new(
        "proxify_relay_dns_failures_total",
        "Queries that the relay answered with SERVFAIL, by reason.",
        Counters(|enclave| labelled(["reason"], &enclave.dns_failures_total)),
    ),
    Family::new(
        "proxify_relay_dns_packets_total",
        "Packets counted against the quota of nameservers.",
        Counter(|enclave| enclave.dns_packets_total),
    ),
    Family::new(
        "proxify_relay_dns_delayed_total",
        "Queries that waited for the quota of nameservers.",
        Counter(|enclave| enclave.dns_delayed_total),
    ),
    Family::new(
        "proxify_relay_upstream_duration_seconds",
        "From a query's going out to a nameserver to its answer.",
        Durations(|enclave| enclave.upstream_duration),
    ),
];

pub(crate) const OF_REPORTS: &[Family<Reported>] = &[Family::new(
    "proxify_relay_report_age_seconds",
    "Seconds since the enclave told the relay of itself.",
    Gauge(|reported| reported.age.as_secs_f64()),
)];

fn labelled<const N: usize>(
    names: [&'static str; N],
    values: &[Labelled<N>],
) -> Vec<(Labels, u64)> {
    let labels = |values: [&'static str; N]| {
        let values = values.map(str::to_owned);
        names.into_iter().zip(values).collect()
    };
    values
        .iter()
        .map(|value| (labels(value.labels), value.total))
        .collect()
}

/// In the order of their CIDs, each once and as many as are shown, with its label.
pub(crate) fn first_of_each<T>(all: &[T], cid: fn(&T) -> &String) -> Vec<(Labels, &T)> {
    let each: BTreeMap<&String, &T> = all.iter().rev().map(|one| (cid(one), one)).collect();
    each.into_iter()
        .take(MAX_ENCLAVES)
        .map(|(cid, one)| (vec![("cid", cid.clone())], one))
        .collect()
}
