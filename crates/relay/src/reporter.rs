//! REPORT (0xD2): an enclave tells how it is, and runs what the parent's operator asks for.
//!
//! After the reply come frames of JSON, see [`report`]. The enclave decides what it sends; here it is
//! bounded: so many frames in a time, so much output of a run, silence. Whoever passes a bound is closed
//! with a line in the log.

use std::io;
use std::time::Duration;

use link::frame;
use report::{
    Allowance, Command, FrameError, FromEnclave, Level, MAX_FRAME, MAX_OUTPUT, MAX_PIECE, RUN,
    SILENCE, Stream, ToEnclave, printable_line,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, error, warn};

use crate::enclaves::Place;
use crate::server::drained;

/// Frames at once, beside those of a run: what an enclave has to say when a relay that stood still goes on.
const FRAMES_AT_ONCE: u32 = 64;

/// One more comes back after each: a status every 5 s and ten lines a minute are a fifth of that.
const FRAME_EVERY: Duration = Duration::from_millis(500);

/// Frames of one run: its output in pieces that are a third full on average.
const FRAMES_OF_RUN: usize = 3 * MAX_OUTPUT / MAX_PIECE;

/// How long an enclave may take nothing before it counts as gone.
const STALLED: Duration = Duration::from_secs(10);

/// What an enclave gets to end a run beyond [`RUN`]: its word is better than none.
pub(crate) const SLACK: Duration = Duration::from_secs(10);

/// What an enclave may rest before it begins: what the run before it took.
pub(crate) const REST: Duration = RUN;

/// A run that is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    /// Where what comes of it goes: at most [`MAX_OUTPUT`] bytes. When its receiver is dropped, the run is
    /// to end.
    pub(crate) answers: mpsc::UnboundedSender<Said>,
}

/// What comes of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Output { stream: Stream, text: String },
    Ended { code: u8 },
    Refused { reason: String },
}

/// A run that is under way.
#[derive(Debug)]
struct Run {
    id: u64,
    /// None once it is to be stopped: then only its end is waited for.
    answers: Option<mpsc::UnboundedSender<Said>>,
    deadline: Instant,
    bytes: usize,
    frames: usize,
}

/// Serves one enclave until it ends the connection or the relay drains.
pub(crate) async fn serve<S>(
    stream: S,
    mut place: Place,
    mut drain: watch::Receiver<bool>,
) -> Result<(), ReportError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = frame::Reader::cut(read, MAX_FRAME + 1);
    let mut allowance = Allowance::new(FRAMES_AT_ONCE, FRAME_EVERY, Instant::now().into_std());
    let mut heard = Instant::now();
    let mut last_id = 0;
    let mut run: Option<Run> = None;
    loop {
        let deadline = run.as_ref().map(|run| run.deadline);
        let answers = run.as_ref().and_then(|run| run.answers.clone());
        tokio::select! {
            read = timeout_at(heard + SILENCE, frames.next()) => {
                let frame = read.map_err(|_| ReportError::Silent)?.map_err(ReportError::Read)?;
                let Some(frame) = frame else { break };
                heard = Instant::now();
                let said = FromEnclave::read(frame)?;
                let is_status = matches!(said, Some(FromEnclave::Status(_)));
                let is_of_run = take(said, &place, &mut run)?;
                if !is_of_run && !allowance.take(heard.into_std()) {
                    return Err(ReportError::Flood);
                }
                if is_status {
                    send(&mut write, &ToEnclave::Heard).await?;
                }
            }
            Some(ask) = place.asks.recv(), if run.is_none() => {
                if ask.answers.is_closed() {
                    continue;
                }
                last_id += 1;
                let frame = ToEnclave::run(last_id, &ask.command);
                run = Some(Run {
                    id: last_id,
                    answers: Some(ask.answers),
                    deadline: Instant::now() + REST + RUN + SLACK,
                    bytes: 0,
                    frames: 0,
                });
                send(&mut write, &frame).await?;
            }
            () = gone(answers) => stop(&mut write, &mut run, None).await?,
            () = at(deadline) => {
                let reason = "the enclave did not end it in time".to_owned();
                stop(&mut write, &mut run, Some(Said::Refused { reason })).await?;
            }
            () = drained(&mut drain) => break,
        }
    }
    write.shutdown().await.map_err(ReportError::Write)
}

