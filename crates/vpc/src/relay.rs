//! RESOLV_CONF (0xD1): the parent's resolv.conf as our relay tells it.
//!
//! After the reply the relay sends frames of u16 length and resolv.conf text: one at once, one on
//! each change, and one as a heartbeat. All of it is input from an adversary: a frame is bounded,
//! parsed into values, and no byte of it is kept.
//!
//! The connection is kept over restarts of the relay. What it said last stays `found` until it is
//! back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use link::{Command, Parent, Reply, RequestError, Seldom, frame};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::chain::{RETRY_WITHOUT_RELAY, STEP};
use crate::{Found, Source};

/// How often the relay sends a frame when nothing changes, in milliseconds.
const HEARTBEAT_MS: u64 = 5_000;

/// Silence after which the relay counts as dead, 2.5 heartbeats: a vsock peer that is killed sends
/// nothing.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT_MS * 5 / 2);

/// Dialling and the reply.
const REQUEST: Duration = STEP;

/// The longest resolv.conf that the parent may tell, in bytes: the wire's limit.
pub(crate) const MAX_TEXT: usize = 16 * 1024;

/// How long what the relay says holds at least, whatever it says meanwhile: each change costs
/// connections to the new nameservers, and a relay reads its file every 2 s.
const LEAST_LIFE: Duration = Duration::from_secs(1);

/// The first wait before dialling again; it doubles up to [`LONGEST_PAUSE`]. The first attempt
/// after the loss of a connection that lasted that long waits for nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait before dialling again: a relay that starts late is seen within a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tells what the relay says and how it does, for ever. While `is_needed`, that is no other source
/// has anything, it is asked each second whatever answers in its place.
pub(crate) async fn follow(
    parent: &Parent,
    found: &watch::Sender<Option<Arc<Found>>>,
    state: &watch::Sender<State>,
    is_needed: impl Fn() -> bool,
) {
    let mut pause = Pause::default();
    loop {
        let lost = match request(parent).await {
            Ok(stream) => {
                debug!(%parent, "RESOLV_CONF granted");
                read_frames(stream, found, state, &mut pause).await
            }
            Err(lost) => lost,
        };
        pause.log(parent, &lost);
        state.send_replace(lost.state());
        let longest = match lost.state() {
            // It is not likely to change.
            State::NotOurs if !is_needed() => RETRY_WITHOUT_RELAY,
            _ => LONGEST_PAUSE,
        };
        pause.wait(longest).await;
    }
}

/// How the relay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not said anything yet.
    Asking,
    /// Its last frame named nameservers.
    Named,
    /// Its last frame named none that can be used.
    Empty,
    /// Nobody answers, or the connection was lost.
    Away,
    /// What answers does not know RESOLV_CONF: the old parent. An end of file looks like that too,
    /// so it is believed only until the next attempt.
    NotOurs,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asking => "the relay has not answered yet",
            Self::Named => "the relay has told of nameservers",
            Self::Empty => "the relay knows no nameserver that can be asked from another host",
            Self::Away => "no relay answers",
            Self::NotOurs => "what answers on the parent does not know RESOLV_CONF",
        })
    }
}

/// Whether this is how a parent without our relay answers a command of ours.
pub(crate) fn is_not_ours(error: &RequestError) -> bool {
    match error {
        RequestError::Closed { .. } | RequestError::Malformed { .. } => true,
        RequestError::Refused { reply, .. } => *reply == Reply::CommandNotSupported,
        _ => false,
    }
}

async fn request(parent: &Parent) -> Result<link::Stream, Lost> {
    match timeout(REQUEST, parent.request(Command::ResolvConf)).await {
        Ok(accepted) => Ok(accepted?.stream),
        Err(_) => Err(Lost::Hung),
    }
}

/// Takes frames until the connection is lost.
async fn read_frames<S>(
    stream: S,
    found: &watch::Sender<Option<Arc<Found>>>,
    state: &watch::Sender<State>,
    pause: &mut Pause,
) -> Lost
where
    S: AsyncRead + Unpin,
{
    let since = Instant::now();
    let mut heard = since;
    let mut frames = frame::Reader::new(stream);
    loop {
        match timeout_at(heard + SILENCE, frames.next()).await {
            Ok(Ok(Some(frame))) if frame.len() > MAX_TEXT => {
                return Lost::Oversized {
                    length: frame.len(),
                };
            }
            Ok(Ok(Some(frame))) => {
                heard = Instant::now();
                let is_news = take(frame, found, state);
                pause.frame(since.elapsed());
                if is_news {
                    sleep(LEAST_LIFE).await;
                }
            }
            Ok(Ok(None)) => return Lost::Closed,
            Ok(Err(source)) => return Lost::Read { source },
            Err(_) => return Lost::Silent,
        }
    }
}

/// Puts what a frame says into effect; whether it is news.
fn take(
    frame: &[u8],
    found: &watch::Sender<Option<Arc<Found>>>,
    state: &watch::Sender<State>,
) -> bool {
    let Some(new) = Found::read(frame, Source::Parent) else {
        debug!(
            bytes = frame.len(),
            "the parent's resolv.conf names no usable nameserver; what was known stays"
        );
        state.send_replace(State::Empty);
        return false;
    };
    let is_news = found.send_if_modified(|current| {
        let is_news = current.as_deref() != Some(&new);
        if is_news {
            *current = Some(Arc::new(new));
        }
        is_news
    });
    state.send_replace(State::Named);
    is_news
}

/// Why there is no connection to take frames from.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the parent did not answer RESOLV_CONF within {} s", REQUEST.as_secs())]
    Hung,
    #[error("the relay closed RESOLV_CONF; it may be restarting")]
    Closed,
    #[error("reading RESOLV_CONF failed: {source}")]
    Read { source: std::io::Error },
    #[error("the relay sent nothing for {} ms", SILENCE.as_millis())]
    Silent,
    #[error("the relay sent a frame of {length} bytes, above the limit of {MAX_TEXT}")]
    Oversized { length: usize },
}

impl Lost {
    fn state(&self) -> State {
        match self {
            Self::Request(error) if is_not_ours(error) => State::NotOurs,
            _ => State::Away,
        }
    }
}

/// The wait between two attempts, and what was said of them: one warning a loss, the rest for
/// debugging.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    warned: bool,
    line: Seldom,
}

impl Pause {
    /// A frame has come on a connection of this age.
    fn frame(&mut self, age: Duration) {
        if std::mem::take(&mut self.warned) {
            info!("the relay answers again");
        }
        // Not for a young one: a parent that closes after each frame would have us dial without
        // pause.
        if age >= LONGEST_PAUSE {
            self.failures = 0;
        }
    }

    fn log(&mut self, parent: &Parent, lost: &Lost) {
        if self.failures > 0
            && !self.warned
            && let Some(left_out) = self.line.admit(Instant::now())
        {
            warn!(%parent, %lost, left_out, "the relay does not tell the parent's nameservers now; asking on");
            self.warned = true;
        } else {
            debug!(%parent, %lost, "RESOLV_CONF lost");
        }
    }

    async fn wait(&mut self, longest: Duration) {
        if let Some(doublings) = self.failures.checked_sub(1) {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            sleep(FIRST_PAUSE.saturating_mul(factor).min(longest)).await;
        }
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
