//! How many BINDs a port has: those that there should be, and those that wait for a connection.
//!
//! The tasks that are the BINDs change both counts, and one task follows the first. A count is changed
//! before the follower is told, and one that is told while it is busy looks once more; so it never rests
//! with fewer BINDs than there should be. `tests/loom.rs` runs this file in every order in which threads
//! can meet.

use crate::sync::{AtomicUsize, Notify, Ordering};

/// BINDs of a port that nobody connects to: enough that a client or two find one while another is
/// being asked for.
pub(crate) const LEAST: usize = 4;

/// BINDs of a busy port. Each asks again within a round trip of the link, so this many take several
/// thousand connections a second.
pub(crate) const MOST: usize = 32;

/// The counts.
#[derive(Debug)]
pub(crate) struct Pool {
    wanted: AtomicUsize,
    waiting: AtomicUsize,
    grown: Notify,
}

impl Pool {
    /// Begins with one, so that a port that cannot be had costs one question.
    pub(crate) fn new() -> Self {
        Self {
            wanted: AtomicUsize::new(1),
            waiting: AtomicUsize::new(0),
            grown: Notify::new(),
        }
    }

    /// BINDs that there should be.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Completes when more are wanted than were at some time since it did last.
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// The parent grants the port. Whether that is news.
    pub(crate) fn granted(&self) -> bool {
        let is_news = self.wanted.fetch_max(LEAST, Ordering::Relaxed) < LEAST;
        if is_news {
            self.grown.notify_one();
        }
        is_news
    }

    /// All were taken at the same time.
    pub(crate) fn grow(&self) {
        let grown = |wanted: usize| Some((2 * wanted).min(MOST));
        let _ = self
            .wanted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        self.grown.notify_one();
    }

    /// Whether there is to be one BIND less.
    pub(crate) fn shrink(&self) -> bool {
        let less = |wanted: usize| (wanted > LEAST).then(|| wanted - 1);
        self.wanted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    /// BINDs that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts one that waits.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

/// A BIND that waits, until it is dropped.
pub(crate) struct Waiting<'a>(&'a Pool);

impl Waiting<'_> {
    /// Ends it, and says whether it was the last.
    pub(crate) fn end(self) -> bool {
        std::mem::ManuallyDrop::new(self).leave() == 1
    }

    /// How many waited before.
    fn leave(&self) -> usize {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
