//! What operators are told: the service's parts, put together for the control socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::{
    Cached, Durations, Explanation, Gauges, Held, Hex, LastFailure, Link, Looked, Nameserver,
    Parent, ParentKind, Port, Reply, Request, Server, Status, Totals, UnderWay,
};
use egress::Way;
use metrics::Endpoint;
use stub::{Explained, Handle, Left, Local, Name, Pin};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;
use vpc::Found;

/// Who named a nameserver that is a route's.
const ROUTE: &str = "--route";

/// The parts that know.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) started: Instant,
    pub(super) parent: String,
    pub(super) stub: Handle,
    pub(super) found: watch::Receiver<Option<Arc<Found>>>,
    pub(super) cache_size: usize,
    pub(super) upstream_pps: u32,
    pub(super) routes: usize,
    pub(super) pins: usize,
    pub(super) egress: Option<(Way, egress::Activity)>,
    pub(super) publish: Vec<publish::Activity>,
}

impl Operator {
    /// Answers at `socket`. Where it cannot be made, names are served all the same.
    pub(super) fn serve(self: &Arc<Self>, socket: &Path) -> Option<Server> {
        let operator = Arc::clone(self);
        let answer = move |request| {
            let operator = Arc::clone(&operator);
            async move { operator.answer(request).await }
        };
        match control::serve(socket, answer) {
            Ok(server) => Some(server),
            Err(error) => {
                warn!(%error, "`proxify status` and `proxify explain` get no answer");
                None
            }
        }
    }

    /// Serves metrics for as long as it is polled.
    pub(super) fn scraped(&self, endpoint: Endpoint) -> impl Future<Output = ()> + use<> {
        let operator = self.clone();
        endpoint.serve(move || operator.status().as_ref().map(metrics::enclave))
    }

    async fn answer(&self, request: Request) -> Result<Reply, String> {
        let answered = match request {
            Request::Status => self.status().map(|status| Reply::Status(Box::new(status))),
            Request::Explain { name, rtype } => match name.parse() {
                Ok(name) => self
                    .explain(&name, rtype)
                    .await
                    .map(|explanation| Reply::Explained(Box::new(explanation))),
                Err(error) => return Err(format!("{name}: {error}")),
            },
            Request::Flush { name } => match name.as_deref().map(str::parse).transpose() {
                Ok(name) => self.flush(name.as_ref()),
                Err(error) => {
                    let name = name.unwrap_or_default();
                    return Err(format!("{name}: {error}"));
                }
            },
        };
        answered.ok_or_else(|| "the stub does not run".to_owned())
    }

    fn flush(&self, name: Option<&Name>) -> Option<Reply> {
        let entries = self.stub.flush(name)? as u64;
        Some(Reply::Flushed { entries })
    }

