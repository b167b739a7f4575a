//! What the enclaves have told of themselves, for those who operate the parent.
//!
//! An enclave's proxify opens REPORT and tells: each such connection has an entry here, and for some
//! minutes after its end. All of it is an enclave's word: bounded here, and made printable where it is
//! shown. One lock, held for a look-up or a copy and never across an await.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::Peer;
use report::{Allowance, Command, Line, MAX_LINE, Status, printable_line};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::reporter::Ask;

/// Entries at a time: a parent has four enclaves, a relay on TCP or for a test as many peers as connect.
/// With what each may hold, some 10 MiB.
const MOST: usize = 256;

/// Entries of one enclave. One proxify of an enclave serves names, and one may take over from it.
const MOST_OF_ONE: usize = 4;

/// Lines kept of an enclave: at ten a minute, what led to a failure.
const LINES: usize = 100;

/// Bytes of them.
const LINES_BYTES: usize = 16 * 1024;

/// How long an entry outlives its connection: to look for why it ended.
const FORGOTTEN: Duration = Duration::from_secs(5 * 60);

/// Lines of an enclave that go into the relay's own log: so many at once, and one more after each
/// [`LINE_EVERY`].
const LINES_AT_ONCE: u32 = 10;

/// See [`LINES_AT_ONCE`]: ten a minute, as an honest enclave has it.
const LINE_EVERY: Duration = Duration::from_secs(6);

/// Runs that wait for the one that is under way; of an operator who has gone, none.
const ASKS: usize = 4;

/// The enclaves that report.
#[derive(Debug, Default)]
pub struct Enclaves {
    state: Mutex<State>,
}

/// One proxify that reports, or did until a while ago.
#[derive(Clone, Debug)]
pub struct Enclave {
    /// Whose connection it is.
    pub peer: Peer,
    /// Since when it reports.
    pub connected: Instant,
    /// When the connection ended, if it has.
    pub ended: Option<Instant>,
    /// What it said last; none before the first word.
    pub status: Option<Status>,
    /// When it said that; when it connected, before.
    pub received: Instant,
    /// The last of its log, the oldest first, with the time at which they came.
    pub lines: VecDeque<(Instant, Arc<Line>)>,
    id: u64,
}

#[derive(Debug, Default)]
struct State {
    /// By number, so in the order in which they came.
    enclaves: Vec<Entry>,
    last_id: u64,
    /// What each may write into the log: a connection that is opened anew gets nothing anew.
    allowances: HashMap<Peer, Logged>,
}

#[derive(Debug)]
struct Entry {
    shown: Enclave,
    bytes: usize,
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Logged {
    allowance: Allowance,
    left_out: u64,
}

/// No more enclaves can report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("{MOST_OF_ONE} proxifys of it report already")]
    One,
    #[error("{MOST} report already")]
    All,
}

/// The place of a connection among those that report. Dropping it says that the connection has ended.
#[derive(Debug)]
pub(crate) struct Place {
    enclaves: Arc<Enclaves>,
    id: u64,
    peer: Peer,
    /// What operators ask of it.
    pub(crate) asks: mpsc::Receiver<Ask>,
}

