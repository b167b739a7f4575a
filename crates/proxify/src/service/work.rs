//! The task behind [`Service`](super::Service): an order that leaves no gap.
//!
//! The lock, the stub's sockets, the way out, the nameservers, the ports that are published, then
//! resolv.conf; and backwards at the end.

use std::io::ErrorKind::AddrInUse;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use egress::{Egress, EgressError};
use metrics::Endpoint;
use publish::Publisher;
use stub::{BindError, Pin, Pins, Reach, Route, Stub};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info};
use vpc::{Found, Source};

use super::operator::Operator;
use super::{ServiceError, State};
use crate::cli::ResolvConfFile;
use crate::guard::{CHECK_EVERY, Guard};
use crate::owner::{Claim, Ownership};
use crate::reporter::Reporter;
use crate::resolv_conf;

/// How long a port may stay taken after its owner's end: a killed process gives up its lock before
/// its sockets.
pub(super) const PORT_HANDOVER: Duration = Duration::from_millis(500);

/// Between two attempts to bind within [`PORT_HANDOVER`].
const BIND_EVERY: Duration = Duration::from_millis(10);

/// The resolv.conf of every libc.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the task needs.
pub(super) struct Work {
    pub(super) parent: link::Parent,
    pub(super) nameservers: vpc::Nameservers,
    pub(super) stub: stub::Config,
    pub(super) resolv_conf: Option<ResolvConfFile>,
    pub(super) egress: Option<egress::Config>,
    pub(super) reporter: Reporter,
    /// The ports that are seen.
    pub(super) publish: Option<publish::Config>,
    /// What the ports that are listed do.
    pub(super) listed: Option<publish::Activity>,
    /// Where operators ask.
    pub(super) control: PathBuf,
    /// Where metrics are scraped.
    pub(super) metrics: Option<SocketAddr>,
    pub(super) state: watch::Sender<State>,
}

impl Work {
    /// Waits for its turn and serves until `stop`.
    ///
    /// # Errors
    ///
    /// Names are not served, or not any more.
    pub(super) async fn run(
        self,
        claim: Claim,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), ServiceError> {
        let ownership = match claim {
            Claim::Mine(ownership) => ownership,
            Claim::Waiting(waiting) => {
                info!("another proxify serves names here; this one is next");
                tokio::select! {
                    ownership = waiting.acquired() => ownership?,
                    _ = &mut stop => return Ok(()),
                }
            }
        };
        let takes_over = *self.state.borrow() == State::Waiting;
        let state = self.state.subscribe();
        let result = self.serve(ownership, takes_over, &mut stop).await;
        if let Err(failure) = &result
            && (takes_over || *state.borrow() != State::Starting)
        {
            // APP runs, and nobody else would tell.
            error!(%failure, "names are not served any more");
        }
        result
    }

    /// Where the image's own resolv.conf stands, which libc would read without us.
    fn image_resolv_conf(&self) -> &Path {
        match &self.resolv_conf {
            Some(file) => &file.path,
            None => Path::new(RESOLV_CONF),
        }
    }

