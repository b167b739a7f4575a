use histogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::printable::printable_line;

/// Nameservers kept of a status that somebody else sent: eight that are found, and those of routes.
const MAX_NAMESERVERS: usize = 64;

/// Ports kept of one.
const MAX_PORTS: usize = 256;

/// Bytes of each text of one: addresses take 47.
const MAX_TEXT: usize = 128;

/// How a running proxify is, at one moment. No name that anybody asked for is in it.
///
/// What only grows while a process lives is in [`Totals`], what goes up and down in [`Gauges`]; their
/// fields are named as Prometheus wants metrics named, unit and `_total` included. A field that the
/// sender does not know yet is read as its default, one that the reader does not know is skipped, and a
/// word that it does not know is the default too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of proxify.
    pub version: String,
    /// Of the process that answers.
    pub pid: u32,
    /// The way out of the enclave.
    pub parent: Parent,
    /// Who is asked: first those of all names that no route takes, then those of each route, in the
    /// order of preference.
    pub nameservers: Vec<Nameserver>,
    /// Suffixes whose names have nameservers of their own.
    pub routes: u64,
    /// Suffixes whose names are held to networks.
    pub pins: u64,
    /// How TCP is carried out: `detour` or `redirect`; none if it is not.
    pub egress: Option<String>,
    /// Ports of the parent that lead to programs here.
    pub ports: Vec<Port>,
    /// What has happened since the process began.
    pub totals: Totals,
    /// What is now.
    pub gauges: Gauges,
    /// How long things took since the process began.
    pub durations: Durations,
}

/// The parent instance, as the enclave sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parent {
    /// As `vsock:3:8888`.
    pub address: String,
    /// What answers there.
    pub kind: ParentKind,
    /// Whether any connection for DNS is open.
    pub link: Link,
}

/// What answers on the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentKind {
    /// proxify-relay.
    Relay,
    /// A `proxy` that knows no DNS: it goes over TCP.
    Old,
    /// Nothing has yet.
    #[default]
    #[serde(other)]
    None,
}

/// The link to the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// A connection to a nameserver is open.
    Up,
    /// None can be opened.
    Down,
    /// It has not been up yet, nor failed.
    #[default]
    #[serde(other)]
    Connecting,
}

/// A nameserver behind the parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nameserver {
    /// `IP:PORT`.
    pub address: String,
    /// The suffix of the names it is asked for; `.` for all that no route takes.
    pub route: String,
    /// Who named it, such as `the parent's resolv.conf`.
    pub source: String,
    /// How it has behaved.
    pub health: Health,
    /// Whether a connection to it is open.
    pub connected: bool,
}

/// How a nameserver has behaved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The last that was heard of it was an answer.
    Answers,
    /// It stayed silent or could not be reached, and is asked last for a while.
    Resting,
    /// It has not been asked, or not answered yet.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A port of the parent that leads to a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Where the parent listens, `IP:PORT`; an unspecified address is all of its.
    pub parent: String,
    /// The program's port.
    pub program: u16,
    /// Whether the parent does listen.
    pub published: bool,
}

/// What has happened since the process began: Prometheus's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Queries of clients.
    pub queries_total: u64,
    /// Packets dropped: too short, or responses.
    pub dropped_total: u64,
    /// Answered by policy, without cache or upstream.
    pub local_total: u64,
    /// Answered from the cache while fresh.
    pub hits_total: u64,
    /// Stale answers given.
    pub stale_total: u64,
    /// Failures given from the cache.
    pub cached_failures_total: u64,
    /// Lookups begun because the cache had no fresh answer.
    pub misses_total: u64,
    /// Queries that joined a lookup under way.
    pub coalesced_total: u64,
    /// Lookups begun because a name that is asked for again was about to expire.
    pub prefetches_total: u64,
    /// Replies with SERVFAIL, cached ones included.
    pub servfail_total: u64,
    /// Queries turned away because too many lookups or waiters were in flight.
    pub overload_total: u64,
    /// Queries turned away because they did not fit into the quota, here or at the relay.
    pub over_quota_total: u64,
    /// Queries handed to a nameserver, retries included.
    pub upstream_queries_total: u64,
    /// Packets counted against the quota.
    pub upstream_packets_total: u64,
    /// Queries to a nameserver that waited for the quota before.
    pub upstream_delayed_total: u64,
    /// Answers from nameservers that were accepted.
    pub upstream_answers_total: u64,
    /// Attempts that failed: no answer, an error, an answer that does not fit, or the link's.
    pub upstream_failed_attempts_total: u64,
    /// Of those, answers that led out of a pin.
    pub upstream_blocked_total: u64,
    /// TCP connections of programs that were carried out.
    pub egress_connections_total: u64,
    /// Those that could not be.
    pub egress_failures_total: u64,
    /// Connections that clients made to published ports.
    pub publish_connections_total: u64,
}

