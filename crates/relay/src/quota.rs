//! How many packets go to nameservers in a second, over all enclaves, and whose turn it is.
//!
//! AmazonDNS drops what is above 1024 packets a second from the parent's network interface. Each
//! enclave keeps to a budget of its own; what they ask for together is kept in bounds here. The budget
//! is a token bucket as in the enclave's resolver: a tenth of it may go out at once and the other nine
//! tenths in the second that follows, so that no second sees more than the budget.
//!
//! Who wants more than there is waits, for [`PATIENCE`] at most; beyond that it is better to be told.
//! Whose turn it is, [`turns`] says.

mod turns;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::Peer;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use turns::Turns;

/// How long a query may wait: with the nameserver's own time it stays under `dns::GIVE_UP`.
const PATIENCE: Duration = Duration::from_millis(500);

/// The bucket's part of the budget: one in so many packets.
const BURST: u32 = 10;

const NANOS_IN_SECOND: u32 = 1_000_000_000;

/// The budget of a parent.
#[derive(Debug)]
pub(crate) struct Quota {
    /// What one packet costs; nothing if there is no limit.
    interval: Duration,
    /// How far ahead of now [`State::paid`] may be for a query to go out.
    tolerance: Duration,
    state: Mutex<State>,
    /// Wakes [`Quota::run`] when somebody waits.
    waits: Notify,
}

#[derive(Debug)]
struct State {
    /// When all that was spent is paid back.
    paid: Instant,
    sent: Sent,
    turns: Turns<oneshot::Sender<()>>,
}

/// Whether a query had to wait for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waited(pub(crate) bool);

/// What goes out, second by second.
#[derive(Debug)]
struct Sent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Sent {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            now: 0,
            before: 0,
        }
    }

    fn add(&mut self, now: Instant, packets: u32) {
        self.come_to(now);
        self.now = self.now.saturating_add(packets);
    }

    fn last_second(&mut self, now: Instant) -> u32 {
        self.come_to(now);
        self.before
    }

    fn come_to(&mut self, now: Instant) {
        match now.saturating_duration_since(self.since).as_secs() {
            0 => {}
            1 => {
                self.since += Duration::from_secs(1);
                self.before = std::mem::take(&mut self.now);
            }
            _ => *self = Self::new(now),
        }
    }
}

/// More is asked than may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the enclaves ask for more than the relay may ask in a second")]
pub(crate) struct OverQuota;

impl Quota {
    /// At most `pps` packets in any second, taken as [`BURST`] if it is less; 0 for no limit.
    pub(crate) fn new(pps: u32) -> Self {
        let pps = match pps {
            0 => 0,
            pps => pps.max(BURST),
        };
        let burst = pps / BURST;
        let rate = pps - burst;
        let interval = match rate {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(NANOS_IN_SECOND.div_ceil(rate).into()),
        };
        // What goes out within PATIENCE.
        let room = usize::try_from(rate / 2).unwrap_or(usize::MAX);
        Self {
            interval,
            tolerance: interval * burst.saturating_sub(1),
            state: Mutex::new(State {
                paid: Instant::now(),
                sent: Sent::new(Instant::now()),
                turns: Turns::new(room, |go| !go.is_closed()),
            }),
            waits: Notify::new(),
        }
    }

    /// Waits until so many packets of `peer` may go out, and says whether they had to.
    pub(crate) async fn take(&self, peer: Peer, packets: u32) -> Result<Waited, OverQuota> {
        let turn = {
            let mut state = self.state();
            if self.is_open(&state) {
                self.spend(&mut state, packets);
                return Ok(Waited(false));
            }
            let (go, turn) = oneshot::channel();
            state.turns.wait(peer, packets, go)?;
            turn
        };
        self.waits.notify_one();
        match timeout(PATIENCE, turn).await {
            Ok(Ok(())) => Ok(Waited(true)),
            _ => Err(OverQuota),
        }
    }

    /// Queries that wait.
    pub(crate) fn queued(&self) -> usize {
        self.state().turns.len()
    }

    /// Takes one packet, if there is one to spare.
    pub(crate) fn try_take(&self) -> bool {
        let mut state = self.state();
        let is_open = self.is_open(&state);
        if is_open {
            self.spend(&mut state, 1);
        }
        is_open
    }

    /// Packets that went out in the last whole second.
    pub(crate) fn packets_per_second(&self) -> u32 {
        self.state().sent.last_second(Instant::now())
    }

    /// Lets those who wait go as there is room. Never ends.
    pub(crate) async fn run(&self) {
        loop {
            match self.let_go() {
                Some(due) => sleep_until(due).await,
                None => self.waits.notified().await,
            }
        }
    }

    /// Lets go who may, and says when the next may.
    fn let_go(&self) -> Option<Instant> {
        let mut state = self.state();
        while self.is_ready(&state) {
            let (packets, go) = state.turns.next()?;
            if go.send(()).is_ok() {
                self.spend(&mut state, packets);
            }
        }
        Some(state.paid.checked_sub(self.tolerance).unwrap_or(state.paid))
    }

    /// Whether a query may go at once. Nobody passes those who wait.
    fn is_open(&self, state: &State) -> bool {
        state.turns.is_empty() && self.is_ready(state)
    }

    fn is_ready(&self, state: &State) -> bool {
        state.paid <= Instant::now() + self.tolerance
    }

    fn spend(&self, state: &mut State, packets: u32) {
        let now = Instant::now();
        state.paid = state.paid.max(now) + self.interval * packets;
        state.sent.add(now, packets);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed in steps that cannot panic between them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
