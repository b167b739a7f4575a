//! REPORT (0xD2): tells the relay on the parent how proxify is, and runs what its operator asks for.
//!
//! The enclave decides: it opens the connection, nothing listens, and `--report` says what is sent. The
//! parent is an adversary. What it may ask for are two commands of our own with typed values, one at a
//! time; what it sends is bounded; what it gets has no name that anybody asked for, see [`lines`].
//!
//! A parent that does not know REPORT is asked again now and then: its end of file may have been a relay
//! that was restarting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use link::{Reply, RequestError, frame};
use report::{
    Allowance, Command, FrameError, FromEnclave, HEARTBEAT, MAX_FRAME, SILENCE, Status, ToEnclave,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tracing::debug;

use self::run::Runs;
use crate::cli::Report;

pub(crate) mod lines;
mod run;

/// Dialling and the reply.
const REQUEST: Duration = Duration::from_secs(2);

/// How long the relay may take nothing before it counts as gone.
const STALLED: Duration = Duration::from_secs(10);

/// The first wait before dialling again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait for a relay that is away: it is seen soon after it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The first wait after an answer as of a parent that does not know REPORT, or one that is not to be borne.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest: it is not likely to change.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A connection that lasted this long was one: after it waits begin anew.
const LASTED: Duration = Duration::from_secs(10);

/// Frames of the relay at once: it answers each status, and asks for something now and then.
const FRAMES_AT_ONCE: u32 = 16;

/// One more comes back after each.
const FRAME_EVERY: Duration = Duration::from_secs(1);

/// What the reporter needs.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) parent: link::Parent,
    pub(crate) what: Report,
    /// Where the stub answers, for `bench`.
    pub(crate) listen: Vec<SocketAddr>,
}

/// A reporter that runs; dropping it ends the connection and what runs.
#[derive(Debug)]
pub(crate) struct Reporting(JoinHandle<()>);

impl Drop for Reporting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reporter {
    /// Reports what `status` says, in a task of the current runtime; not at all where nothing is to be
    /// told.
    pub(crate) fn start(
        self,
        status: impl Fn() -> Option<Status> + Send + Sync + 'static,
    ) -> Option<Reporting> {
        (self.what != Report::None).then(|| Reporting(tokio::spawn(self.keep(status))))
    }

    /// Keeps the connection, for ever.
    async fn keep(self, status: impl Fn() -> Option<Status>) {
        let mut runs = Runs::default();
        let mut pause = Pause::default();
        loop {
            let began = Instant::now();
            let lost = match self.connect().await {
                Ok(stream) => self.tell(stream, &status, &mut runs).await,
                Err(lost) => lost,
            };
            runs.end();
            debug!(parent = %self.parent, %lost, "REPORT lost");
            if began.elapsed() >= LASTED {
                pause = Pause::default();
            }
            sleep(pause.next(lost.is_worth_little())).await;
        }
    }

    async fn connect(&self) -> Result<link::Stream, Lost> {
        match timeout(REQUEST, self.parent.request(link::Command::Report)).await {
            Ok(accepted) => Ok(accepted?.stream),
            Err(_) => Err(Lost::Silent),
        }
    }

    /// Tells until the connection is lost. With it ends what runs.
    async fn tell<S>(
        &self,
        stream: S,
        status: &impl Fn() -> Option<Status>,
        runs: &mut Runs,
    ) -> Lost
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.try_tell(stream, status, runs).await {
            Ok(()) => Lost::Closed,
            Err(lost) => lost,
        }
    }

    async fn try_tell<S>(
        &self,
        stream: S,
        status: &impl Fn() -> Option<Status>,
        runs: &mut Runs,
    ) -> Result<(), Lost>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (read, mut write) = tokio::io::split(stream);
        let mut frames = frame::Reader::cut(read, MAX_FRAME + 1);
        let mut allowance = Allowance::new(FRAMES_AT_ONCE, FRAME_EVERY, Instant::now().into_std());
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let said = tokio::select! {
                frame = timeout_at(heard + SILENCE, frames.next()) => {
                    let frame = frame.map_err(|_| Lost::Silent)?.map_err(Lost::Read)?;
                    let Some(frame) = frame else { return Ok(()) };
                    heard = Instant::now();
                    if !allowance.take(heard.into_std()) {
                        return Err(Lost::Flood);
                    }
                    self.take(ToEnclave::read(frame)?, runs)
                }
                _ = heartbeat.tick() => {
                    status().map(|status| FromEnclave::Status(Box::new(status)))
                }
                line = lines::next(), if self.what == Report::All => Some(FromEnclave::Line(line)),
                said = runs.said() => Some(said),
            };
            if let Some(said) = said {
                let written = timeout(STALLED, frame::write(&mut write, &said.write())).await;
                written.map_err(|_| Lost::Silent)?.map_err(Lost::Write)?;
            }
        }
    }

    /// Does what the relay asks for; gives what it is told at once.
    fn take(&self, asked: Option<ToEnclave>, runs: &mut Runs) -> Option<FromEnclave> {
        let (id, command) = match asked {
            Some(ToEnclave::Run { id, command }) => (id, command),
            Some(ToEnclave::Stop { id }) => {
                runs.stop(id);
                return None;
            }
            Some(ToEnclave::Heard) | None => return None,
        };
        let refused = |reason: String| Some(FromEnclave::Refused { id, reason });
        if self.what != Report::All {
            return refused(
                "this enclave runs nothing for its parent: it needs --report all in its image"
                    .to_owned(),
            );
        }
        let command: Command = match serde_json::from_value(command) {
            Ok(command) => command,
            Err(error) => return refused(format!("this enclave does not run that: {error}")),
        };
        debug!(?command, "the parent asks");
        match runs.begin(id, self.line(&command)) {
            Ok(()) => None,
            Err(reason) => refused(reason),
        }
    }

    /// The words of a command of ours, all of them our own.
    fn line(&self, command: &Command) -> Vec<String> {
        let mut words = command.words();
        let options = [
            format!("--parent={}", self.parent.address()),
            format!("--port={}", self.parent.port()),
        ];
        let listen = match (command, self.listen.first()) {
            (Command::Bench(_), Some(listen)) => Some(format!("--listen={listen}")),
            _ => None,
        };
        // Behind the command's word, before the names.
        words.splice(1..1, options.into_iter().chain(listen));
        words
    }
}

/// The wait before dialling again, longer each time that the same goes wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    failures: u32,
    is_rest: bool,
}

impl Pause {
    fn next(&mut self, is_rest: bool) -> Duration {
        if self.is_rest != is_rest {
            *self = Self {
                failures: 0,
                is_rest,
            };
        }
        let (first, longest) = match is_rest {
            true => (FIRST_REST, LONGEST_REST),
            false => (FIRST_PAUSE, LONGEST_PAUSE),
        };
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        first.saturating_mul(factor).min(longest)
    }
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the relay closed the connection; it may be restarting")]
    Closed,
    #[error("the relay stays silent")]
    Silent,
    #[error("the relay sends more than it may")]
    Flood,
    #[error("the relay sends {0}")]
    Frame(#[from] FrameError),
    #[error("reading: {0}")]
    Read(io::Error),
    #[error("writing: {0}")]
    Write(io::Error),
}

impl Lost {
    /// Whether to dial again soon is likely to bring the same.
    fn is_worth_little(&self) -> bool {
        match self {
            Self::Request(error) => match error {
                RequestError::Closed { .. } | RequestError::Malformed { .. } => true,
                RequestError::Refused { reply, .. } => *reply != Reply::TimedOut,
                _ => false,
            },
            Self::Flood | Self::Frame(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
