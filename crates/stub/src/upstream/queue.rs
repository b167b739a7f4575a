//! Queries that wait for a connection to one nameserver.

use std::collections::VecDeque;
use std::time::Duration;

use resolver::Ask;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

/// Queries taken from the core and not yet sent; more wait in the channel.
const MAX_WAITING: usize = 1024;

/// How long a lookup lasts in the core. Who asked has its answer by then, or SERVFAIL.
const LOOKUP: Duration = Duration::from_secs(4);

/// A query that is not answered yet.
pub(super) struct Waiting {
    pub(super) ask: Ask,
    since: Instant,
}

impl Waiting {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() >= LOOKUP
    }
}

pub(super) struct Queue {
    asks: Receiver<Ask>,
    /// The nameserver has been dropped from the list.
    is_closed: bool,
    waiting: VecDeque<Waiting>,
}

impl Queue {
    pub(super) fn new(asks: Receiver<Ask>) -> Self {
        Self {
            asks,
            is_closed: false,
            waiting: VecDeque::new(),
        }
    }

    /// Whether no query waits and none will come.
    pub(super) fn is_dropped(&self) -> bool {
        self.is_closed && self.waiting.is_empty()
    }

    pub(super) fn takes_more(&self) -> bool {
        !self.is_closed && self.waiting.len() < MAX_WAITING
    }

    /// Takes one query from the core, or notes that none will come. Cancel safe.
    pub(super) async fn fill(&mut self) {
        match self.asks.recv().await {
            Some(ask) => self.push(ask),
            None => self.is_closed = true,
        }
    }

    /// Waits until a query waits; false if none will come. Cancel safe.
    pub(super) async fn wait(&mut self) -> bool {
        self.waiting.retain(|waiting| !waiting.is_over());
        while self.waiting.is_empty() && !self.is_closed {
            self.fill().await;
        }
        !self.is_dropped()
    }

    /// The next query that someone waits for.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        while let Some(waiting) = self.waiting.pop_front() {
            if !waiting.is_over() {
                return Some(waiting);
            }
        }
        None
    }

    /// The next query, of those too that are still with the core.
    pub(super) fn take(&mut self) -> Option<Ask> {
        let waiting = self.waiting.pop_front().map(|waiting| waiting.ask);
        waiting.or_else(|| self.asks.try_recv().ok())
    }

    /// Drops what is not wanted, of all that the core has given.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(&Ask) -> bool) {
        while let Ok(ask) = self.asks.try_recv() {
            self.push(ask);
        }
        self.waiting.retain(|waiting| is_wanted(&waiting.ask));
    }

    /// Queues queries again, in their order and before all others.
    pub(super) fn put_back(&mut self, queries: Vec<Waiting>) {
        for waiting in queries.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
    }

    fn push(&mut self, ask: Ask) {
        let since = Instant::now();
        self.waiting.push_back(Waiting { ask, since });
    }
}
