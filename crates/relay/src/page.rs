//! The page that Prometheus scrapes.

use link::Peer;

use crate::admission::Admission;
use crate::server::Relay;

pub(crate) fn page(relay: &Relay, admission: &Admission) -> String {
    let itself = metrics::Relay {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: relay.started.elapsed(),
        resolv_conf_failures_total: relay.resolv_conf_failures.read(),
        quota_queued_queries: relay.quota.queued().try_into().unwrap_or(u64::MAX),
        quota_packets_per_second: relay.limits.upstream_pps.into(),
    };
    let counted = admission.counted().into_iter();
    let enclaves: Vec<_> = counted
        .map(|(peer, connections, counters)| counters.snapshot(cid(peer), connections))
        .collect();
    metrics::relay(&itself, &enclaves, &[])
}

/// How an enclave is labelled: one label, whatever the transport, so that one query fits all.
fn cid(peer: Peer) -> String {
    match peer {
        Peer::Cid(cid) => cid.to_string(),
        other => other.to_string(),
    }
}