/// What is now: Prometheus's gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gauges {
    /// Since the process serves names.
    pub uptime_seconds: u64,
    /// Answers, denials and failures in the cache.
    pub cache_entries: u64,
    /// What they take.
    pub cache_bytes: u64,
    /// What they may take.
    pub cache_limit_bytes: u64,
    /// Lookups under way.
    pub lookups: u64,
    /// Clients that wait for them.
    pub waiting_clients: u64,
    /// Lookups that wait for the quota.
    pub upstream_queued_lookups: u64,
    /// Packets to nameservers in the last whole second.
    pub upstream_packets_per_second: u64,
    /// The most that may be; 0 for no limit.
    pub upstream_quota_packets_per_second: u64,
    /// TCP connections of programs that are open or being made.
    pub egress_connections: u64,
    /// Connections to published ports that are open.
    pub publish_connections: u64,
}

/// How long things took since the process began: Prometheus's histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// From a question's going out to a nameserver to its answer; those that were accepted.
    pub upstream_duration_seconds: Histogram,
    /// From a client's query to its reply, for queries that waited for upstream. One that the cache
    /// answers takes less than reading the clock for it would.
    pub lookup_duration_seconds: Histogram,
    /// From asking the parent for a connection to having it.
    pub egress_connect_duration_seconds: Histogram,
}

impl Status {
    /// The same as it can be kept and shown, where who sent it may be anybody: lists and texts no longer
    /// than an honest one has, and each text printable.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        fn walk(value: &mut Value) {
            match value {
                Value::String(text) => {
                    let shown = printable_line(text);
                    *text = shown[..shown.floor_char_boundary(MAX_TEXT)].to_owned();
                }
                Value::Array(values) => values.iter_mut().for_each(walk),
                Value::Object(values) => values.values_mut().for_each(walk),
                _ => {}
            }
        }
        self.nameservers.truncate(MAX_NAMESERVERS);
        self.ports.truncate(MAX_PORTS);
        // It has no map with other keys than text, which is all that could fail.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        walk(&mut value);
        serde_json::from_value(value).unwrap_or_default()
    }

    /// The part of the queries for upstream's names that the cache answered while fresh; none before
    /// the first.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let asked = self
            .totals
            .queries_total
            .saturating_sub(self.totals.local_total);
        // Beyond 2^53 the quotient is as good.
        #[allow(clippy::cast_precision_loss)]
        (asked > 0).then(|| self.totals.hits_total as f64 / asked as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_is_read_as_far_as_it_is_known() {
        let text = r#"{"version":"9.9","parent":{"kind":"relay","colour":"red","link":"blinking"},
            "totals":{"queries_total":3},"moons":[1]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.parent.kind, ParentKind::Relay);
        assert_eq!(status.parent.link, Link::Connecting);
        assert_eq!(status.totals.queries_total, 3);
        assert_eq!(status.gauges, Gauges::default());
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let status = Status {
            version: "1.2.3".to_owned(),
            nameservers: vec![Nameserver {
                address: "[fd00:ec2::253]:53".to_owned(),
                health: Health::Resting,
                ..Nameserver::default()
            }],
            egress: Some("detour".to_owned()),
            ..Status::default()
        };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn none_of_its_texts_acts_upon_a_terminal() {
        let evil = "x\u{1b}]0;y\u{7}\nz";
        let status = Status {
            version: evil.to_owned(),
            egress: Some(evil.to_owned()),
            nameservers: vec![Nameserver {
                source: evil.to_owned(),
                health: Health::Answers,
                ..Nameserver::default()
            }],
            ..Status::default()
        };
        let printable = status.bounded();
        let shown = printable.show(crate::Style::default());
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown}");
        assert_eq!(printable.version, "x\\u{1b}]0;y\\u{7}\\u{a}z");
        assert_eq!(printable.nameservers[0].health, Health::Answers);
    }

    #[test]
    fn what_is_longer_than_an_honest_one_is_cut_and_can_be_shown() {
        let nameserver = Nameserver {
            address: "\u{7f}".repeat(11_000),
            ..Nameserver::default()
        };
        let mut status = Status {
            nameservers: vec![nameserver; 5000],
            ports: vec![Port::default(); 5000],
            routes: u64::MAX,
            pins: u64::MAX,
            ..Status::default()
        };
        status.totals.servfail_total = u64::MAX;
        status.totals.upstream_failed_attempts_total = u64::MAX;
        let _ = status.show(crate::Style::default());
        let bounded = status.bounded();
        assert!(serde_json::to_string(&bounded).unwrap().len() < 64 * 1024);
        assert_eq!(bounded.nameservers.len(), MAX_NAMESERVERS);
    }

    #[test]
    fn what_is_answered_locally_is_neither_hit_nor_miss() {
        let mut status = Status::default();
        assert_eq!(status.hit_ratio(), None);
        status.totals.queries_total = 10;
        status.totals.local_total = 2;
        status.totals.hits_total = 6;
        assert_eq!(status.hit_ratio(), Some(0.75));
    }
}
