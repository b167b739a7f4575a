use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::Publication;

/// Ports and their connections, for operators: cheap to clone, and no reason to go on publishing.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<State>);

#[derive(Debug, Default)]
struct State {
    open: AtomicU64,
    total: AtomicU64,
    /// In the order in which they were listed. A port that is withdrawn and back has a new number.
    ports: Mutex<BTreeMap<u64, (Publication, Published)>>,
    next: AtomicU64,
}

/// Whether the parent listens for a port.
pub(crate) type Published = Arc<AtomicBool>;

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Activity);

/// A port in the list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    activity: Activity,
    number: u64,
}

impl Activity {
    /// The ports, and whether the parent listens for them.
    #[must_use]
    pub fn ports(&self) -> Vec<(Publication, bool)> {
        let told = |(publication, published): &(Publication, Published)| {
            (*publication, published.load(Relaxed))
        };
        self.lock().values().map(told).collect()
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.open.load(Relaxed)
    }

    /// Connections that clients have made, those that are open included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    pub(crate) fn enter(&self) -> Open {
        self.0.open.fetch_add(1, Relaxed);
        self.0.total.fetch_add(1, Relaxed);
        Open(self.clone())
    }

    pub(crate) fn list(&self, publication: Publication, published: Published) -> Listed {
        let number = self.0.next.fetch_add(1, Relaxed);
        self.lock().insert(number, (publication, published));
        Listed {
            activity: self.clone(),
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Publication, Published)>> {
        self.0.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self(Activity(state)) = self;
        state.open.fetch_sub(1, Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.activity.lock().remove(&self.number);
    }
}
