//! The service that APP needs: the stub, the nameservers behind it, the ways out and in for TCP, and
//! resolv.conf before it.
//!
//! One task owns them all, in an order that leaves no gap: the lock, the stub's sockets, the way out,
//! the nameservers, the ports that are published, then resolv.conf; and backwards at the end. Where
//! another proxify holds the lock, the task waits for it, while APP uses that one's stub. Ports that
//! are listed are published by each, those that are seen by the one with the lock, which sees them all.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use egress::{Egress, EgressError};
use publish::{Ports, Publisher, StartError};
use stub::{BindError, Reach, Route, Stub};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{error, info};
use vpc::Found;

use crate::cli::{Config, ResolvConfFile};
use crate::guard::{CHECK_EVERY, Guard};
use crate::listener_of::{Listener, listeners_of};
use crate::owner::{self, Claim, LockError, Ownership};
use crate::resolv_conf::{self, ResolvConfError};

/// How long APP waits for names: the relay may come up later than the enclave.
const WAIT_FOR_UPSTREAM: Duration = Duration::from_secs(5);

/// How long a port may stay taken after its owner's end: a killed process gives up its lock before
/// its sockets.
const PORT_HANDOVER: Duration = Duration::from_millis(500);

/// Between two attempts to bind within [`PORT_HANDOVER`].
const BIND_EVERY: Duration = Duration::from_millis(10);

/// The resolv.conf of every libc.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The running service.
#[derive(Debug)]
pub(crate) struct Service {
    state: watch::Receiver<State>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServiceError>>,
    listen: Vec<SocketAddr>,
    /// Of the ports that are listed.
    publisher: Option<Publisher>,
}

/// How far the service has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Another proxify owns the stub.
    Waiting,
    /// The stub is this process's, and not yet bound.
    Starting,
    /// It serves, from its cache and its own knowledge.
    Serving,
    /// A nameserver is connected behind it: a discovered one, or where none can be discovered, one of
    /// a route.
    Connected,
}

/// What APP will find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Names are answered.
    Served,
    /// Nothing answers yet; it may later.
    NotYet,
}

impl Service {
    /// Claims the stub and starts what this process has to do for it.
    ///
    /// # Errors
    ///
    /// It cannot be known who owns the stub, or the system gives no thread.
    pub(crate) fn start(config: &Config, lock: &Path) -> Result<Self, ServiceError> {
        let claim = owner::claim(lock)?;
        let state = match claim {
            Claim::Mine(_) => State::Starting,
            Claim::Waiting(_) => State::Waiting,
        };
        let (state_sender, state) = watch::channel(state);
        let (stop, stopped) = oneshot::channel();
        let ports = publish::Config {
            parent: config.parent.clone(),
            ports: config.publish.clone(),
        };
        let (publisher, seen) = match ports.ports {
            Ports::List(_) => (Some(Publisher::start(ports)?), None),
            Ports::Auto => (None, Some(ports)),
            Ports::None => (None, None),
        };
        let work = Work {
            parent: config.parent.clone(),
            nameservers: config.nameservers.clone(),
            stub: stub::Config {
                listen: config.listen.clone(),
                cache_size: config.cache_size,
                routes: config.routes.clone(),
                upstream_pps: config.upstream_pps,
            },
            resolv_conf: config.resolv_conf.clone(),
            egress: config.egress.map(|mode| egress::Config {
                parent: config.parent.clone(),
                mode,
                allow: config.egress_allow.clone(),
                stub: config.listen.clone(),
            }),
            publish: seen,
            state: state_sender,
        };
        let task = tokio::spawn(work.run(claim, stopped));
        Ok(Self {
            state,
            stop,
            task,
            listen: config.listen.clone(),
            publisher,
        })
    }

    /// Waits until names are answered, by this process's stub or another's, for 5 s at most.
    ///
    /// # Errors
    ///
    /// They will not be.
    pub(crate) async fn names(&mut self) -> Result<Names, ServiceError> {
        let deadline = Instant::now() + WAIT_FOR_UPSTREAM;
        loop {
            let state = *self.state.borrow_and_update();
            if state == State::Connected {
                return Ok(Names::Served);
            }
            tokio::select! {
                () = sleep_until(deadline), if state != State::Starting => return Ok(Names::NotYet),
                () = owner::answers(&self.listen), if state == State::Waiting => {
                    return Ok(Names::Served);
                }
                Ok(()) = self.state.changed() => {}
                failure = ended(&mut self.task) => return Err(failure),
            }
        }
    }

    /// Waits until the service fails; a service that serves does not.
    pub(crate) async fn failed(&mut self) -> ServiceError {
        ended(&mut self.task).await
    }

    /// Stops the stub and puts resolv.conf back. Connections to APP carry their last bytes.
    pub(crate) async fn end(self) {
        drop(self.stop);
        if let Some(publisher) = self.publisher {
            publisher.end().await;
        }
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}

async fn ended(task: &mut JoinHandle<Result<(), ServiceError>>) -> ServiceError {
    match task.await {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) | Err(_) => ServiceError::Ended,
    }
}

/// What the task needs.
struct Work {
    parent: link::Parent,
    nameservers: vpc::Nameservers,
    stub: stub::Config,
    resolv_conf: Option<ResolvConfFile>,
    egress: Option<egress::Config>,
    /// The ports that are seen.
    publish: Option<publish::Config>,
    state: watch::Sender<State>,
}

impl Work {
    async fn run(self, claim: Claim, mut stop: oneshot::Receiver<()>) -> Result<(), ServiceError> {
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
        let mut stub = tokio::spawn(stub.run(
            self.parent,
            nameservers_receiver,
            reach_sender,
            until_stopped,
        ));

        let publisher = self.publish.map(Publisher::start).transpose()?;
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
                            file.rewrite(&found);
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
        if let Some(publisher) = publisher {
            publisher.end().await;
        }
        drop(stub_stop);
        let _ = stub.await;
        drop((file, discovery, egress));
        drop(ownership);
        Ok(())
    }
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

/// Why names are not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(
        "cannot answer DNS on {address}: {holder} listens there; stop it, or choose another address \
         with --listen"
    )]
    InUse { address: SocketAddr, holder: String },
    #[error(transparent)]
    Bind { source: BindError },
    #[error(transparent)]
    ResolvConf(#[from] ResolvConfError),
    #[error("{source}; with --egress off only names are served")]
    Egress {
        #[from]
        source: EgressError,
    },
    #[error(transparent)]
    Publish(#[from] StartError),
    #[error("the stub has ended by itself; run with --log debug to see why")]
    Ended,
}

impl ServiceError {
    fn in_use(address: SocketAddr) -> Self {
        let holders: Vec<String> = listeners_of(address)
            .iter()
            .map(Listener::to_string)
            .collect();
        let holder = match holders.is_empty() {
            true => "a process that cannot be seen (only root sees all)".to_owned(),
            false => holders.join(", "),
        };
        Self::InUse { address, holder }
    }
}

#[cfg(test)]
mod tests;
