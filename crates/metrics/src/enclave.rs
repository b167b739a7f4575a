//! The metrics of an enclave: what its proxify tells of itself.

use std::collections::BTreeMap;

use report::{Health, Link, Nameserver, ParentKind, Status};

use crate::family::Read::{Counter, Gauge, Gauges, Histogram};
use crate::family::{Family, Labels, float};

/// Nameservers that are shown of an enclave: those discovered and the first of each of 32 routes.
const MAX_NAMESERVERS: usize = 64;

/// A counter's name is that of its field.
macro_rules! total {
    ($field:ident, $help:literal) => {
        Family::new(
            concat!("proxify_", stringify!($field)),
            $help,
            Counter(|status: &Status| status.totals.$field),
        )
    };
}

/// The same of a gauge.
macro_rules! gauge {
    ($field:ident, $help:literal) => {
        Family::new(
            concat!("proxify_", stringify!($field)),
            $help,
            Gauge(|status: &Status| float(status.gauges.$field)),
        )
    };
}

/// And of a histogram.
macro_rules! duration {
    ($field:ident, $help:literal) => {
        Family::new(
            concat!("proxify_", stringify!($field)),
            $help,
            Histogram(|status: &Status| status.durations.$field),
        )
    };
}

pub(crate) const FAMILIES: &[Family<Status>] = &[
    Family::new(
        "proxify_info",
        "The version of proxify, what answers on the parent, and how TCP is carried out.",
        Gauges(|status| vec![(info(status), 1.0)]),
    ),
    gauge!(uptime_seconds, "Seconds since names are served."),
    total!(queries_total, "Queries of clients."),
    total!(
        dropped_total,
        "Packets to the stub that were dropped: too short, or responses."
    ),
    total!(
        local_total,
        "Queries answered without cache or nameserver: localhost, invalid, ANY, malformed ones."
    ),
    total!(hits_total, "Queries answered from the cache while fresh."),
    total!(
        stale_total,
        "Queries answered from the cache past the TTL, since upstream did not answer in time."
    ),
    total!(
        cached_failures_total,
        "Queries answered with a failure of before."
    ),
    total!(
        misses_total,
        "Lookups begun because the cache had no fresh answer."
    ),
    total!(coalesced_total, "Queries that joined a lookup under way."),
    total!(
        prefetches_total,
        "Lookups begun because a name that is asked for again was about to expire."
    ),
    total!(servfail_total, "Replies with SERVFAIL."),
    total!(
        overload_total,
        "Queries turned away because too many lookups or clients were waiting."
    ),
    total!(
        over_quota_total,
        "Queries turned away because they did not fit into the quota, here or at the relay."
    ),
    total!(
        upstream_queries_total,
        "Questions handed to a nameserver, repeated ones included."
    ),
    total!(
        upstream_packets_total,
        "Packets counted against the quota of nameservers."
    ),
    total!(
        upstream_delayed_total,
        "Questions to a nameserver that waited for the quota before."
    ),
    total!(
        upstream_answers_total,
        "Answers of nameservers that were accepted."
    ),
    total!(
        upstream_failed_attempts_total,
        "Questions to a nameserver without a usable answer: silence, an error, a lost link."
    ),
    total!(
        upstream_blocked_total,
        "Answers that led out of a pin, and were refused."
    ),
    total!(
        egress_connections_total,
        "TCP connections of programs that were carried out."
    ),
    total!(
        egress_failures_total,
        "TCP connections of programs that could not be made."
    ),
    total!(
        publish_connections_total,
        "Connections of clients to published ports."
    ),
    duration!(
        upstream_duration_seconds,
        "From a question's going out to a nameserver to its answer, where that was accepted."
    ),
    duration!(
        lookup_duration_seconds,
        "From a query to its reply, for queries that the cache could not answer."
    ),
    duration!(
        egress_connect_duration_seconds,
        "From asking the parent for a TCP connection to having it."
    ),
    gauge!(cache_entries, "Answers, denials and failures in the cache."),
    gauge!(cache_bytes, "Memory that they take."),
    gauge!(cache_limit_bytes, "Memory that they may take."),
    gauge!(lookups, "Lookups under way."),
    gauge!(waiting_clients, "Clients that wait for lookups."),
    gauge!(
        upstream_queued_lookups,
        "Lookups that wait for the quota of nameservers."
    ),
    gauge!(
        upstream_packets_per_second,
        "Packets to nameservers in the last whole second."
    ),
    gauge!(
        upstream_quota_packets_per_second,
        "The most packets that may go to nameservers in a second; 0 for no limit."
    ),
    gauge!(
        egress_connections,
        "TCP connections of programs that are carried out now."
    ),
    gauge!(
        publish_connections,
        "Connections to published ports that are open now."
    ),
    Family::new(
        "proxify_published_ports",
        "Ports of the parent that lead to programs.",
        Gauge(|status| {
            let published = status.ports.iter().filter(|port| port.published).count();
            float(published.try_into().unwrap_or(u64::MAX))
        }),
    ),
    Family::new(
        "proxify_link_up",
        "Whether a connection to a nameserver is open through the parent.",
        Gauge(|status| truth(status.parent.link == Link::Up)),
    ),
    Family::new(
        "proxify_nameserver_up",
        "Whether the last that was heard of a nameserver was an answer.",
        Gauges(|status| nameservers(status, |known| known.health == Health::Answers)),
    ),
    Family::new(
        "proxify_nameserver_connected",
        "Whether a connection to a nameserver is open.",
        Gauges(|status| nameservers(status, |known| known.connected)),
    ),
];

fn info(status: &Status) -> Labels {
    let parent = match status.parent.kind {
        ParentKind::Relay => "relay",
        ParentKind::Old => "old",
        ParentKind::None => "none",
    };
    vec![
        ("version", status.version.clone()),
        ("parent", parent.to_owned()),
        ("egress", status.egress.clone().unwrap_or("off".to_owned())),
    ]
}

/// Each address under each suffix once: an enclave may say anything.
fn nameservers(status: &Status, is: fn(&Nameserver) -> bool) -> Vec<(Labels, f64)> {
    let first = status.nameservers.iter().take(MAX_NAMESERVERS).rev();
    let each: BTreeMap<_, _> = first
        .map(|known| ((&known.route, &known.address), truth(is(known))))
        .collect();
    let labels = |(route, address): (&String, &String)| {
        vec![("nameserver", address.clone()), ("route", route.clone())]
    };
    each.into_iter()
        .map(|(known, is)| (labels(known), is))
        .collect()
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}
