use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use histogram::{Histogram, Recorder};

/// Connections that are carried, counted for operators: cheap to clone, and no reason to carry on.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    total: AtomicU64,
    failed: AtomicU64,
    connects: Recorder,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Activity);

impl Activity {
    /// Connections that are carried now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.open.load(Relaxed)
    }

    /// Connections that have been carried, those that still are included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Connections that could not be made.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Relaxed)
    }

    /// How long the parent took to make them.
    #[must_use]
    pub fn connects(&self) -> Histogram {
        self.0.connects.snapshot()
    }

    pub(crate) fn connected(&self, took: Duration) {
        self.0.connects.record(took);
    }

    pub(crate) fn enter(&self) -> Open {
        self.0.open.fetch_add(1, Relaxed);
        self.0.total.fetch_add(1, Relaxed);
        Open(self.clone())
    }

    pub(crate) fn fail(&self) {
        self.0.failed.fetch_add(1, Relaxed);
    }

    /// What was tried out at the start is none of the programs'.
    pub(crate) fn forget(&self) {
        self.0.total.store(0, Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self(Activity(counts)) = self;
        counts.open.fetch_sub(1, Relaxed);
    }
}
