//! The page that Prometheus scrapes.

use std::cmp::Reverse;

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
    metrics::relay(&itself, &enclaves, &reported(relay))
}

/// What those tell who report now, the last word of each enclave first.
fn reported(relay: &Relay) -> Vec<metrics::Reported> {
    let mut reporting = relay.enclaves.snapshot();
    reporting.retain(|enclave| enclave.ended.is_none());
    reporting.sort_by_key(|enclave| Reverse(enclave.received));
    let told = reporting.into_iter().filter_map(|enclave| {
        Some(metrics::Reported {
            cid: cid(enclave.peer),
            status: enclave.status?,
            age: enclave.received.elapsed(),
        })
    });
    told.collect()
}

/// How an enclave is labelled: one label, whatever the transport, so that one query fits all.
fn cid(peer: Peer) -> String {
    match peer {
        Peer::Cid(cid) => cid.to_string(),
        other => other.to_string(),
    }
}