impl Enclaves {
    /// All that is known, by enclave. Of one that has connected again only what it says now is.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Enclave> {
        let mut state = self.state();
        state.forget(Instant::now());
        let mut enclaves: Vec<Enclave> = state
            .enclaves
            .iter()
            .map(|entry| entry.shown.clone())
            .collect();
        enclaves.sort_by_key(|enclave| (order(enclave.peer), enclave.id));
        enclaves
    }

    /// A place for a connection of `peer`.
    pub(crate) fn enter(self: &Arc<Self>, peer: Peer) -> Result<Place, Full> {
        let now = Instant::now();
        let mut state = self.state();
        state.forget(now);
        let is_ended = |entry: &Entry| entry.shown.ended.is_some();
        // What it said before it came again is in the log.
        state
            .enclaves
            .retain(|entry| entry.shown.peer != peer || !is_ended(entry));
        let of_one = |entry: &&Entry| entry.shown.peer == peer;
        if state.enclaves.iter().filter(of_one).count() >= MOST_OF_ONE {
            return Err(Full::One);
        }
        if state.enclaves.len() >= MOST {
            let first = state.enclaves.iter().position(is_ended).ok_or(Full::All)?;
            state.enclaves.remove(first);
        }
        state.last_id += 1;
        let id = state.last_id;
        let (asks, receiver) = mpsc::channel(ASKS);
        state.enclaves.push(Entry {
            shown: Enclave {
                peer,
                connected: now,
                ended: None,
                status: None,
                received: now,
                lines: VecDeque::new(),
                id,
            },
            bytes: 0,
            asks,
        });
        Ok(Place {
            enclaves: Arc::clone(self),
            id,
            peer,
            asks: receiver,
        })
    }

    /// Asks the enclave that [`Self::snapshot`] showed to run something. What comes of it comes to the
    /// receiver.
    pub(crate) fn ask(
        &self,
        enclave: &Enclave,
        command: Command,
    ) -> Result<mpsc::UnboundedReceiver<crate::reporter::Said>, AskError> {
        let (answers, receiver) = mpsc::unbounded_channel();
        let ask = Ask { command, answers };
        let state = self.state();
        let entry = state
            .enclaves
            .iter()
            .find(|entry| entry.shown.id == enclave.id);
        let entry = entry.filter(|entry| entry.shown.ended.is_none());
        match entry.map(|entry| entry.asks.try_send(ask)) {
            Some(Ok(())) => Ok(receiver),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(AskError::Busy),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(AskError::Gone),
        }
    }

    /// Forgets what is to be forgotten, and tells of lines that were not to go into the relay's log and
    /// after which none came. To be called each second.
    pub(crate) fn tidy(&self) -> Vec<(Peer, u64)> {
        let now = Instant::now();
        let mut state = self.state();
        state.forget(now);
        let mut untold = Vec::new();
        state.allowances.retain(|peer, logged| {
            let is_over = logged.allowance.is_whole(now.into_std());
            if is_over && logged.left_out > 0 {
                untold.push((*peer, logged.left_out));
            }
            !is_over
        });
        untold
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in steps that cannot panic between them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an enclave is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    #[error("a run is under way, and {ASKS} wait already; ask again when they are over")]
    Busy,
    #[error("it has just gone")]
    Gone,
}

impl Place {
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Takes what it says of itself.
    pub(crate) fn status(&self, status: Status) {
        // Before the lock: it takes a while.
        let status = status.bounded();
        self.change(|entry| {
            entry.shown.status = Some(status);
            entry.shown.received = Instant::now();
        });
    }

    /// Takes a line of its log; says whether it may go into the relay's, and then how many before it were
    /// not to.
    pub(crate) fn line(&self, mut line: Line) -> Option<(Arc<Line>, u64)> {
        let text = printable_line(&line.text);
        line.text = text[..text.floor_char_boundary(MAX_LINE)].to_owned();
        let line = Arc::new(line);
        let now = Instant::now();
        self.change(|entry| {
            entry.bytes += line.text.len();
            entry.shown.lines.push_back((now, Arc::clone(&line)));
            while entry.shown.lines.len() > LINES || entry.bytes > LINES_BYTES {
                let Some((_, oldest)) = entry.shown.lines.pop_front() else {
                    break;
                };
                entry.bytes -= oldest.text.len();
            }
        });
        let mut state = self.enclaves.state();
        if state.allowances.len() >= MOST && !state.allowances.contains_key(&self.peer) {
            return None;
        }
        let logged = state.allowances.entry(self.peer).or_insert_with(|| Logged {
            allowance: Allowance::new(LINES_AT_ONCE, LINE_EVERY, now.into_std()),
            left_out: 0,
        });
        if logged.allowance.take(now.into_std()) {
            Some((line, std::mem::take(&mut logged.left_out)))
        } else {
            logged.left_out += 1;
            None
        }
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut state = self.enclaves.state();
        let entry = state
            .enclaves
            .iter_mut()
            .find(|entry| entry.shown.id == self.id);
        // It is there until it has ended.
        if let Some(entry) = entry {
            change(entry);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.change(|entry| entry.shown.ended = Some(Instant::now()));
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        self.enclaves.retain(|entry| {
            let ended = entry.shown.ended;
            ended.is_none_or(|ended| now.saturating_duration_since(ended) < FORGOTTEN)
        });
    }
}

/// Enclaves first, by number.
fn order(peer: Peer) -> (u8, u32, String) {
    match peer {
        Peer::Cid(cid) => (0, cid, String::new()),
        Peer::Unix(pid) => (1, pid, String::new()),
        Peer::Tcp(ip) => (2, 0, ip.to_string()),
    }
}

#[cfg(test)]
mod tests;