    pub(super) fn status(&self) -> Option<Status> {
        let stub = self.stub.status()?;
        let nameservers = stub.nameservers.iter().map(|nameserver| {
            self.nameserver(
                &nameserver.route,
                nameserver.address,
                nameserver.health,
                nameserver.is_connected,
            )
        });
        Some(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            parent: Parent {
                address: self.parent.clone(),
                kind: match stub.has_relay {
                    Some(true) => ParentKind::Relay,
                    Some(false) => ParentKind::Old,
                    None => ParentKind::None,
                },
                link: match stub.link {
                    stub::Link::Connecting => Link::Connecting,
                    stub::Link::Up => Link::Up,
                    stub::Link::Down => Link::Down,
                },
            },
            nameservers: nameservers.collect(),
            routes: self.routes as u64,
            pins: self.pins as u64,
            egress: self.egress.as_ref().map(|(way, _)| way.to_string()),
            ports: self.publish.iter().flat_map(ports).collect(),
            totals: self.totals(&stub.counters),
            gauges: self.gauges(&stub),
            durations: self.durations(&stub.durations),
        })
    }

    fn totals(&self, counters: &stub::Counters) -> Totals {
        let egress = self.egress.as_ref().map(|(_, activity)| activity);
        Totals {
            queries_total: counters.queries,
            dropped_total: counters.dropped,
            local_total: counters.local,
            hits_total: counters.hits,
            stale_total: counters.stale,
            cached_failures_total: counters.cached_failures,
            misses_total: counters.misses,
            coalesced_total: counters.coalesced,
            prefetches_total: counters.prefetches,
            servfail_total: counters.servfail,
            overload_total: counters.overload,
            over_quota_total: counters.over_quota,
            upstream_queries_total: counters.asked,
            upstream_packets_total: counters.packets,
            upstream_delayed_total: counters.delayed,
            upstream_answers_total: counters.answers,
            upstream_failed_attempts_total: counters.failed_attempts,
            upstream_blocked_total: counters.blocked,
            egress_connections_total: egress.map_or(0, egress::Activity::total),
            egress_failures_total: egress.map_or(0, egress::Activity::failed),
            publish_connections_total: self.publish.iter().map(publish::Activity::total).sum(),
        }
    }

    fn gauges(&self, stub: &stub::Status) -> Gauges {
        let egress = self.egress.as_ref().map(|(_, activity)| activity);
        Gauges {
            uptime_seconds: self.started.elapsed().as_secs(),
            cache_entries: stub.counters.cache_entries,
            cache_bytes: stub.counters.cache_bytes,
            cache_limit_bytes: self.cache_size as u64,
            lookups: stub.load.lookups as u64,
            waiting_clients: stub.load.waiters as u64,
            upstream_queued_lookups: stub.counters.queued,
            upstream_packets_per_second: stub.load.packets_per_second,
            upstream_quota_packets_per_second: self.upstream_pps.into(),
            egress_connections: egress.map_or(0, egress::Activity::open),
            publish_connections: self.publish.iter().map(publish::Activity::open).sum(),
        }
    }

    fn durations(&self, stub: &stub::Durations) -> Durations {
        let egress = self.egress.as_ref().map(|(_, activity)| activity);
        Durations {
            upstream_duration_seconds: stub.upstream,
            lookup_duration_seconds: stub.lookups,
            egress_connect_duration_seconds: egress
                .map(egress::Activity::connects)
                .unwrap_or_default(),
        }
    }

    /// What is known first, then what upstream says: the other way round the failure told last would
    /// be the operator's own.
    async fn explain(&self, name: &Name, rtype: u16) -> Option<Explanation> {
        let explained = self.stub.explain(name, rtype)?;
        let connected = self.stub.status()?.nameservers;
        let began = Instant::now();
        let message = self.stub.look_up(name, rtype).await;
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Explained {
            local,
            cached,
            under_way,
            route,
            held,
            nameservers,
            failure,
        } = explained;
        let is_connected = |address| {
            connected
                .iter()
                .any(|nameserver| nameserver.address == address && nameserver.is_connected)
        };
        Some(Explanation {
            local: local.map(reason),
            cached: cached.map(|cached| Cached {
                age_ms: millis(cached.age),
                left: match cached.left {
                    Left::Fresh(left) => control::Left::Fresh(millis(left)),
                    Left::Stale(left) => control::Left::Stale(millis(left)),
                    Left::Superseded(left) => control::Left::Superseded(millis(left)),
                    Left::Failure(left) => control::Left::Failure(millis(left)),
                },
                message: Hex(cached.message),
            }),
            under_way: under_way.map(|lookup| UnderWay {
                since_ms: millis(lookup.since),
                asked: lookup.asked.map(|nameserver| nameserver.to_string()),
                waiting_clients: lookup.waiters as u64,
                is_queued: lookup.is_queued,
            }),
            route: route.to_string(),
            held: held.map(|held| Held {
                by: held.by.iter().map(pin).collect(),
                exempt_from: held.exempt_from.map(|suffix| suffix.to_string()),
            }),
            nameservers: nameservers
                .into_iter()
                .map(|known| {
                    let connected = is_connected(known.address);
                    self.nameserver(&route, known.address, known.health, connected)
                })
                .collect(),
            last_failure: failure.map(|(ago, failure)| LastFailure {
                ago_ms: millis(ago),
                ede: failure.code,
                text: failure.text,
            }),
            now: message.map(|message| Looked {
                took_us,
                message: Hex(message),
            }),
        })
    }

    fn nameserver(
        &self,
        route: &Name,
        address: SocketAddr,
        health: stub::Health,
        connected: bool,
    ) -> Nameserver {
        let source = match (*route == Name::ROOT, &*self.found.borrow()) {
            (true, Some(found)) => found.source.to_string(),
            (true, None) => String::new(),
            (false, _) => ROUTE.to_owned(),
        };
        Nameserver {
            address: address.to_string(),
            route: route.to_string(),
            source,
            health: match health {
                stub::Health::Unknown => control::Health::Unknown,
                stub::Health::Answers => control::Health::Answers,
                stub::Health::Resting { .. } => control::Health::Resting,
            },
            connected,
        }
    }
}

fn ports(activity: &publish::Activity) -> Vec<Port> {
    let told = |(publication, published): (publish::Publication, bool)| Port {
        parent: publication.parent.to_string(),
        program: publication.program,
        published,
    };
    activity.ports().into_iter().map(told).collect()
}

/// As the option has it.
fn pin(pin: &Pin) -> String {
    let networks: Vec<String> = pin.networks.iter().map(ToString::to_string).collect();
    format!("{}={}", pin.suffix, networks.join(","))
}

fn reason(local: Local) -> String {
    match local {
        Local::Localhost => "for localhost is this machine (RFC 6761)".to_owned(),
        Local::Invalid => "for names under invalid never exist (RFC 6761)".to_owned(),
        Local::Any => "for nobody needs all types at once (RFC 8482)".to_owned(),
        Local::Refused(text) => format!("refusing it: {text}"),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
