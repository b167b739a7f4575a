//! What is set up in the network namespace, in which order, and how it is taken away again.

mod rules;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::Seldom;
use privileges::Capability;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::activity::Activity;
use crate::detour::Detour;
use crate::dial::Dialer;
use crate::forward::{self, CONNECTIONS, Turned};
use crate::netfilter::{self, FILTER, Family, NAT, Rule};
use crate::tun::{DEVICE, Tun};
use crate::{Config, EgressError, Mode, limits, routes, self_test};

/// How connections are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Their SYN goes through the device first.
    Detour,
    /// At once.
    Redirect,
}

/// What was being done when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The thread's runtime.
    Runtime,
    /// The forwarder's port.
    Listen,
    /// A socket for packets of our own making.
    RawSocket,
    /// Routes over this device.
    Routes(&'static str),
    /// Their removal.
    NoRoutes(&'static str),
}

/// How long a new address may take, and how often it is looked at.
const IN_USE_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What rules and routes are changed and taken away with, all of it in one thread.
const NEEDED: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The thread: sets up, says how that went, and carries until `stopped`.
pub(crate) fn run(
    config: Config,
    activity: Activity,
    nameservers: watch::Receiver<Vec<SocketAddr>>,
    stopped: oneshot::Receiver<()>,
    outcome: oneshot::Sender<Result<Way, EgressError>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(config, activity, nameservers, stopped, outcome)),
        Err(source) => {
            let step = Step::Runtime;
            let _ = outcome.send(Err(EgressError::System { step, source }));
        }
    }
}

async fn serve(
    config: Config,
    activity: Activity,
    mut nameservers: watch::Receiver<Vec<SocketAddr>>,
    mut stopped: oneshot::Receiver<()>,
    outcome: oneshot::Sender<Result<Way, EgressError>>,
) {
    clean();
    limits::allow_backlog();
    let started = match config.mode {
        Mode::Auto => match Machinery::start(&config, &activity, Way::Detour).await {
            Err(error) => {
                info!(%error, "no detour: redirecting instead");
                Machinery::start(&config, &activity, Way::Redirect).await
            }
            started => started,
        },
        Mode::Detour => Machinery::start(&config, &activity, Way::Detour).await,
        Mode::Redirect => Machinery::start(&config, &activity, Way::Redirect).await,
        Mode::Off => return,
    };
    let mut machinery = match started {
        Ok(machinery) => machinery,
        Err(error) => {
            let _ = outcome.send(Err(error));
            return;
        }
    };
    limits::make_room();
    if let Err(error) = privileges::keep(&NEEDED) {
        warn!(%error, "connections are carried with more privileges than that takes");
    }
    let _ = outcome.send(Ok(machinery.way));
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Ok(()) = nameservers.changed() => {
                machinery.nameservers = nameservers.borrow_and_update().clone();
                machinery.set_nameservers();
            }
            Some(_) = machinery.tasks.join_next() => {
                warn!("the device for connections has failed: no new ones are carried");
            }
        }
    }
    machinery.end().await;
}

/// Takes away what a killed predecessor left, as far as it can be seen; says nothing of failures,
/// since setting up anew will.
pub(crate) fn clean() {
    for family in FAMILIES {
        if let Err(error) = take_away(family, routes::LOOPBACK) {
            debug!(%family, "something of a predecessor may be left: {error}");
        }
    }
}

/// What is set up and running.
struct Machinery {
    way: Way,
    families: Vec<(Family, u16)>,
    stub: Vec<SocketAddr>,
    nameservers: Vec<SocketAddr>,
    /// Of rules for them that the kernel does not take.
    untold: Seldom,
    tasks: JoinSet<()>,
}

impl Machinery {
    /// Sets everything up and tries it out. IPv6 may be missing, IPv4 may not.
    async fn start(config: &Config, activity: &Activity, way: Way) -> Result<Self, EgressError> {
        let dialer = Dialer::new(
            config.parent.clone(),
            config.allow.clone(),
            activity.clone(),
        );
        let dialer = Arc::new(dialer);
        let mut machinery = Self {
            way,
            families: Vec::new(),
            stub: config.stub.clone(),
            nameservers: Vec::new(),
            untold: Seldom::default(),
            tasks: JoinSet::new(),
        };
        let tun = match way {
            Way::Detour => Some(Tun::open().await?),
            Way::Redirect => None,
        };
        let mut listeners = Vec::new();
        own_v6_in_use().await;
        for family in FAMILIES {
            let error = match machinery.lay(family) {
                Ok(listener) => {
                    listeners.push((family, listener));
                    continue;
                }
                Err(error) => error,
            };
            // Where it could not be laid it can often not be taken away either.
            if let Err(error) = take_away(family, machinery.device()) {
                debug!(%family, "after a failure: {error}");
            }
            if family == Family::V4 {
                return Err(error);
            }
            info!(%error, "IPv6 is not carried");
        }
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        let turned = match tun {
            None => Turned::ByRedirect(dialer.clone(), seats),
            Some(tun) => {
                let families: Vec<Family> = listeners.iter().map(|(family, _)| *family).collect();
                let detour = Detour::new(&families, dialer.clone(), seats);
                let detour = detour.map_err(|source| EgressError::System {
                    step: Step::RawSocket,
                    source,
                })?;
                let detour = Arc::new(detour);
                let run = detour.clone().run(tun);
                machinery.tasks.spawn(async move {
                    let error = run.await;
                    warn!(device = DEVICE, %error, "the device for connections cannot be read");
                });
                Turned::ByDetour(detour)
            }
        };
        for (family, listener) in listeners {
            let serve = forward::serve(listener, family, turned.clone(), activity.clone());
            machinery.tasks.spawn(serve);
        }
        dialer.fakes.set(true);
        let tried = machinery.try_out().await;
        dialer.fakes.set(false);
        activity.forget();
        if let Err(error) = tried {
            machinery.end().await;
            return Err(error);
        }
        Ok(machinery)
    }