    /// Listens for those who scrape metrics, with the same patience as for names. For one that takes over
    /// they are no reason to end.
    async fn bind_metrics(&self, takes_over: bool) -> Result<Option<Endpoint>, ServiceError> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let deadline = Instant::now() + PORT_HANDOVER;
        loop {
            match Endpoint::bind(address) {
                Ok(endpoint) => {
                    info!(%address, "metrics are served");
                    return Ok(Some(endpoint));
                }
                Err(error) if error.kind() == AddrInUse && Instant::now() < deadline => {
                    sleep(BIND_EVERY).await;
                }
                Err(error) if takes_over => {
                    let failure = ServiceError::metrics(address, error);
                    error!(%failure, "metrics are not served any more");
                    return Ok(None);
                }
                Err(error) => return Err(ServiceError::metrics(address, error)),
            }
        }
    }

    /// Serves names until told to stop. The lock is given up last.
    async fn serve(
        mut self,
        ownership: Ownership,
        takes_over: bool,
        stop: &mut oneshot::Receiver<()>,
    ) -> Result<(), ServiceError> {
        self.state.send_replace(State::Starting);
        let stub = bind(&self.stub).await?;
        info!(addresses = ?stub.local_addrs(), parent = %self.parent, "names are served");
        for Route {
            suffix,
            nameservers,
        } in self.stub.routes.iter()
        {
            info!(source = "the command line", %suffix, ?nameservers, "route taken");
        }
        for Pin { suffix, networks } in self.stub.pins.iter() {
            info!(%suffix, ?networks, "addresses are held to a pin");
        }
        let metrics = self.bind_metrics(takes_over).await?;
        // Who asks a nameserver directly, by its address, is answered by the stub.
        let routed: Vec<SocketAddr> = self
            .stub
            .routes
            .iter()
            .flat_map(|route| route.nameservers.iter().copied())
            .collect();
        let egress = start_egress(self.egress.take(), takes_over).await?;
        if let Some(egress) = &egress {
            egress.set_nameservers(&routed);
        }

        let (found_sender, mut found) = watch::channel(None);
        let (nameservers, nameservers_receiver) = watch::channel(Arc::from([]));
        let (reach_sender, mut reach) = watch::channel(Reach::Nobody);
        let (stub_stop, stub_stopped) = oneshot::channel::<()>();
        let until_stopped = async { stub_stopped.await.unwrap_or_default() };
        let files = vpc::Files {
            override_file: vpc::OVERRIDE_FILE.into(),
            image: resolv_conf::original(self.image_resolv_conf()),
        };
        let discovery = Aborted(tokio::spawn(vpc::discover(
            self.nameservers.clone(),
            self.parent.clone(),
            files,
            found_sender,
        )));
        let (parent, handle) = (self.parent.clone(), stub.handle());
        let mut stub = tokio::spawn(stub.run(
            self.parent,
            nameservers_receiver,
            reach_sender,
            until_stopped,
        ));

        let publisher = self.publish.map(Publisher::start).transpose()?;
        let operator = Operator {
            started: Instant::now(),
            parent: parent.to_string(),
            stub: handle,
            found: found.clone(),
            cache_size: self.stub.cache_size,
            upstream_pps: self.stub.upstream_pps,
            routes: self.stub.routes.iter().count(),
            pins: self.stub.pins.iter().count(),
            egress: egress.as_ref().and_then(Egress::activity),
            publish: self
                .listed
                .into_iter()
                .chain(publisher.as_ref().map(Publisher::activity))
                .collect(),
        };
        let operator = Arc::new(operator);
        let metrics = metrics.map(|endpoint| Aborted(tokio::spawn(operator.scraped(endpoint))));
        let control = operator.serve(&self.control);
        let reporting = self.reporter.start(move || operator.status());
        let mut file = match self.resolv_conf {
            Some(file) => Some(Guard::new(file, takes_over)?),
            None => None,
        };
        let mut nothing_found = false;
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.state.send_replace(State::Serving);
        loop {
            tokio::select! {
                _ = &mut *stop => break,
                _ = &mut stub => return Err(ServiceError::Ended),
                Ok(()) = found.changed() => {
                    let found: Option<Arc<Found>> = found.borrow_and_update().clone();
                    nothing_found = found.is_none();
                    if let Some(found) = found {
                        if let Some(egress) = &egress {
                            egress.set_nameservers(&[routed.as_slice(), &found.nameservers].concat());
                        }
                        nameservers.send_replace(found.nameservers.as_slice().into());
                        if let Some(file) = &mut file {
                            file.rewrite(&without_unpinned_search(&found, &self.stub.pins));
                        }
                    }
                }
                now = checks.tick() => if let Some(file) = &mut file {
                    file.check(now);
                },
                Ok(()) = reach.changed() => {}
            }
            // Where nothing can be discovered, APP has the names of its routes and need not wait.
            let least = if nothing_found {
                Reach::Routed
            } else {
                Reach::Discovered
            };
            if *reach.borrow_and_update() >= least && *self.state.borrow() != State::Connected {
                self.state.send_replace(State::Connected);
            }
        }
        drop((control, reporting));
        if let Some(publisher) = publisher {
            publisher.end().await;
        }
        drop(stub_stop);
        let _ = stub.await;
        drop((file, metrics, discovery, egress));
        drop(ownership);
        Ok(())
    }
}

/// What is found, with the search names alone that may be used. What the image itself says is the
/// operator's.
fn without_unpinned_search(found: &Found, pins: &Pins) -> Found {
    let mut found = found.clone();
    if !matches!(found.source, Source::Override | Source::Image) {
        let (taken, left_out) = found
            .search
            .into_iter()
            .partition(|name| pins.take_search(name));
        found.search = taken;
        let left_out: Vec<String> = left_out;
        if !left_out.is_empty() {
            info!(
                ?left_out,
                "search names of the parent that no pin holds are not taken"
            );
        }
    }
    found
}

/// Starts to carry TCP. One that takes over serves programs that run: names are better than nothing.
async fn start_egress(
    config: Option<egress::Config>,
    takes_over: bool,
) -> Result<Option<Egress>, EgressError> {
    let Some(config) = config else {
        return Ok(None);
    };
    match Egress::start(config).await {
        Ok(egress) => Ok(Some(egress)),
        Err(failure) if takes_over => {
            error!(%failure, "TCP is not carried any more");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// A task that ends with what started it.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Binds the stub's sockets, with patience for those of an owner that has just been killed.
async fn bind(config: &stub::Config) -> Result<Stub, ServiceError> {
    let deadline = Instant::now() + PORT_HANDOVER;
    loop {
        match Stub::bind(config) {
            Ok(stub) => return Ok(stub),
            Err(BindError::InUse { .. }) if Instant::now() < deadline => sleep(BIND_EVERY).await,
            Err(BindError::InUse { address }) => return Err(ServiceError::in_use(address)),
            Err(source) => return Err(ServiceError::Bind { source }),
        }
    }
}
