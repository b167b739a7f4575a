//! The parent's ports reach the listeners of programs in the enclave.
//!
//! Nobody can connect to an enclave. So it asks the parent with BIND (RFC 1928 §4; see `link::socks`)
//! to listen on a port and hand one connection in, and connects to the program's listener in its place:
//!
//! ```text
//! client ── TCP ── parent's port │ relay ── BIND's stream ── this crate ── TCP on lo ── program
//! ```
//!
//! The program sees a client on loopback; the real one's address is logged. The parts:
//!
//! - [`Ports`]: what is published, as on the command line;
//! - `port`: one published port, and its pool of waiting BINDs;
//! - `listeners`: which ports programs listen on, for [`Ports::Auto`], by the kernel's tables, whose
//!   lines are [`Socket`]s;
//! - `program`: the way to a program's listener.
//!
//! A [`Publisher`] has a thread of its own, so that bulk data keeps no name from being answered.

#![forbid(unsafe_code)]

mod activity;
mod auto;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod listeners;
mod pool;
mod port;
mod ports;
mod proc_net;
mod program;
mod sync {
    //! What loom takes the place of in `tests/loom.rs`.
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use tokio::sync::Notify;
}
mod trouble;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use link::Parent;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::port::Port;
use crate::program::Program;

pub use activity::Activity;
pub use ports::{ParsePortsError, Ports, Publication, Word};
pub use proc_net::Socket;

/// What connections get to carry their last bytes at the end: the programs have ended by then.
const GRACE: Duration = Duration::from_secs(1);

/// Connections at a time, and BINDs that wait: of the 16,384 that the relay takes from an enclave,
/// clients leave a quarter to the enclave's own names and TCP. Those beyond it wait in the parent's
/// kernel.
const CONNECTIONS: u32 = 12 * 1024;

/// What is published, and through whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the relay is.
    pub parent: Parent,
    /// The ports.
    pub ports: Ports,
}

/// Publishes ports until it is dropped.
#[derive(Debug)]
pub struct Publisher {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    activity: Activity,
}

impl Publisher {
    /// Starts a thread that publishes what `config` says.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no poll instance. What concerns a port, or the parent, is logged
    /// and tried again.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError)?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let activity = Activity::default();
        let counted = activity.clone();
        let work = move || {
            if let Err(error) = privileges::keep(&[]) {
                warn!(%error, "ports are published with privileges that this does not take");
            }
            runtime.block_on(publish(config, counted, stopped));
            drop(runtime);
            // Who waits no longer has dropped the other end.
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("publish".to_owned())
            .spawn(work)
            .map_err(StartError)?;
        Ok(Self {
            stop,
            ended,
            activity,
        })
    }

    /// What is published, and how many connections there are.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Takes no more connections, and lets those that are open carry their last bytes, 1 s at most.
    pub async fn end(self) {
        drop(self.stop);
        // An error is its end too.
        let _ = self.ended.await;
    }
}

/// Publishes until `stopped` resolves, and then lets connections end.
async fn publish(config: Config, activity: Activity, stopped: oneshot::Receiver<()>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS as usize));
    tokio::select! {
        _ = stopped => {}
        () = publish_all(config, &activity, &connections) => {}
    }
    // All of them are there when the last connection has ended.
    let _ = timeout(GRACE, connections.acquire_many(CONNECTIONS)).await;
}

async fn publish_all(config: Config, activity: &Activity, connections: &Arc<Semaphore>) {
    let Config { parent, ports } = config;
    match ports {
        Ports::None => {}
        Ports::Auto => auto::run(parent, activity, connections).await,
        Ports::List(list) => {
            let mut tasks = JoinSet::new();
            for publication in list {
                let program = Program::named(publication.program);
                let connections = Arc::clone(connections);
                let activity = activity.clone();
                let port = Port::new(publication, parent.clone(), program, connections, activity);
                tasks.spawn(port.run());
            }
            tasks.join_all().await;
        }
    }
}

/// Why nothing is published.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish ports: the system gives no thread for it: {0}")]
pub struct StartError(io::Error);

#[cfg(test)]
mod tests;
