//! What the stub's owner may ask of it while it runs.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use resolver::{Counters, Durations, Explained, Health, Load};
use wire::Name;

use crate::core::Core;

/// Asks a stub that runs: cheap to clone, and no reason for it to go on. Before it runs and after its
/// end there is no answer.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<OnceLock<Weak<Core>>>);

/// How a stub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it has done.
    pub counters: Counters,
    /// How long it took.
    pub durations: Durations,
    /// What it has to do now.
    pub load: Load,
    /// How the way to the parent is.
    pub link: Link,
    /// Whether the parent has our relay, as it was when a connection was opened last; none before
    /// the first.
    pub has_relay: Option<bool>,
    /// Whom it asks: first for all names that no route takes, then for those of each route, in the
    /// order of preference.
    pub nameservers: Vec<Nameserver>,
}

/// The way to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It was neither up nor down yet.
    Connecting,
    /// A connection to a nameserver is open.
    Up,
    /// None is.
    Down,
}

/// A nameserver of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// The suffix of the names that it is asked for; the root for all that no route takes.
    pub route: Name,
    /// Where it is asked.
    pub address: SocketAddr,
    /// How it has behaved.
    pub health: Health,
    /// Whether a connection to it is open.
    pub is_connected: bool,
}

impl Handle {
    /// How the stub is.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.core().map(|core| core.status())
    }

    /// What is known of a question. Nothing is asked, and nothing changes.
    #[must_use]
    pub fn explain(&self, name: &Name, qtype: u16) -> Option<Explained> {
        self.core().map(|core| core.explain(name, qtype))
    }

    /// Asks upstream past the cache, in which nothing of it is kept, and gives the whole reply within
    /// 4 s: SERVFAIL if there is no answer. Its Extended DNS Error begins with the nameserver's
    /// address, if it comes from one.
    pub async fn look_up(&self, name: &Name, qtype: u16) -> Option<Vec<u8>> {
        // The core is let go of: its end ends this too.
        let mut reply = self.core()?.look_up(name, qtype);
        reply.recv().await
    }

    /// Has the cache forget a name with all its types, or everything, and gives the number of entries
    /// that went.
    #[must_use]
    pub fn flush(&self, name: Option<&Name>) -> Option<usize> {
        self.core().map(|core| core.flush(name))
    }

    pub(crate) fn attach(&self, core: &Arc<Core>) {
        // A stub runs once.
        let _ = self.0.set(Arc::downgrade(core));
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.0.get()?.upgrade()
    }
}
