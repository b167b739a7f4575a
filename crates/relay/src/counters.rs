//! What the relay has done for an enclave, counted where it happens and read when metrics are scraped.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use histogram::Recorder;
use link::Command;
use metrics::Labelled;

/// A number that several connections add to. Nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// What has been done for one enclave.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Count,
    pub(crate) turned_away: Count,
    pub(crate) handshake_failures: Count,
    requests: [[Count; OUTCOMES.len()]; COMMANDS.len()],
    tunnels: Count,
    out: Count,
    into: Count,
    pub(crate) dns_queries: Count,
    pub(crate) dns_answers: Count,
    dns_failures: [Count; REASONS.len()],
    pub(crate) dns_packets: Count,
    pub(crate) dns_delayed: Count,
    pub(crate) upstream: Recorder,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has what it asked for.
    Served,
    /// The policy is against it, or cannot be judged.
    Denied,
    /// It cannot be had.
    Failed,
}

/// Why the relay has no answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoAnswer,
    Unreachable,
    TooMany,
    OverQuota,
}

const COMMANDS: [&str; 5] = ["connect", "bind", "dns", "resolv_conf", "report"];
const OUTCOMES: [&str; 3] = ["served", "denied", "failed"];
const REASONS: [&str; 4] = ["no_answer", "unreachable", "too_many", "over_quota"];

/// What can become of each command: a DNS connection is granted before its nameserver is asked.
const REQUESTS: [(usize, usize); 11] = [
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, 0),
    (2, 1),
    (3, 0),
    (4, 0),
    (4, 2),
];

/// A tunnel, until it is dropped.
pub(crate) struct Tunnel<'a>(&'a Counters);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(crate) fn requested(&self, command: Command, outcome: Outcome) {
        let command = match command {
            Command::Connect(_) => 0,
            Command::Bind(_) => 1,
            Command::Dns(_) => 2,
            Command::ResolvConf => 3,
            Command::Report => 4,
        };
        self.requests[command][outcome as usize].add(1);
    }

    pub(crate) fn dns_failed(&self, reason: Reason) {
        self.dns_failures[reason as usize].add(1);
    }

    pub(crate) fn tunnel(&self) -> Tunnel<'_> {
        self.tunnels.add(1);
        Tunnel(self)
    }

    /// As they are, of an enclave that has so many connections.
    pub(crate) fn snapshot(&self, cid: String, connections: usize) -> metrics::Enclave {
        let direction = |direction, count: &Count| Labelled {
            labels: [direction],
            total: count.read(),
        };
        let reasons = REASONS.iter().zip(&self.dns_failures);
        metrics::Enclave {
            cid,
            connections: connections.try_into().unwrap_or(u64::MAX),
            tunnels: self.tunnels.read(),
            connections_total: self.connections.read(),
            turned_away_total: self.turned_away.read(),
            handshake_failures_total: self.handshake_failures.read(),
            requests_total: REQUESTS
                .iter()
                .map(|&(command, outcome)| Labelled {
                    labels: [COMMANDS[command], OUTCOMES[outcome]],
                    total: self.requests[command][outcome].read(),
                })
                .collect(),
            tunnel_bytes_total: vec![direction("out", &self.out), direction("in", &self.into)],
            dns_queries_total: self.dns_queries.read(),
            dns_answers_total: self.dns_answers.read(),
            dns_failures_total: reasons
                .map(|(reason, count)| direction(reason, count))
                .collect(),
            dns_packets_total: self.dns_packets.read(),
            dns_delayed_total: self.dns_delayed.read(),
            upstream_duration: self.upstream.snapshot(),
        }
    }
}

impl Tunnel<'_> {
    /// Bytes went out of the enclave, and into it.
    pub(crate) fn moved(&self, out: u64, into: u64) {
        self.0.out.add(out);
        self.0.into.add(into);
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels.0.fetch_sub(1, Relaxed);
    }
}
