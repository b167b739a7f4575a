//! Accepts connections, keeps their number in bounds, and drains them at the end.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::{Command, Listener, Peer, Stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::field::{DisplayValue, display};
use tracing::{info, warn};

use crate::admission::Admission;
use crate::bind::Ports;
use crate::config::{Config, Limits};
use crate::counters::Count;
use crate::enclaves::Enclaves;
use crate::floods::{self, Floods, More};
use crate::operators::Operator;
use crate::policy::{Denied, OwnAddresses, Policy};
use crate::quota::Quota;
use crate::refusals::{Destination, Refusals};
use crate::{connection, page, resolv_conf};

/// The wait after the system refused to accept, for lack of descriptors or memory: they come back
/// as connections end, and asking again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often lines that were left out are looked for, to be counted.
const COUNTS: Duration = Duration::from_secs(1);

/// What the connections of a relay have in common.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) policy: Policy,
    pub(crate) own: OwnAddresses,
    pub(crate) limits: Limits,
    pub(crate) resolv_conf: watch::Receiver<resolv_conf::Text>,
    /// True once the relay stops.
    pub(crate) drain: watch::Receiver<bool>,
    pub(crate) ports: Arc<Ports>,
    /// What may go to nameservers.
    pub(crate) quota: Quota,
    /// Since when it serves.
    pub(crate) started: Instant,
    /// Times that the parent's resolv.conf could not be read.
    pub(crate) resolv_conf_failures: Arc<Count>,
    /// What the enclaves tell of themselves.
    pub(crate) enclaves: Arc<Enclaves>,
    floods: Mutex<Floods>,
    refusals: Mutex<Refusals>,
    news: Mutex<Floods>,
}

/// Serves `listener` until `shutdown`, then drains: no new connections, queries in flight are
/// answered, lasting connections end, and what is left after [`Limits::grace`] is dropped.
pub async fn serve(listener: Listener, config: Config, shutdown: impl Future<Output = ()>) {
    let (texts, resolv_conf) = watch::channel(None);
    let (draining, drain) = watch::channel(false);
    let relay = Arc::new(Relay::new(&config, resolv_conf, drain));
    let admission = Arc::new(Admission::new(&relay.limits));
    let mut connections = JoinSet::new();
    let mut background = JoinSet::new();
    let failures = Arc::clone(&relay.resolv_conf_failures);
    background.spawn(resolv_conf::watch(config.resolv_conf, texts, failures));
    if let Some(endpoint) = config.metrics {
        let (relay, admission) = (Arc::clone(&relay), Arc::clone(&admission));
        background.spawn(endpoint.serve(move || Some(page::page(&relay, &admission))));
    }
    let quota = Arc::clone(&relay);
    background.spawn(async move { quota.quota.run().await });
    let operator = Operator {
        relay: Arc::clone(&relay),
        admission: Arc::clone(&admission),
        listen: listener.to_string(),
        started: Instant::now(),
    };
    let control = config
        .control
        .as_deref()
        .and_then(|socket| operator.serve(socket));
    let mut flush = interval(COUNTS);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    admit(stream, peer, &admission, &relay, &mut connections);
                }
                Err(error) => {
                    relay.complain(None, "cannot accept", &error);
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = flush.tick() => relay.flush_floods(),
        }
    }

    drop((listener, control));
    info!(connections = connections.len(), "draining");
    let _ = draining.send(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(relay.limits.grace, ended).await.is_err() {
        info!(
            connections = connections.len(),
            "dropping what has not ended"
        );
    }
    relay.flush_floods();
}

/// Resolves once the relay stops.
pub(crate) async fn drained(drain: &mut watch::Receiver<bool>) {
    // The sender outlives every connection; were it gone, the relay would have stopped.
    let _ = drain.wait_for(|draining| *draining).await;
}

fn admit(
    stream: Stream,
    peer: Peer,
    admission: &Arc<Admission>,
    relay: &Arc<Relay>,
    connections: &mut JoinSet<()>,
) {
    match admission.admit(peer) {
        Ok(seat) => {
            connections.spawn(connection::run(stream, seat, Arc::clone(relay)));
        }
        Err(full) => relay.complain(Some(peer), "connection over the limit closed", &full),
    }
}

impl Relay {
    pub(crate) fn new(
        config: &Config,
        resolv_conf: watch::Receiver<resolv_conf::Text>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self {
            policy: config.policy.clone(),
            own: OwnAddresses::default(),
            limits: config.limits,
            resolv_conf,
            ports: Arc::new(Ports::new(config.bind_to, &config.limits, drain.clone())),
            drain,
            quota: Quota::new(config.limits.upstream_pps),
            floods: Mutex::new(Floods::new(floods::FAILURE)),
            started: Instant::now(),
            resolv_conf_failures: Arc::default(),
            enclaves: Arc::default(),
            refusals: Mutex::default(),
            news: Mutex::new(Floods::new(floods::NEWS)),
        }
    }

    /// Writes a line about a peer, unless one of its kind was written within the last minute.
    pub(crate) fn complain(&self, peer: Option<Peer>, kind: &'static str, detail: &dyn Display) {
        let mut floods = self.floods.lock().unwrap_or_else(PoisonError::into_inner);
        if floods.admit(peer, kind, detail, Instant::now()) {
            drop(floods);
            warn!(why = %detail, peer = name(peer), "{kind}");
        }
    }

    /// Writes that the policy refuses a destination, unless it was written within the last minute.
    pub(crate) fn refused(&self, peer: Peer, command: Command, to: SocketAddr, denied: &Denied) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        match refusals.admit(peer, to, Instant::now()) {
            None => {}
            Some(Destination::One(_)) => warn!(%command, why = %denied, %peer, "not allowed"),
            Some(others) => warn!(last = %command, why = %denied, %peer, "not allowed: {others}"),
        }
    }

    /// Writes a line about what a peer is given, once a second.
    pub(crate) fn report(&self, peer: Peer, kind: &'static str, detail: &dyn Display) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.admit(Some(peer), kind, detail, Instant::now()) {
            drop(news);
            info!(what = %detail, %peer, "{kind}");
        }
    }

    fn flush_floods(&self) {
        let flush = |floods: &Mutex<Floods>| {
            let mut floods = floods.lock().unwrap_or_else(PoisonError::into_inner);
            floods.flush(Instant::now())
        };
        for more in flush(&self.floods) {
            let More { kind, count, .. } = more;
            warn!(last = %more.last, peer = name(more.peer), count, "{kind}: more");
        }
        for more in flush(&self.news) {
            let More { kind, count, .. } = more;
            info!(last = %more.last, peer = name(more.peer), count, "{kind}: more");
        }
        for (peer, count) in self.enclaves.tidy() {
            warn!(%peer, count, "an enclave warns: more");
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, destination, count) in refusals.flush(Instant::now()) {
            warn!(%peer, to = %destination, count, "not allowed: more");
        }
    }
}

fn name(peer: Option<Peer>) -> Option<DisplayValue<Peer>> {
    peer.map(display)
}