    /// Stops what runs, and with it the device; then takes the rest away.
    async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    /// IPv6 may fail here too, where somebody's packet rules refuse it; but not by the detour as long as
    /// redirecting may carry both.
    async fn try_out(&mut self) -> Result<(), EgressError> {
        for (family, _) in self.families.clone() {
            let Err(error) = self_test::run(family, self.way).await else {
                debug!(%family, way = %self.way, "self-test passed");
                continue;
            };
            if family == Family::V4 || self.way == Way::Detour {
                return Err(error.into());
            }
            take_away(family, self.device())?;
            self.families.retain(|(carried, _)| *carried != family);
            info!(%error, "IPv6 is not carried");
        }
        Ok(())
    }

    /// A family's listener, rules and routes, in this order: nothing is turned to where nobody is.
    fn lay(&mut self, family: Family) -> Result<TcpListener, EgressError> {
        let listening = |source| EgressError::System {
            step: Step::Listen,
            source,
        };
        let listener = forward::listen(family).map_err(listening)?;
        let port = listener.local_addr().map_err(listening)?.port();
        netfilter::install(family, NAT, &self.nat(family, port))?;
        netfilter::install(family, FILTER, &rules::filter(family))?;
        let device = self.device();
        routes::add(family, device).map_err(|source| EgressError::System {
            step: Step::Routes(device),
            source,
        })?;
        self.families.push((family, port));
        Ok(listener)
    }

    fn device(&self) -> &'static str {
        match self.way {
            Way::Detour => DEVICE,
            Way::Redirect => routes::LOOPBACK,
        }
    }

    fn nat(&self, family: Family, port: u16) -> Vec<Rule> {
        rules::nat(self.way, family, port, &self.stub, &self.nameservers)
    }

    fn set_nameservers(&mut self) {
        for (family, port) in &self.families {
            if let Err(error) = netfilter::install(*family, NAT, &self.nat(*family, *port))
                && let Some(left_out) = self.untold.admit(Instant::now())
            {
                warn!(%error, left_out, "a nameserver that is asked directly may not be answered");
            }
        }
    }
}

/// Waits until the IPv6 addresses of this machine can be used: the kernel takes a new one into use in a
/// worker of its own, and programs would have ::1 as theirs until then.
async fn own_v6_in_use() {
    let in_use = async {
        for ip in rules::own_v6().filter(|ip| !ip.is_unicast_link_local()) {
            while TcpSocket::new_v6().is_ok_and(|socket| socket.bind((ip, 0).into()).is_err()) {
                sleep(LOOK_EVERY).await;
            }
        }
    };
    if timeout(IN_USE_WITHIN, in_use).await.is_err() {
        info!("the IPv6 addresses of this machine are not in use yet");
    }
}

impl Drop for Machinery {
    fn drop(&mut self) {
        for (family, _) in &self.families {
            if let Err(error) = take_away(*family, self.device()) {
                warn!(%error, "something is left behind");
            }
        }
    }
}

fn take_away(family: Family, device: &'static str) -> Result<(), EgressError> {
    let routes = routes::remove(family, device).map_err(|source| EgressError::System {
        step: Step::NoRoutes(device),
        source,
    });
    netfilter::remove(family, NAT)?;
    netfilter::remove(family, FILTER)?;
    routes
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detour => "detour",
            Self::Redirect => "redirect",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime => write!(f, "start a runtime for TCP"),
            Self::Listen => write!(f, "listen on loopback for connections"),
            Self::RawSocket => write!(f, "open a raw socket"),
            Self::Routes(device) => write!(f, "add routes over {device}"),
            Self::NoRoutes(device) => write!(f, "remove the routes over {device}"),
        }
    }
}

#[cfg(test)]
mod tests;
