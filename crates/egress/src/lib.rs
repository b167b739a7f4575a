//! Every program's TCP is carried out of the enclave over the link, without a change to the program.
//!
//! An enclave has `lo` and nothing else, so a connect() to any other address fails. Routes
//! (`routes`) give every address a way, packet rules (`netfilter`) turn TCP to a port of this
//! process, which asks the relay for the same connection and carries the bytes. The kernel's own TCP
//! serves the program, so getpeername, half-close, resets and back-pressure are what they always
//! were. What is not TCP is refused at once by an ICMP error; DNS to a nameserver that the stub stands
//! in for goes to the stub.
//!
//! There are two ways to turn a connection:
//!
//! * **redirect**: its SYN goes to our port at once. The program is connected before the relay is, so
//!   a failure reaches it as a reset.
//! * **detour**: its SYN goes to a TUN device first (`detour`). When the relay has connected, the
//!   SYN is sent again so that the packet rules redirect it; when it could not, the program gets the
//!   refusal or the ICMP error that says why, and connect() fails as it would have without an enclave.
//!
//! Which one works is tried out at the start (`self_test`). All of it runs in a thread of its own:
//! the stub's answers never wait behind bulk data.

mod activity;
mod detour;
mod dial;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz {
    //! What reads bytes from outside, for libFuzzer.
    pub use crate::packet::fuzz::packet;
}
mod limits;
mod machinery;
#[cfg(test)]
mod namespaces;
mod netfilter;
mod packet;
mod routes;
mod self_test;
mod sockets;
mod tun;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::thread::{self, JoinHandle};

use link::{Parent, Rule};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

pub use activity::Activity;
pub use machinery::{Step, Way};
pub use netfilter::{Family, RulesError};
pub use self_test::SelfTestError;
pub use tun::{DEVICE, TunError};

/// What is carried, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the relay is.
    pub parent: Parent,
    /// How connections are turned.
    pub mode: Mode,
    /// Where they may go; everywhere if empty. What the relay allows holds too.
    pub allow: Vec<Rule>,
    /// Where the stub answers; only 127.0.0.1 and ::1 can stand in for a nameserver.
    pub stub: Vec<SocketAddr>,
}

/// How connections are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the detour if it works here, else by redirect, else not at all, with a warning.
    Auto,
    /// By the detour, or it is an error.
    Detour,
    /// By redirect, or it is an error.
    Redirect,
    /// Not at all.
    Off,
}

/// Carries connections until it is dropped; then its rules, routes and device are taken away.
#[derive(Debug)]
pub struct Egress {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    way: Way,
    activity: Activity,
    nameservers: watch::Sender<Vec<SocketAddr>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Egress {
    /// Sets up routes and rules in this network namespace, in place of those that a killed
    /// predecessor left, and tries them out. With [`Mode::Auto`] it is no error that nothing works,
    /// but a warning.
    ///
    /// # Errors
    ///
    /// What was asked for does not work here, and why.
    pub async fn start(config: Config) -> Result<Self, EgressError> {
        if config.mode == Mode::Off {
            machinery::clean();
            return Ok(Self { running: None });
        }
        let auto = config.mode == Mode::Auto;
        let (nameservers, nameservers_receiver) = watch::channel(Vec::new());
        let (stop, stopped) = oneshot::channel();
        let (outcome, result) = oneshot::channel();
        let activity = Activity::default();
        let counted = activity.clone();
        let thread = thread::Builder::new()
            .name("egress".to_owned())
            .spawn(move || machinery::run(config, counted, nameservers_receiver, stopped, outcome))
            .map_err(|source| EgressError::Thread { source })?;
        let ended = || EgressError::Thread {
            source: io::Error::other("it ended by itself"),
        };
        match result.await.unwrap_or_else(|_| Err(ended())) {
            Ok(way) => {
                info!(%way, "TCP is carried to the parent");
                let running = Running {
                    way,
                    activity,
                    nameservers,
                    stop,
                    thread,
                };
                Ok(Self {
                    running: Some(running),
                })
            }
            Err(reason) if auto => {
                warn!(%reason, "TCP is not carried, only names resolve");
                Ok(Self { running: None })
            }
            Err(reason) => Err(reason),
        }
    }

    /// How connections are turned, and how many there are; none if they are not carried.
    #[must_use]
    pub fn activity(&self) -> Option<(Way, Activity)> {
        let running = self.running.as_ref()?;
        Some((running.way, running.activity.clone()))
    }

    /// From now on the stub stands in for these nameservers, where they are asked at port 53.
    pub fn set_nameservers(&self, nameservers: &[SocketAddr]) {
        if let Some(running) = &self.running {
            running.nameservers.send_replace(nameservers.to_vec());
        }
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(running.stop);
            // A thread that panicked has left its rules to the next proxify.
            let _ = running.thread.join();
        }
    }
}

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "detour" => Ok(Self::Detour),
            "redirect" => Ok(Self::Redirect),
            "off" => Ok(Self::Off),
            _ => Err(ParseModeError),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Detour => "detour",
            Self::Redirect => "redirect",
            Self::Off => "off",
        })
    }
}

/// Text that is no mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say auto, detour, redirect or off")]
pub struct ParseModeError;

/// Why connections are not carried.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// No thread, or none any more.
    #[error("the thread that carries TCP: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// A socket of the forwarder.
    #[error("cannot {step}: {source}")]
    System {
        /// What was being done.
        step: Step,
        /// What the system said.
        source: io::Error,
    },
    /// The packet rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// All is set up, and does not do what it should.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
}
