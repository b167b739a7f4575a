//! The service that APP needs: the stub, the nameservers behind it, the ways out and in for TCP, and
//! resolv.conf before it.
//!
//! One task owns them all, see [`work`]. Where another proxify holds the lock, the task waits for it,
//! while APP uses that one's stub. Ports that are listed are published by each, those that are seen by
//! the one with the lock, which sees them all.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use egress::EgressError;
use publish::{Ports, Publisher, StartError};
use stub::BindError;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::work::Work;
use crate::cli::Config;
use crate::listener_of::{Listener, listeners_of};
use crate::owner::{self, Claim, LockError};
use crate::reporter::Reporter;
use crate::resolv_conf::ResolvConfError;

mod operator;
mod work;

/// How long APP waits for names: the relay may come up later than the enclave.
const WAIT_FOR_UPSTREAM: Duration = Duration::from_secs(5);

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
                pins: config.pins.clone(),
                upstream_pps: config.upstream_pps,
                query_log: config.query_log,
            },
            resolv_conf: config.resolv_conf.clone(),
            egress: config.egress.map(|mode| egress::Config {
                parent: config.parent.clone(),
                mode,
                allow: config.egress_allow.clone(),
                stub: config.listen.clone(),
            }),
            reporter: Reporter {
                parent: config.parent.clone(),
                what: config.report,
                listen: config.listen.clone(),
            },
            publish: seen,
            listed: publisher.as_ref().map(Publisher::activity),
            control: lock.with_extension("sock"),
            metrics: config.metrics,
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

    /// Waits until this process's stub serves and all that goes with it is set up: for ever, where
    /// another proxify's does until the end.
    ///
    /// # Errors
    ///
    /// It will not.
    pub(crate) async fn serves(&mut self) -> Result<(), ServiceError> {
        loop {
            match *self.state.borrow_and_update() {
                State::Serving | State::Connected => return Ok(()),
                State::Waiting | State::Starting => {}
            }
            tokio::select! {
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
    #[error(
        "cannot serve metrics on {address}: {holder} listens there; stop it, or choose another address \
         with --metrics"
    )]
    MetricsInUse { address: SocketAddr, holder: String },
    #[error("cannot serve metrics on {address}: {source}")]
    Metrics {
        address: SocketAddr,
        source: io::Error,
    },
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
        let holder = holder(address);
        Self::InUse { address, holder }
    }

    fn metrics(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::MetricsInUse {
                address,
                holder: holder(address),
            },
            _ => Self::Metrics { address, source },
        }
    }
}

/// Who has an address, in words.
fn holder(address: SocketAddr) -> String {
    let holders: Vec<String> = listeners_of(address)
        .iter()
        .map(Listener::to_string)
        .collect();
    match holders.is_empty() {
        true => "a process that cannot be seen (only root sees all)".to_owned(),
        false => holders.join(", "),
    }
}

#[cfg(test)]
mod tests;