/// Takes a frame; says whether it was of the run that is under way.
fn take(
    said: Option<FromEnclave>,
    place: &Place,
    run: &mut Option<Run>,
) -> Result<bool, ReportError> {
    let (id, said) = match said {
        Some(FromEnclave::Status(status)) => {
            place.status(*status);
            return Ok(false);
        }
        Some(FromEnclave::Line(line)) => {
            if let Some((line, left_out)) = place.line(line) {
                let (peer, text) = (place.peer(), printable_line(&line.text));
                let left_out = line.left_out.saturating_add(left_out);
                let left_out = (left_out > 0).then_some(left_out);
                match line.level {
                    Level::Warn => warn!(%peer, left_out, said = %text, "an enclave warns"),
                    Level::Error => error!(%peer, left_out, said = %text, "an enclave fails"),
                }
            }
            return Ok(false);
        }
        None => {
            debug!(peer = %place.peer(), "a frame of a kind that is not known");
            return Ok(false);
        }
        Some(FromEnclave::Output { id, stream, text }) => (id, Said::Output { stream, text }),
        Some(FromEnclave::Ended { id, code }) => (id, Said::Ended { code }),
        Some(FromEnclave::Refused { id, reason }) => (id, Said::Refused { reason }),
    };
    // What is left of one that was stopped comes to nobody.
    let Some(current) = run.as_mut().filter(|run| run.id == id) else {
        return Ok(false);
    };
    current.frames += 1;
    let is_over = !matches!(said, Said::Output { .. });
    if let Said::Output { text, .. } = &said {
        current.bytes = current.bytes.saturating_add(text.len());
    }
    if current.bytes > MAX_OUTPUT || current.frames > FRAMES_OF_RUN {
        return Err(ReportError::Output);
    }
    if let Some(answers) = &current.answers {
        // An operator who has gone is seen to elsewhere.
        let _ = answers.send(said);
    }
    if is_over {
        *run = None;
    }
    Ok(true)
}

/// Tells the enclave to end a run that is of use to nobody any more; one that does not is left to itself.
async fn stop(
    write: &mut (impl AsyncWrite + Unpin),
    run: &mut Option<Run>,
    said: Option<Said>,
) -> Result<(), ReportError> {
    let Some(current) = run else { return Ok(()) };
    let Some(answers) = current.answers.take() else {
        *run = None;
        return Ok(());
    };
    if let Some(said) = said {
        let _ = answers.send(said);
    }
    current.deadline = Instant::now() + SLACK;
    let id = current.id;
    send(write, &ToEnclave::Stop { id }).await
}

async fn send(write: &mut (impl AsyncWrite + Unpin), frame: &ToEnclave) -> Result<(), ReportError> {
    let written = timeout(STALLED, frame::write(write, &frame.write())).await;
    written
        .map_err(|_| ReportError::Stalled)?
        .map_err(ReportError::Write)
}

/// Resolves when nobody waits for a run any more.
async fn gone(answers: Option<mpsc::UnboundedSender<Said>>) {
    match answers {
        Some(answers) => answers.closed().await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Why an enclave that reports was closed before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it said nothing for {} ms", SILENCE.as_millis())]
    Silent,
    #[error("it took nothing for {} s", STALLED.as_secs())]
    Stalled,
    #[error("more frames than {FRAMES_AT_ONCE} at once and {} a second", 1000 / FRAME_EVERY.as_millis())]
    Flood,
    #[error("more output of one run than {} MiB", MAX_OUTPUT >> 20)]
    Output,
    #[error("reading: {0}")]
    Read(io::Error),
    #[error("writing: {0}")]
    Write(io::Error),
}

#[cfg(test)]
mod tests;
